"""The two ports of a process: TLS for the API server, plain HTTP for kubelet and scraper. They are
opened together, and the first is drained.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ..log import Log
from ..options import Address
from .connection import Connections
from .listener import Listener, listen
from .process import fit_descriptors

FLIGHT_SECONDS = 5.0
"""How long requests in flight may take after the listener is closed: more than the API server waits
(timeoutSeconds: 3)."""
LOOK_SECONDS = 0.05
"""Between two looks at them."""


@asynccontextmanager
async def open_ports(
    tls: tuple[Address, Connections, ssl.SSLContext],
    metrics: tuple[Address, Connections],
    log: Log,
) -> AsyncIterator[Listener]:
    """Listens at both addresses until the end of the block; gives the listener of the TLS port.

    Raises: BadInput, where an address cannot be used
    """
    tls_address, tls_connections, context = tls
    metrics_address, metrics_connections = metrics
    async with AsyncExitStack() as stack:
        stack.push_async_callback(metrics_connections.server.shutdown, 1)
        stack.push_async_callback(tls_connections.server.shutdown, 1)
        fit_descriptors(tls_connections, metrics_connections, log)
        listener = listen("--listen", tls_address, tls_connections, context, log)
        stack.callback(listener.close)
        other = listen("--plain-listen", metrics_address, metrics_connections, None, log)
        stack.callback(other.close)
        yield listener


async def drain(
    listener: Listener, connections: Connections, seconds: float, hurry: asyncio.Event
) -> None:
    """Serve for `seconds` more while endpoints follow, or until `hurry` is set. Then close idle
    connections and wait for requests in flight.

    Why not close at once: the API server learns seconds later that this endpoint is gone, and each
    connection that we close before makes one call fail.
    """
    connections.draining = True
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), seconds)
    listener.close()
    connections.close_idle()
    clock = asyncio.get_running_loop().time
    deadline = clock() + FLIGHT_SECONDS
    while connections.busy and clock() < deadline:  # noqa: ASYNC110  (twice a process)
        await asyncio.sleep(LOOK_SECONDS)
