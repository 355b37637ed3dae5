"""A budget for the memory that untrusted input can occupy: bodies that are not complete, and
answers that a client does not read.

A client that occupies memory for long is disconnected when others need it. A quick client never
notices the budget.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

MAX_BYTES = 32 << 20
"""More than one body of the greatest length. The Deployment's memory limit has room for it
(docs/performance.md)."""
PATIENCE_SECONDS = 1.0
"""How long a body may take while others need memory. A third of what the API server gives a review:
its own bodies arrive in a fraction of it."""
STALLED_SECONDS = 0.2
"""A client that may send and has not sent for so long is cut before clients whose bodies are
complete."""
WAIT_SECONDS = 0.05
SHARE, SMALL_SHARE = 4, 16
"""While others need memory, one source may have a quarter of the budget in several bodies, or half
of it in one. When budget and slack are used up, a source that has more than a sixteenth is cut
before others: an API server has less under way, except in a storm."""
SLACK_BYTES = 4 << 20
"""What may wait beyond the budget. When this is used up too, a client is cut at once."""


class Client(Protocol):
    """A connection whose bytes are counted; `source` is its address."""

    source: str


class Stage(IntEnum):
    """Of a body. A client at an earlier stage is cut first."""

    UNDER_WAY = 0
    COMPLETE = 1
    WORKED_ON = 2


@dataclass(slots=True)
class _Share:
    """The bytes of one client: their `number`, when the first came (`since`), when the last came
    (`touched`), and the stage of the body.

    `since` is moved by the time for which the client waited for us.
    """

    since: float
    touched: float
    number: int = 0
    stage: Stage = Stage.UNDER_WAY


Of = TypeVar("Of", bound=Client)


class ByteBudget(Generic[Of]):
    """Counts the bytes of every client. `cut` must disconnect a client and release its bytes."""

    def __init__(self, cut: Callable[[Of], None], limit: int = MAX_BYTES) -> None:
        self.limit = limit
        self.total = 0
        self._cut = cut
        self._shares: dict[Of, _Share] = {}
        """Ordered by the time of their first byte."""

    async def take(self, client: Of, number: int) -> None:
        """Count `number` more bytes of a body. Beyond the limit, cut another client or wait.

        The client that began first continues first: if all waited for each other, no body would
        ever be complete.

        Raises: ConnectionResetError, where this client itself was cut
        """
        self._add(client, number)
        while self.total > self.limit:
            # The first clients continue into the slack: only then do their bodies become complete.
            if self.total <= self.limit + SLACK_BYTES and self._has_room(client):
                return
            if (victim := self._to_cut_for(client)) is not None:
                self._cut(victim)
            else:
                await self._wait(self._shares[client])
            if client not in self._shares:
                raise ConnectionResetError("others need the memory")

    def completed(self, client: Of, number: int) -> None:
        """The client's body is complete, and `number` bytes of buffers are free. From now on it
        waits for us.
        """
        if client in self._shares:
            self._add(client, -number)
            self._shares[client].stage = Stage.COMPLETE

    def begun(self, client: Of) -> None:
        """The client's body is being worked on; it is not cut any more."""
        if client in self._shares:
            self._shares[client].stage = Stage.WORKED_ON

    def answer(self, client: Of, number: int) -> None:
        """Count `number` bytes of an answer that the client has not read. Beyond the limit, cut
        the client without progress for the longest time.
        """
        self._add(client, number).stage = Stage.UNDER_WAY
        while self.total > self.limit:
            victim = self._without_progress(
                other for other, share in self._shares.items() if share.stage is not Stage.WORKED_ON
            )
            if victim is None:
                return
            self._cut(victim)

    def release(self, client: Of) -> None:
        """Forget the client and its bytes."""
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
        """Let a client wait, without reading from it. The time is not counted against it, and it
        does not count as stalled afterwards.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        await asyncio.sleep(WAIT_SECONDS)
        share.since += clock() - start
        share.touched = clock()

    def _has_room(self, client: Of) -> bool:
        """Whether its bytes and those of all that began before it are within the limit."""
        number = 0
        for other, share in self._shares.items():
            number += share.number
            if other is client:
                break
        return number <= self.limit

    def _to_cut_for(self, newcomer: Of) -> Of | None:
        """Return the client to cut for the newcomer, or None if waiting may be enough."""
        source, number = self._largest_source()
        others = [
            client
            for client, share in self._shares.items()
            if client is not newcomer and share.stage is not Stage.WORKED_ON
        ]
        hogs = [client for client in others if client.source == source]
        # One source must not take the budget from all others. A newcomer of the same source
        # is no reason to cut it: it would only replace one body of that source by another.
        if hogs and number > self.limit // SHARE and source != newcomer.source:
            return self._without_progress(hogs)
        slow, stalled, going_on = self._under_way(newcomer)
        # A slow client is cut at once, because the bodies of an API server arrive much faster.
        # While there is slack nobody else is cut: the budget may become free in a moment.
        if slow or self.total <= self.limit + SLACK_BYTES:
            return self._without_progress(slow)
        # Budget and slack are used up, so somebody must be cut. A source with little is no hog.
        if number <= self.limit // SMALL_SHARE:
            hogs = []
        complete = [
            client
            for client in others
            if self._shares[client].stage is Stage.COMPLETE and client.source != newcomer.source
        ]
        if hogs or stalled:
            return self._without_progress(hogs or stalled)
        # The client with the most bytes is cut: otherwise one large body would cut many small ones.
        # A small newcomer continues, because any number of complete bodies may wait for us.
        own = self._shares[newcomer].number
        largest = max((*complete, *going_on), key=self._number, default=newcomer)
        if self._number(largest) > own:
            return largest
        if own > self.limit // SMALL_SHARE:
            return newcomer
        return self._without_progress(complete or going_on) or newcomer

    def _number(self, client: Of) -> int:
        return self._shares[client].number

    def _under_way(self, newcomer: Of) -> tuple[list[Of], list[Of], list[Of]]:
        """The clients whose bodies are incomplete: the slow ones, and of those that may send the
        stalled ones and the ones that make progress.

        One pass over all, because this is called for each piece of a body while the budget is used
        up.
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

    def _largest_source(self) -> tuple[str | None, int]:
        """The source with the most bytes that may be cut, and how many. A source with one body
        counts only if that is more than half of the limit.
        """
        numbers: Counter[str] = Counter()
        clients: Counter[str] = Counter()
        for client, share in self._shares.items():
            if share.stage is not Stage.WORKED_ON:
                numbers[client.source] += share.number
                clients[client.source] += 1
        large = [
            (source, number)
            for source, number in numbers.items()
            if clients[source] > 1 or number > self.limit // 2
        ]
        return max(large, key=lambda entry: entry[1], default=(None, 0))

    def _without_progress(self, clients: Iterable[Of]) -> Of | None:
        """The client without progress for the longest time, of those at the earliest stage."""
        return min(
            clients,
            key=lambda client: (self._shares[client].stage, self._shares[client].touched),
            default=None,
        )
