"""The way from the API server to pods and Services, as konnectivity gives it: an HTTP CONNECT proxy
on a Unix socket.

A pod's address is told as one of 10.97.0.0/16, because the API server talks to no pod in the
loopback range; here it becomes the one of 127.97.0.0/16 on which the process listens. Every other
address is dialled as it is.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

TELLS, HEARS = "10.", "127."


def told(ip: str) -> str:
    """What the API server hears of a pod's address."""
    return ip.replace(HEARS, TELLS, 1)


def heard(ip: str) -> str:
    """The address behind one that was told."""
    return ip.replace(TELLS, HEARS, 1) if ip.startswith(TELLS) else ip


class Background:
    """A loop in a thread of its own, from `start` to `stop`; what `run` was given is cancelled at
    the end.
    """

    def __init__(self) -> None:
        self._open: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """A task of the loop; called from within it."""
        task = asyncio.create_task(work)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def begin(self) -> None:
        """Open what is served."""

    def end(self) -> None:
        """Close it."""

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self.begin()
        self._ready.set()
        await self._stop.wait()
        self.end()
        for task in (still := list(self._open)):
            task.cancel()
        await asyncio.gather(*still, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in the next round of the loop


class Egress(Background):
    """The proxy on this Unix socket."""

    def __init__(self, socket: Path) -> None:
        super().__init__()
        self.socket = socket
        self._tunnels: set[asyncio.StreamWriter] = set()
        self.blocked: set[int] = set()
        """Ports that a firewall between the API server and everything else refuses."""

    def cut(self) -> None:
        """End every connection that the API server holds, as a restart of it would."""
        assert self._loop is not None
        for tunnel in list(self._tunnels):
            self._loop.call_soon_threadsafe(tunnel.transport.abort)

    def configuration(self) -> dict[str, Any]:
        """What `--egress-selector-config-file` wants to read."""
        transport = {"uds": {"udsName": str(self.socket)}}
        cluster = {
            "name": "cluster",
            "connection": {"proxyProtocol": "HTTPConnect", "transport": transport},
        }
        return {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [cluster],
        }

    async def begin(self) -> None:
        self._server = await asyncio.start_unix_server(
            lambda *ends: self.run(self._tunnel(*ends)), self.socket
        )

    def end(self) -> None:
        self._server.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            wish = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            host, _, port = wish.rpartition(":")
            if int(port) in self.blocked:
                raise ConnectionRefusedError
            ends = await asyncio.open_connection(heard(host), int(port))
        except (OSError, asyncio.IncompleteReadError):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self._tunnels.add(writer)
        try:
            await joined((reader, writer), ends)
        finally:
            self._tunnels.discard(writer)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def joined(one: Ends, other: Ends, is_open: asyncio.Event | None = None) -> None:
    """Carry bytes both ways until both are done; what has been read waits while it is not open."""
    try:
        await asyncio.gather(
            _pipe(one[0], other[1], is_open),
            _pipe(other[0], one[1], is_open),
            return_exceptions=True,
        )
    finally:
        one[1].close()
        other[1].close()


async def _pipe(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event | None
) -> None:
    try:
        while data := await reader.read(1 << 16):
            if is_open is not None:
                await is_open.wait()
            writer.write(data)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError):
            writer.write_eof()
