"""What the process arranges for itself: memory, file descriptors, and how late its event loop
is.
"""

import asyncio
import gc
import resource

from .. import metrics
from ..log import Log
from .connection import Connections

DESCRIPTORS = 4096
"""Many times what the connections of both ports need."""
OTHER_DESCRIPTORS = 32
"""For the event loop, files that are read again, and connections to the API server: about 20 were
seen."""
LAG_SECONDS = 0.1


def freeze_garbage_collector() -> None:
    """What lives now lives long: keep the collector from walking it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def fit_descriptors(tls: Connections, plain: Connections, log: Log) -> None:
    """As many as the system allows; where they are few, fewer connections, so that probes and files
    find theirs.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = soft - OTHER_DESCRIPTORS
    if left < tls.most + plain.most:
        plain.most = max(2, min(plain.most, left // 8))
        tls.most = max(8, left - plain.most)
        log.warning(
            "few file descriptors, so few connections", descriptors=soft, connections=tls.most
        )


async def measure_lag() -> None:
    """How late the loop wakes us, for ever; the metric has the worst since somebody last asked."""
    clock = asyncio.get_running_loop().time
    worst = 0.0

    def told() -> float:
        nonlocal worst
        said, worst = worst, 0.0
        return said

    metrics.EVENT_LOOP_LAG.set_function(told)
    while True:
        before = clock()
        await asyncio.sleep(LAG_SECONDS)
        worst = max(worst, clock() - before - LAG_SECONDS)
