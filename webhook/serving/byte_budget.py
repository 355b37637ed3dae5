"""A budget for the bytes that strangers make us hold: bodies that are not complete, and answers
that nobody takes.

Whoever holds bytes for long is cut for who needs room; whoever is quick never notices.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

MAX_BYTES = 32 << 20
"""One body of the greatest length and then some; the Deployment's memory limit has room for it
(docs/performance.md)."""
PATIENCE_SECONDS = 1.0
"""A third of what the API server gives a review: an honest body is there in a fraction of it."""
STALLED_SECONDS = 0.2
"""After which one that has room and sends nothing goes before those whose bodies are complete."""
WAIT_SECONDS = 0.05
SHARE, SMALL_SHARE = 4, 16
"""One source may hold a quarter of it in several bodies while others want more, or half of it in
one. Where all is full it loses one of its own before others do as soon as it has a sixteenth: an
API server has less under way but in a storm."""
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
    """What one client holds: how many bytes, when it began, when bytes came last, and how far its
    body is.

    `since` does not count the time for which we let it wait.
    """

    since: float
    touched: float
    number: int = 0
    stage: Stage = Stage.UNDER_WAY


Of = TypeVar("Of", bound=Client)


class ByteBudget(Generic[Of]):
    """Who holds how many bytes; `cut` ends one that must go, and releases what it holds."""

    def __init__(self, cut: Callable[[Of], None], limit: int = MAX_BYTES) -> None:
        self.limit = limit
        self.total = 0
        self._cut = cut
        self._shares: dict[Of, _Share] = {}
        """In the order in which they began."""

    async def take(self, client: Of, number: int) -> None:
        """So many bytes more of a body; where they are too many, room is made, or waited for.

        Whoever began first goes on first: if all waited for each other, nobody would ever be
        complete.
        Raises: ConnectionResetError, where this client is the one that had to go
        """
        self._add(client, number)
        while self.total > self.limit:
            if self.total <= self.limit + SLACK_BYTES and self._has_room(client):
                return
            if (chosen := self._to_cut_for(client)) is not None:
                self._cut(chosen)
            else:
                await self._wait(self._shares[client])
            if client not in self._shares:
                raise ConnectionResetError("others need the memory")

    def completed(self, client: Of, number: int) -> None:
        """Its body is complete, and so many bytes beside it are free: it waits for us and not we
        for it.
        """
        if client in self._shares:
            self._add(client, -number)
            self._shares[client].stage = Stage.COMPLETE

    def begun(self, client: Of) -> None:
        """Its body is not cut any more."""
        if client in self._shares:
            self._shares[client].stage = Stage.WORKED_ON

    def answer(self, client: Of, number: int) -> None:
        """So many bytes of an answer that the client does not take yet; who has not taken theirs
        for the longest goes.
        """
        self._add(client, number).stage = Stage.UNDER_WAY
        while self.total > self.limit:
            chosen = self._without_progress(
                each for each, share in self._shares.items() if share.stage is not Stage.WORKED_ON
            )
            if chosen is None:
                return
            self._cut(chosen)

    def release(self, client: Of) -> None:
        """It holds nothing any more."""
        if (share := self._shares.pop(client, None)) is not None:
            self.total -= share.number

    def _add(self, client: Of, number: int) -> _Share:
        now = asyncio.get_running_loop().time()
        if (share := self._shares.get(client)) is None:
            share = self._shares[client] = _Share(now, now)
        share.touched = now
        share.number += number
        self.total += number
        return share

    async def _wait(self, share: _Share) -> None:
        """While it waits we do not read from it: no time of that is its own, and it is not stalled
        when its turn comes.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        await asyncio.sleep(WAIT_SECONDS)
        share.since += clock() - start
        share.touched = clock()

    def _has_room(self, client: Of) -> bool:
        """Whether it has room among those that began before it."""
        number = 0
        for each, share in self._shares.items():
            number += share.number
            if each is client:
                break
        return number <= self.limit

    def _to_cut_for(self, newcomer: Of) -> Of | None:
        """Whose bytes must go so that a newcomer finds room; None where a little patience may be
        enough.
        """
        source, number = self._holds_most()
        others = [
            each
            for each, share in self._shares.items()
            if each is not newcomer and share.stage is not Stage.WORKED_ON
        ]
        hogs = [each for each in others if each.source == source]
        if hogs and number > self.limit // SHARE and source != newcomer.source:
            return self._without_progress(hogs)
        slow, stalled, going_on = self._under_way(newcomer)
        if slow or self.total <= self.limit + SLACK_BYTES:
            return self._without_progress(slow)
        if number <= self.limit // SMALL_SHARE:
            hogs = []
        complete = [
            each
            for each in others
            if self._shares[each].stage is Stage.COMPLETE and each.source != newcomer.source
        ]
        if hogs or stalled:
            return self._without_progress(hogs or stalled)
        # Whoever holds most goes: else one big body that arrives would cut many small ones. A small
        # newcomer goes on, because bodies that are complete wait for us in any number.
        own = self._shares[newcomer].number
        largest = max((*complete, *going_on), key=self._number, default=newcomer)
        if self._number(largest) > own or own > self.limit // SMALL_SHARE:
            return largest if self._number(largest) > own else newcomer
        return self._without_progress(complete or going_on) or newcomer

    def _number(self, client: Of) -> int:
        return self._shares[client].number

    def _under_way(self, newcomer: Of) -> tuple[list[Of], list[Of], list[Of]]:
        """Whose body is under way: who takes too long, and of those that have room who sends
        nothing just now, and who does.

        One pass over all: it is asked for each piece of a body while the budget is used up.
        """
        now = asyncio.get_running_loop().time()
        slow: list[Of] = []
        stalled: list[Of] = []
        going_on: list[Of] = []
        before = 0
        for client, share in self._shares.items():
            before += share.number
            if client is newcomer or share.stage is not Stage.UNDER_WAY:
                continue
            if share.since <= now - PATIENCE_SECONDS:
                slow.append(client)
            if before <= self.limit:
                (stalled if share.touched <= now - STALLED_SECONDS else going_on).append(client)
        return slow, stalled, going_on

    def _holds_most(self) -> tuple[str | None, int]:
        """The source that holds most bytes that may go, and how many; one body alone counts only
        when it has half of all.
        """
        numbers: Counter[str] = Counter()
        clients: Counter[str] = Counter()
        for client, share in self._shares.items():
            if share.stage is not Stage.WORKED_ON:
                numbers[client.source] += share.number
                clients[client.source] += 1
        found = [
            each for each in numbers.items() if clients[each[0]] > 1 or each[1] > self.limit // 2
        ]
        return max(found, key=lambda each: each[1], default=(None, 0))

    def _without_progress(self, clients: Iterable[Of]) -> Of | None:
        """Of which nothing has come for the longest; one whose body is complete only where no other
        is left.
        """
        return min(
            clients,
            key=lambda each: (self._shares[each].stage, self._shares[each].touched),
            default=None,
        )
