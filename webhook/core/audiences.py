"""A set of audiences in little memory."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache


class Audiences(AbstractSet[str]):
    """A set that is kept as one text.

    A namespace may allow thousands of short audiences: as a frozenset they need twenty times the
    length of its annotation, and there are many namespaces. The sets of those that are asked for
    just now are kept beside.
    """

    __slots__ = ("_text",)

    def __init__(self, audiences: Iterable[str] = ()) -> None:
        # No audience has a line break in it: `parse_audience` refuses them.
        self._text = "\n".join(sorted(set(audiences)))

    def __contains__(self, audience: object) -> bool:
        return audience in _as_set(self._text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._text.split("\n") if self._text else ())

    def __len__(self) -> int:
        return self._text.count("\n") + 1 if self._text else 0

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Audiences({list(self)})"


@lru_cache(maxsize=64)
def _as_set(text: str) -> frozenset[str]:
    return frozenset(text.split("\n")) if text else frozenset()
