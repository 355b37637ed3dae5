"""A pod template beside the living pods that are made of it."""

import dataclasses

from .again import Again
from .groups import Group
from .tokens import TokenFacts, Tokens


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
        tokens = self.again.found.tokens
        return made.account == self.again.account and all(
            any(_is_as(one, own) for own in tokens) for one in made.found.tokens
        )

    def compare(self, found: Tokens, account: str) -> None:
        """Take off what a living pod has."""
        self.has_pods = True
        self.is_account_used = self.is_account_used or account == self.again.account
        self.secrets = self.secrets.difference(found.secrets)
        if self.rest:
            self.rest = tuple(
                one for one in self.rest if not any(_is_as(one, has) for has in found.tokens)
            )


def _is_as(one: TokenFacts, has: TokenFacts) -> bool:
    """Whether a pod has the token of a template. It may be mounted by more containers: those of
    other webhooks.
    """
    return one._replace(mounts=()) == has._replace(mounts=()) and set(one.mounts) <= {*has.mounts}
