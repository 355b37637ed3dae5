"""Work that would block the event loop for too long: done in one thread, one job at a time.

One at a time, because the memory for a big review must be needed only once. Source addresses take
turns, and of one source the smallest body is first, so many big bodies of one source do not keep
others waiting.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

BIG_BYTES = 1 << 18
"""Of a body, or of all bodies in one turn of the loop. A quarter of a MiB blocks the loop for 10
ms: a review takes four times as long as json.loads."""

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Run(Protocol):
    """Runs a function, in this thread or in another, and returns its result."""

    def __call__(
        self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs
    ) -> Coroutine[Any, Any, Made]: ...


class Client(Protocol):
    """A connection that waits for the worker; `source` is its address."""

    source: str

    def waits(self, turn: asyncio.Future[None]) -> None:
        """The client waits for `turn`. When its connection ends, it must set a ConnectionResetError
        there.
        """

    def served(self) -> None:
        """The client does not wait any more, and must not be disconnected for others."""


FIRST = ""
"""The source of work that comes before all others: of a review that is half done, because it uses
the most memory, and of the process itself."""


class _Own:
    """The process itself as a client."""

    source = FIRST

    def waits(self, turn: asyncio.Future[None]) -> None: ...

    def served(self) -> None: ...


class _Waiting(NamedTuple):
    """One waiting job. Those of one source are ordered by size, then by `number`."""

    size: int
    number: int
    turn: asyncio.Future[None]


async def here(work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
    """Run `work` at once, in this thread."""
    return work(*given, **named)


class Worker:
    """The thread, and the queue for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "review")
        self._is_taken = False
        self._waiting: dict[str, list[_Waiting]] = {}
        """By source; the source that is next comes first."""
        self._numbers = itertools.count()

    async def run(
        self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs
    ) -> Made:
        """Run work of the process itself in the thread, before any waiting client."""
        return await self.runner(_Own(), 0)(work, *given, **named)

    def runner(self, client: Client, size: int) -> Run:
        """Returns a function that runs work of this client, whose body has `size` bytes, in the
        thread. It raises ConnectionResetError when the connection has ended.
        """
        source = client.source

        async def run(
            work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs
        ) -> Made:
            nonlocal source
            await self._turn(client, source, size)
            # The next step of this review comes before all others, so that its memory is freed
            # soon.
            source = FIRST
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._thread, lambda: work(*given, **named)
                )
            finally:
                self._next()

        return run

    async def _turn(self, client: Client, source: str, size: int) -> None:
        if self._is_taken:
            waiting = _Waiting(
                size, next(self._numbers), asyncio.get_running_loop().create_future()
            )
            self._waiting.setdefault(source, []).append(waiting)
            client.waits(waiting.turn)
            try:
                await waiting.turn
            except BaseException:
                # Also a cancellation: a turn that nobody takes would stop the queue.
                self._forget(source, waiting)
                raise
        self._is_taken = True
        client.served()

    def _next(self) -> None:
        """Give the turn to the next job, if there is one."""
        self._is_taken = False
        while self._waiting:
            source = FIRST if FIRST in self._waiting else next(iter(self._waiting))
            waiting = min(self._waiting[source])
            self._take_out(source, waiting)
            # A turn that is done belongs to a connection that has ended.
            if not waiting.turn.done():
                self._is_taken = True
                waiting.turn.set_result(None)
                return

    def _forget(self, source: str, waiting: _Waiting) -> None:
        """Remove a job whose connection ended while it waited, or just after it got its turn."""
        if waiting in self._waiting.get(source, ()):
            self._take_out(source, waiting)
        elif (
            waiting.turn.done()
            and not waiting.turn.cancelled()
            and waiting.turn.exception() is None
        ):
            self._next()

    def _take_out(self, source: str, waiting: _Waiting) -> None:
        """Remove a job from the queue, and move its source to the end."""
        others = self._waiting.pop(source)
        others.remove(waiting)
        if others:
            self._waiting[source] = others
