"""Limits of time that hold on a slow and busy machine as well."""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

COUNTED = 200_000
QUIET_SECONDS = 0.012
"""What counting that far took on the quiet machine for which limits are written."""


def slower(clock: Callable[[], float]) -> float:
    """How many times slower than that machine this one is at this moment, by this clock; at least
    1.
    """
    begun = clock()
    total = 0
    for number in range(COUNTED):
        total += number
    return max(1.0, (clock() - begun) / QUIET_SECONDS)


@contextmanager
def cpu_time_below(seconds: float) -> Iterator[None]:
    """The block must take less CPU time than that on a quiet machine; where the same loop takes
    longer before or after it, as much longer is allowed.

    Raises: AssertionError
    """
    assert (
        not tracemalloc.is_tracing()
    )  # it makes that loop eleven times slower, and the block less
    before = slower(time.process_time)
    begun = time.process_time()
    yield
    took = time.process_time() - begun
    factor = max(before, slower(time.process_time))
    assert took < seconds * factor, f"{took:.3f} s of CPU, allowed are {factor:.1f} times {seconds}"
