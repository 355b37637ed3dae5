"""Which tokens of one pod are told, of a thousand that it may have, and in which order."""

from collections import Counter

from .report import Source, Token, is_year_long
from .tokens import TokenFacts

MAX_TOKENS = 100
"""Told of one pod or template; boundtoken itself gives it 65 (`names.MAX_TOKENS`) at most."""


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


def worst(tokens: tuple[TokenFacts, ...]) -> tuple[TokenFacts, ...]:
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
