"""Until something is so: for threads, and for a loop."""

import asyncio
import time
from typing import Any


def wait_for(true: Any, seconds: float = 20, every: float = 0.05) -> Any:
    """What `true()` gives once it is true.

    Raises: TimeoutError, with what it gave last
    """
    deadline = time.monotonic() + seconds
    while not (given := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {given!r}")
        time.sleep(every)
    return given


async def eventually(true: Any, seconds: float = 5) -> None:
    """Wait until `true()`; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
