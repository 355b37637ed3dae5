"""A budget for the bytes that strangers make us hold: bodies that are not complete, and answers that nobody takes.

Whoever holds bytes for long is cut for who needs room; whoever is quick never notices.
"""

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

MAX_HELD_BYTES = 32 << 20
"""One body of the greatest length and then some; the Deployment's memory limit has room for it (docs/performance.md)."""
PATIENCE_SECONDS = 1.0
"""A third of what the API server gives a review: an honest body is there in a fraction of it."""
WAIT_SECONDS = 0.05
SHARE = 4
"""One source may hold a quarter of it in several bodies while others want more, or half of it in one."""
SLACK_BYTES = 4 << 20
"""What may wait beyond the budget: there is no patience when even this is used."""


class Client(Protocol):
    """Who holds bytes; `source` is its address."""

    source: str


class Stage(IntEnum):
    """Of a body; who is further goes later."""

    UNDER_WAY = 0
    COMPLETE = 1
    WORKED_ON = 2


@dataclass(slots=True)
class _Share:
    """What one client holds: since when, how many bytes, and how far its body is.

    `since` does not count the time for which we let it wait; `order` is the one in which they began.
    """

    since: float
    order: int
    number: int = 0
    stage: Stage = Stage.UNDER_WAY


Of = TypeVar("Of", bound=Client)


class Held(Generic[Of]):
    """Who holds how many bytes; `cut` ends one that must go, and releases what it holds."""

    def __init__(self, cut: Callable[[Of], None], most: int = MAX_HELD_BYTES) -> None:
        self.most = most
        self.total = 0
        self._cut = cut
        self._orders = itertools.count()
        self._shares: OrderedDict[Of, _Share] = OrderedDict()
        """In the order in which something came of them last."""

    async def take(self, client: Of, number: int) -> None:
        """So many bytes more of a body; where they are too many, room is made, or waited for.

        Whoever began first goes on first: if all waited for each other, nobody would ever be complete.
        Raises: ConnectionResetError, where this client is the one that had to go
        """
        self._add(client, number)
        while self.total > self.most:
            if self.total <= self.most + SLACK_BYTES and self._has_room(self._shares[client]):
                return
            if (chosen := self._to_cut_for(client)) is not None:
                self._cut(chosen)
            else:
                self._shares[client].since += WAIT_SECONDS
                await asyncio.sleep(WAIT_SECONDS)
            if client not in self._shares:
                raise ConnectionResetError("others need the memory")

    def is_complete(self, client: Of, number: int) -> None:
        """Its body is complete, and so many bytes beside it are free: it waits for us and not we for it."""
        if client in self._shares:
            self._add(client, -number)
            self._shares[client].stage = Stage.COMPLETE

    def is_worked_on(self, client: Of) -> None:
        """Its body is not cut any more."""
        if client in self._shares:
            self._shares[client].stage = Stage.WORKED_ON

    def answer(self, client: Of, number: int) -> None:
        """So many bytes of an answer that the client does not take yet; who has not taken theirs for the longest goes."""
        self._add(client, number).stage = Stage.UNDER_WAY
        while self.total > self.most and (chosen := self._without_progress(filter(self._may_go, self._shares))) is not None:
            self._cut(chosen)

    def release(self, client: Of) -> None:
        """It holds nothing any more."""
        if (share := self._shares.pop(client, None)) is not None:
            self.total -= share.number

    def _add(self, client: Of, number: int) -> _Share:
        if (share := self._shares.get(client)) is None:
            share = self._shares[client] = _Share(asyncio.get_running_loop().time(), next(self._orders))
        self._shares.move_to_end(client)
        share.number += number
        self.total += number
        return share

    def _has_room(self, share: _Share) -> bool:
        """Whether it has room among those that began before it."""
        return sum(each.number for each in self._shares.values() if each.order <= share.order) <= self.most

    def _to_cut_for(self, newcomer: Of) -> Of | None:
        """Whose bytes must go so that a newcomer finds room; None where a little patience may be enough."""
        others = [each for each in self._shares if each is not newcomer and self._may_go(each)]
        source, number = self._holds_most()
        of_source = [each for each in others if each.source == source]
        if of_source and number > self.most // SHARE and source != newcomer.source:
            return self._without_progress(of_source)
        late = asyncio.get_running_loop().time() - PATIENCE_SECONDS
        under_way = [each for each in others if self._shares[each].stage is Stage.UNDER_WAY]
        if slow := [each for each in under_way if self._shares[each].since <= late]:
            return self._without_progress(slow)
        if self.total <= self.most + SLACK_BYTES:
            return None
        idle = (each for each in under_way if self._has_room(self._shares[each]))
        return self._without_progress(of_source) or self._without_progress(idle) or newcomer

    def _holds_most(self) -> tuple[str | None, int]:
        """The source that holds most bytes that may go, and how many; one body alone counts only when it has half of all."""
        numbers: Counter[str] = Counter()
        clients: Counter[str] = Counter()
        for client, share in self._shares.items():
            if self._may_go(client):
                numbers[client.source] += share.number
                clients[client.source] += 1
        found = [each for each in numbers.items() if clients[each[0]] > 1 or each[1] > self.most // 2]
        return max(found, key=lambda each: each[1], default=(None, 0))

    def _may_go(self, client: Of) -> bool:
        return self._shares[client].stage < Stage.WORKED_ON

    def _without_progress(self, clients: Iterable[Of]) -> Of | None:
        """Of which nothing has come for the longest; one whose body is complete only where no other is left."""
        return min(clients, key=lambda each: self._shares[each].stage, default=None)
