"""Work that is too long for the event loop: in a thread, one at a time, and the loop goes on answering meanwhile.

One at a time, because what a big review needs of memory must not be needed many times at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from aiohttp import web

BIG_BYTES = 1 << 18
"""Of a body: at four times what json.loads needs, a quarter of a MiB takes the loop for 10 ms."""

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Run(Protocol):
    """Runs a function, here or elsewhere."""

    def __call__(self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Awaitable[Made]: ...


async def here(work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
    """Runs it at once."""
    return work(*given, **named)


class Aside:
    """The thread, and who waits for it, in the order of their coming."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "review")
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
        """What `work` gives, when it is its turn."""
        return await self.runner(None)(work, *given, **named)

    def runner(self, http: web.BaseRequest | None) -> Run:
        """Runs what belongs to one request, if any; raises ConnectionResetError where nobody waits for its answer any more."""

        async def run(work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
            async with self._turn:
                if http is not None and (http.transport is None or http.transport.is_closing()):
                    raise ConnectionResetError("the caller has hung up")
                return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*given, **named))

        return run
