"""Checks ConfigMaps with the cluster's configuration, outside of the event loop.

People apply one now and then. Whoever reaches the port can send them all day, and 64 KiB of YAML
take 0.2 s of the thread that big reviews need: so one is checked at a time, and then none for four
times as long.
"""

import asyncio

from .. import cluster_config
from ..core.decision import Decision
from ..core.review import ValidationRequest
from ..enforcement import configuration
from ..errors import BadInput
from .worker import Worker

WAIT_SECONDS = 1.0
"""For the turn. The API server waits for 3 s in all."""
REST = 4
"""Times as long as the check took."""


class Configurations:
    """Decides on ConfigMaps; `worker` does the work."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = asyncio.Lock()

    async def decide(self, request: ValidationRequest) -> Decision:
        """Return a denial of a configuration with faults. Where too many are waiting it is not
        checked, and a warning says so.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._lock.acquire()
        except TimeoutError:
            return Decision("not-enforced", "warned", warnings=(configuration.BUSY,))
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            return await self._worker.run(configuration.decide, request, find_faults)
        finally:
            loop.call_later(REST * (loop.time() - start), self._lock.release)


def find_faults(text: str) -> tuple[str, ...]:
    """The faults of a configuration, as `boundtoken config check` prints them."""
    try:
        cluster_config.parse(text)
    except BadInput as problem:
        return problem.faults
    return ()
