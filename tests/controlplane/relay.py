"""A way to the API server that a test can block: a port on loopback that forwards to another."""

import asyncio

from tests.controlplane.egress import Background, Ends, joined
from tests.support.processes import free_port


class Relay(Background):
    """Forwards what comes to `port` to `target`, until `block`: then nothing arrives any more, in
    either direction, and nobody is told, as where a firewall drops every packet. `unblock` lets
    through what has waited.
    """

    def __init__(self, target: int) -> None:
        super().__init__()
        self.port = free_port()
        self._target = target
        self._is_open = asyncio.Event()
        self._is_open.set()

    def block(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._is_open.clear)

    def unblock(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._is_open.set)

    async def begin(self) -> None:
        self._server = await asyncio.start_server(
            lambda *ends: self.run(self._forward(ends)), "127.0.0.1", self.port
        )

    def end(self) -> None:
        self._server.close()

    async def _forward(self, ends: Ends) -> None:
        await self._is_open.wait()
        try:
            others = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            ends[1].transport.abort()
            return
        await joined(ends, others, self._is_open)
