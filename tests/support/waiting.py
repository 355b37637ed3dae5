"""Until something is so: `wait_for` in a thread, `eventually` on a loop, with the same promises."""

import asyncio
import time
from typing import Any

PATIENCE = 4
"""How many times as long as on a quiet machine is waited before a test fails."""


def wait_for(condition: Any, seconds: float = 20, every: float = 0.05) -> Any:
    """What `condition()` gives once that is true, on a quiet machine within `seconds`.

    Raises: TimeoutError, with what it gave last
    """
    deadline = time.monotonic() + PATIENCE * seconds
    while not (given := condition()):
        _still_in_time(deadline, seconds, given)
        time.sleep(every)
    return given


async def eventually(condition: Any, seconds: float = 5, every: float = 0.01) -> Any:
    """The same, while the loop goes on."""
    deadline = time.monotonic() + PATIENCE * seconds
    while not (given := condition()):
        _still_in_time(deadline, seconds, given)
        await asyncio.sleep(every)
    return given


def _still_in_time(deadline: float, seconds: float, given: Any) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"not within {PATIENCE * seconds} s: {given!r}")
