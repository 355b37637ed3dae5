"""A pod template beside the living pods that are made of it."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .again import Again
from .groups import Group
from .tokens import TokenFacts, Tokens

if TYPE_CHECKING:
    from .report import Mount


@dataclasses.dataclass(slots=True)
class Template:
    """A template that was added, and whether a living pod of it was seen. `rest` are its tokens
    that none of these has, as where it was edited and is not rolled out: those of ours aside, which
    pods lack that are told to be missing or stale.
    """

    again: Again
    group: Group
    is_shown: bool
    has_pods: bool = False
    rest: tuple[TokenFacts, ...] = ()
    is_account_used: bool = False
    secrets: frozenset[str] = frozenset()
    """Those that it refers to, and none of its pods."""

    def __post_init__(self) -> None:
        self.rest = tuple(one for one in self.again.found.tokens if one.source != "boundtoken")
        self.secrets = frozenset(self.again.found.secrets)

    def has(self, made: Again) -> bool:
        """Whether it has every token of what is made of it."""
        own = _Places(self.again.found.tokens)
        return made.account == self.again.account and all(map(own.have, made.found.tokens))

    def compare(self, found: Tokens, account: str) -> None:
        """Take off what a living pod has."""
        self.has_pods = True
        self.is_account_used = self.is_account_used or account == self.again.account
        self.secrets = self.secrets.difference(found.secrets)
        if self.rest:
            own = _Places(found.tokens)
            self.rest = tuple(one for one in self.rest if not own.have(one))


class _Places:
    """Where a pod has which token. It may be mounted by more containers than a template says: those
    of other webhooks.
    """

    def __init__(self, tokens: Iterable[TokenFacts]) -> None:
        self._mounts: defaultdict[TokenFacts, set[Mount]] = defaultdict(set)
        self._cut: set[TokenFacts] = set()
        for one in tokens:
            key = _without_mounts(one)
            self._mounts[key].update(one.mounts)
            if one.more_mounts:
                self._cut.add(key)

    def have(self, one: TokenFacts) -> bool:
        """Whether the pod has this token of a template. Of more mounts than are told only that it
        is mounted is compared.
        """
        key = _without_mounts(one)
        if key not in self._mounts:
            return False
        is_cut = bool(one.more_mounts) or key in self._cut
        return is_cut or self._mounts[key].issuperset(one.mounts)


def _without_mounts(one: TokenFacts) -> TokenFacts:
    return one._replace(mounts=(), more_mounts=0)
