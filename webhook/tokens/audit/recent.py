"""What was seen lately, in bounded memory: an attacker who makes very many names lets the oldest be
forgotten. What is forgotten is unusual again, so a watch becomes louder by it and never quieter.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `limit` values by key; the one that was not used for the longest time goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()  # a dict searches for its first item
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        if (value := self._values.get(key)) is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
            self.forgotten += 1


class Seen:
    """A set of texts of which at most `limit` are remembered, by their hash: a text may be long."""

    def __init__(self, limit: int) -> None:
        self._hashes: Recent[int, bool] = Recent(limit)

    @property
    def forgotten(self) -> int:
        return self._hashes.forgotten

    def add(self, *texts: str) -> bool:
        """Whether these texts together are new; from now on they are not."""
        key = hash(texts)
        if self._hashes.get(key):
            return False
        self._hashes.put(key, True)
        return True

    def has(self, *texts: str) -> bool:
        """Whether these texts together were added."""
        return self._hashes.get(hash(texts)) is not None
