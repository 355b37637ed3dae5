"""A load on a TLS port from another core: keep-alive connections, one request in flight on each,
nothing parsed but lengths.

Where servers are compared, the load's own core never sleeps. A server that writes to a sleeping
client pays for waking the other core, in a virtual machine 10 to 20 us for each request, and the
slower server pays it more often: that would measure the machine.
"""

import asyncio
import itertools
import os
import ssl
import time
from pathlib import Path
from typing import Any

import uvloop

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class _Client(asyncio.Protocol):
    def __init__(
        self, requests: "itertools.cycle[bytes]", until: float, done: asyncio.Future[int]
    ) -> None:
        self._requests, self._until, self._done = requests, until, done
        self._answers, self._missing, self._buffer = 0, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")  # uvloop's TLS transports are no asyncio.Transport
        self._transport: Any = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            data = self._buffer + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
            start = data.index(b"Content-Length: ") + 16
            self._missing = int(data[start : data.index(b"\r\n", start)]) + end + 4
            self._buffer = b""
        self._missing -= len(data)
        if self._missing:
            return
        self._answers += 1
        if time.monotonic() < self._until:
            self._transport.write(next(self._requests))
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._done.set_result(self._answers)


def request(body: bytes) -> bytes:
    head = f"POST /mutate?timeout=3s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


CONNECTIONS = 32


def load(
    port: int, ca: Path, bodies: list[bytes], *, pid: int, seconds: float, awake: bool = True
) -> tuple[float, float]:
    """Requests for each second, and the server's CPU microseconds for each request; `awake`: the
    load never sleeps.
    """

    async def run() -> tuple[float, float]:
        def stay_awake() -> None:
            if awake and not all(future.done() for future in done):
                loop.call_soon(stay_awake)

        requests = itertools.cycle([request(body) for body in bodies])
        trust = ssl.create_default_context(cafile=str(ca))
        loop = asyncio.get_running_loop()
        used, start = cpu_seconds(pid), time.monotonic()
        done = [loop.create_future() for _ in range(CONNECTIONS)]
        stay_awake()
        for future in done:
            make = lambda future=future: _Client(requests, start + seconds, future)  # noqa: E731
            await loop.create_connection(
                make, "127.0.0.1", port, ssl=trust, server_hostname="localhost"
            )
        answers = sum(await asyncio.gather(*done))
        return answers / (time.monotonic() - start), (cpu_seconds(pid) - used) / answers * 1e6

    return uvloop.run(run())


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def resident_mb(pid: int) -> float:
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024
