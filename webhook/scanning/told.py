"""Which tokens of one pod are told, of a thousand that it may have, and in which order."""

from collections import Counter

from . import mounts
from .report import Source, Token, is_year_long
from .tokens import TokenFacts

MAX_TOKENS = 100
"""Told of one pod or template; boundtoken itself gives it 65 (`names.MAX_TOKENS`) at most."""

MAX_PAIRS = 2000
"""Of a token and a mount, told of one pod: 65 tokens in 30 containers each. The JSON has 100 bytes
of each."""


def severity(token: Token | TokenFacts) -> tuple[int, int]:
    """A year first, then what never expires, then the longest; what is not known last."""
    seconds = token.lifetime_seconds
    if is_year_long(seconds):
        rank = 0
    elif seconds is not None:
        rank = 2
    else:
        rank = 1 if token.source == "legacy-secret" else 3
    return rank, -(seconds or 0)


def told(tokens: tuple[TokenFacts, ...]) -> tuple[TokenFacts, ...]:
    """The tokens of a pod as they are told: of many tokens fewer mounts each."""
    kept = _worst(tokens)
    room = MAX_PAIRS // max(1, len(kept))
    return tuple(_with_mounts(one, room) if len(one.mounts) > room else one for one in kept)


def _with_mounts(token: TokenFacts, room: int) -> TokenFacts:
    shown, more = mounts.told(token.mounts, room)
    return token._replace(mounts=shown, more_mounts=token.more_mounts + more)


def _worst(tokens: tuple[TokenFacts, ...]) -> tuple[TokenFacts, ...]:
    """All of them; where they are too many, the worst of each source in turn, so that those of one
    hide none of another.
    """
    if len(tokens) <= MAX_TOKENS:
        return tokens
    turns: Counter[Source] = Counter()
    ranked = []
    for token in sorted(tokens, key=severity):
        turns[token.source] += 1
        ranked.append((turns[token.source], token))
    return tuple(token for _, token in sorted(ranked, key=lambda pair: pair[0])[:MAX_TOKENS])
