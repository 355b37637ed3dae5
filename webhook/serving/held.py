"""A budget for the bytes that strangers make us hold: bodies that are not complete, and answers that nobody takes.

Whoever holds bytes for long is cut for who needs room; whoever is quick never notices.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

MAX_HELD_BYTES = 32 << 20
"""One body of the greatest length and then some; the Deployment's memory limit has room for it (docs/performance.md)."""
PATIENCE_SECONDS = 1.0
"""A third of what the API server gives a review: an honest body is there in a fraction of it."""
WAIT_SECONDS = 0.05
SLACK_BYTES = 4 << 20
"""What may wait beyond the budget: there is no patience when even this is used."""


class Client(Protocol):
    """Who holds bytes; `source` is its address."""

    source: str


Of = TypeVar("Of", bound=Client)


class Held(Generic[Of]):
    """Who holds how many bytes, in the order in which they began; `cut` ends one that must go, and releases what it holds."""

    def __init__(self, cut: Callable[[Of], None], most: int = MAX_HELD_BYTES) -> None:
        self.most = most
        self.total = 0
        self._cut = cut
        self._held: OrderedDict[Of, tuple[float, int]] = OrderedDict()
        self._settled: set[Of] = set()

    async def take(self, client: Of, number: int) -> None:
        """So many bytes more of a body; where they are too many, room is made, or waited for.

        Raises: ConnectionResetError, where this client is the one that had to go
        """
        self._add(client, number)
        while self.total > self.most:
            if (chosen := self._to_cut_for(client)) is not None:
                self._cut(chosen)
            else:
                await asyncio.sleep(WAIT_SECONDS)
            if client not in self._held:
                raise ConnectionResetError("others need the memory")

    def settle(self, client: Of) -> None:
        """Its body is complete: it waits for us and not we for it, so it is not cut."""
        if client in self._held:
            self._settled.add(client)

    def answer(self, client: Of, number: int) -> None:
        """So many bytes of an answer that the client does not take yet; who has not taken theirs for the longest goes."""
        self._add(client, number)
        while self.total > self.most and (chosen := self._oldest()) is not None:
            self._cut(chosen)

    def release(self, client: Of) -> None:
        """It holds nothing any more."""
        self.total -= self._held.pop(client, (0.0, 0))[1]
        self._settled.discard(client)

    def _add(self, client: Of, number: int) -> None:
        since, before = self._held.get(client, (asyncio.get_running_loop().time(), 0))
        self._held[client] = since, before + number
        self.total += number

    def _to_cut_for(self, newcomer: Of) -> Of | None:
        """Whose bytes must go so that a newcomer finds room; None where a little patience may be enough."""
        sources: Counter[str] = Counter()
        for client, (_, number) in self._held.items():
            sources[client.source] += number
        source, number = sources.most_common(1)[0]
        if number > self.most // 2 and source != newcomer.source and (chosen := self._oldest(source)) is not None:
            return chosen
        oldest = self._oldest()
        patience = PATIENCE_SECONDS if self.total <= self.most + SLACK_BYTES else 0.0
        late = asyncio.get_running_loop().time() - patience
        return oldest if oldest is not None and self._held[oldest][0] <= late else None

    def _oldest(self, source: str | None = None) -> Of | None:
        held = (each for each in self._held if each not in self._settled and source in (None, each.source))
        return next(held, None)
