"""Work that is too long for the event loop: in a thread, one at a time, and the loop goes on
answering meanwhile.

One at a time, because what a big review needs of memory must not be needed many times at once. Who
waits is taken by source address in turn, of each the shortest first: many long ones of one source
keep no other out.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

BIG_BYTES = 1 << 18
"""Of a body, or of all that come at once: at four times what json.loads needs, a quarter of a MiB
takes the loop for 10 ms."""

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Run(Protocol):
    """Runs a function, here or elsewhere."""

    def __call__(
        self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs
    ) -> Coroutine[Any, Any, Made]: ...


class Client(Protocol):
    """Who waits; `source` is its address."""

    source: str

    def waits(self, turn: asyncio.Future[None]) -> None:
        """It waits for this; where it goes away or is cut, it gives it a ConnectionResetError."""

    def served(self) -> None:
        """It waits no more, and is not cut for others."""


FIRST = ""
"""In place of a source: what is half done, because it holds the most memory, and the work of the
process itself."""


class _Own:
    """The process itself, which never goes away."""

    source = FIRST

    def waits(self, turn: asyncio.Future[None]) -> None: ...

    def served(self) -> None: ...


class _Waiting(NamedTuple):
    """In the order in which those of one source are taken."""

    size: int
    number: int
    turn: asyncio.Future[None]


async def here(work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
    """Runs it at once."""
    return work(*given, **named)


class Worker:
    """The thread, and who waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "review")
        self._is_taken = False
        self._waiting: dict[str, list[_Waiting]] = {}
        """By source; the one whose turn is next stands in front."""
        self._numbers = itertools.count()

    async def run(
        self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs
    ) -> Made:
        """What `work` gives, when it is its turn."""
        return await self.runner(_Own(), 0)(work, *given, **named)

    def runner(self, client: Client, size: int) -> Run:
        """Runs what belongs to one client, whose body has `size` bytes.

        Raises: ConnectionResetError, once the client has gone
        """
        source = client.source

        async def run(
            work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs
        ) -> Made:
            nonlocal source
            await self._turn(client, source, size)
            source = FIRST
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._thread, lambda: work(*given, **named)
                )
            finally:
                self._pass_on()

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
                self._forget(source, waiting)
                raise
        self._is_taken = True
        client.served()

    def _pass_on(self) -> None:
        """The turn goes to the next, if there is one."""
        self._is_taken = False
        while self._waiting:
            source = FIRST if FIRST in self._waiting else next(iter(self._waiting))
            waiting = min(self._waiting[source])
            self._take_out(source, waiting)
            if not waiting.turn.done():
                self._is_taken = True
                waiting.turn.set_result(None)
                return

    def _forget(self, source: str, waiting: _Waiting) -> None:
        """It has gone: while it waited, or when it had just been given its turn."""
        if waiting in self._waiting.get(source, ()):
            self._take_out(source, waiting)
        elif (
            waiting.turn.done()
            and not waiting.turn.cancelled()
            and waiting.turn.exception() is None
        ):
            self._pass_on()

    def _take_out(self, source: str, waiting: _Waiting) -> None:
        """Out of the list of its source, which goes to the end."""
        others = self._waiting.pop(source)
        others.remove(waiting)
        if others:
            self._waiting[source] = others
