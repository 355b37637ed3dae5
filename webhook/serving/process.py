"""What the process arranges for itself: memory, file descriptors, and the delay of its event
loop.
"""

import asyncio
import gc
import resource
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from .. import metrics
from ..log import Log
from .connection import Connections

DESCRIPTORS = 4096
"""Many times what the connections of both ports need."""
OTHER_DESCRIPTORS = 32
"""For the event loop, followed files, and connections to the API server: about 20 were measured."""
LAG_SECONDS = 0.1
MAX_DEPTH = 12_000
"""Go's encoding/json reads 10,000 levels (maxNestingDepth), around which a review has some."""

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Makes a coroutine that runs until the process ends."""


def accept_deep_objects() -> None:
    """Let the decoder skip objects as deep as an API server reads them; by default it gives up at
    1,000 levels, and the review of a pod with deep `managedFields` would be refused.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), MAX_DEPTH))


def freeze_garbage_collector() -> None:
    """Exclude all present objects from garbage collection, and collect less often.

    What exists after the first list stays for the life of the process; each collection would visit
    all of it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def fit_descriptors(tls: Connections, metrics_port: Connections, log: Log) -> None:
    """Raise the limit of file descriptors as far as the system allows.

    Where that is not enough, lower the limits of both ports, so that probes and files still find
    descriptors.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = soft - OTHER_DESCRIPTORS
    if left < tls.limit + metrics_port.limit:
        metrics_port.limit = max(2, min(metrics_port.limit, left // 8))
        tls.limit = max(8, left - metrics_port.limit)
        log.warning(
            "the limit of file descriptors lowers the limit of connections",
            descriptors=soft,
            connections=tls.limit,
        )


async def measure_lag() -> None:
    """Measure the delay of the event loop, for ever. The metric has the greatest since it was read
    last.
    """
    clock = asyncio.get_running_loop().time
    worst = 0.0

    def read_and_reset() -> float:
        nonlocal worst
        lag, worst = worst, 0.0
        return lag

    metrics.EVENT_LOOP_LAG.set_function(read_and_reset)
    while True:
        before = clock()
        await asyncio.sleep(LAG_SECONDS)
        worst = max(worst, clock() - before - LAG_SECONDS)
