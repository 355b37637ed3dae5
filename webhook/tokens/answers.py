"""Answers that are kept for a while, and how many wait for one that is still to come."""

from collections import OrderedDict
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

Answer = TypeVar("Answer")


class _Kept(NamedTuple, Generic[Answer]):
    answer: Answer
    since: float
    until: float


class Answers(Generic[Answer]):
    """At most `limit` answers, each of use from one time until another; the one that was not used
    for the longest time goes first. Whoever uses it has locked it.

    Why both times: where the clock is set back, an answer is of no use rather than for hours.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, _Kept[Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> Answer | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.since <= now < kept.until:
            self._kept.move_to_end(key)
            return kept.answer
        del self._kept[key]
        return None

    def put(self, key: bytes, answer: Answer, since: float, until: float) -> None:
        """Keep an answer, unless it is of no use from the start."""
        if not since < until:
            return
        self._kept[key] = _Kept(answer, since, until)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)


def to_come() -> "Future[Answer]":
    """A future that many threads and coroutines can wait for: one that gives up cancels it for no
    other.
    """
    future: Future[Answer] = Future()
    future.set_running_or_notify_cancel()
    return future


async def awaited(future: "Future[Answer]", seconds: float) -> Answer:
    """Its result, in a coroutine of any loop. Raises: TimeoutError"""
    import asyncio  # noqa: PLC0415  (who imports the library may not need it)

    # Not wait_for, which swallows a cancellation that comes with the result (Python 3.11).
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(future)
