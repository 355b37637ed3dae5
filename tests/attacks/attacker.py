"""What attackers do who reach the ports, each an endless habit of one client; a process of its own,
so that nobody waits for it.

python -m tests.attacks.attacker NAME CLIENTS PORT PLAIN_PORT CA
"""

import asyncio
import contextlib
import itertools
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

import uvloop

from tests.bench.worst import KNOWN, Shape
from tests.support.builders import a_container, a_pod, a_review
from tests.support.service import REVIEW

HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_ADDRESSES = itertools.cycle(f"127.9.{high}.{low}" for high in range(4) for low in range(1, 255))
_NUMBERS = itertools.count()


class Target(NamedTuple):
    """Where the ports are, and whom to trust."""

    port: int
    plain: int
    trust: ssl.SSLContext

    async def connect(
        self, address: str, *, tls: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from an address of the loopback network."""
        if not tls:
            return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        return await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            local_addr=(address, 0),
            ssl=self.trust,
            server_hostname="localhost",
        )


def _one_of(addresses: int) -> str:
    return f"127.9.9.{next(_NUMBERS) % addresses + 1}"


def http_request(body: bytes, path: bytes = b"/mutate") -> bytes:
    """A review as bytes of HTTP."""
    return HEAD % path + b"Content-Length: %d\r\n\r\n" % len(body) + body


def a_review_of(size: int) -> bytes:
    """A request with a body of about so many bytes."""
    return http_request(json.dumps(a_review(a_pod(annotations={"x": "y" * size}))).encode())


HONEST, HONEST_BIG = http_request(json.dumps(REVIEW).encode()), a_review_of(300_000)


@contextlib.asynccontextmanager
async def connected(
    target: Target, *, tls: bool = True, address: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await target.connect(address or next(_ADDRESSES), tls=tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def says_nothing(target: Target) -> None:
    async with connected(target, tls=False) as (reader, _):
        await reader.read()


async def asks_once(target: Target) -> None:
    async with connected(target) as (reader, writer):
        writer.write(b"GET /certificate HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while await reader.read(1 << 16):
            pass


async def asks_once_from_one_address(target: Target) -> None:
    async with connected(target, address="127.9.9.9") as (reader, writer):
        writer.write(b"GET /certificate HTTP/1.1\r\nHost: x\r\n\r\n")
        while await reader.read(1 << 16):
            pass


async def holds_back_the_end(target: Target, size: int = 20 << 20) -> None:
    async with connected(target) as (reader, writer):
        writer.write(HEAD % b"/mutate" + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 18):
            writer.write(b" " * ((1 << 18) - 1))
            await writer.drain()
        await reader.read()


async def holds_back_a_little(target: Target) -> None:
    await holds_back_the_end(target, 1 << 18)


async def chunks_without_end(target: Target) -> None:
    async with connected(target) as (_, writer):
        writer.write(HEAD % b"/mutate" + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"40000\r\n" + b" " * (1 << 18) + b"\r\n")
            await writer.drain()


async def never_reads(target: Target) -> None:
    async with connected(target) as (reader, writer):
        reader._limit = 1  # type: ignore[attr-defined]
        while True:
            writer.write(HONEST * 50)
            await writer.drain()


async def pipelines(target: Target) -> None:
    """Small requests, as many as are taken, and all answers are read."""
    async with connected(target) as (reader, writer):

        async def read() -> None:
            while await reader.read(1 << 16):
                pass

        reading = asyncio.ensure_future(read())
        try:
            while not reading.done():
                writer.write(b"GET /certificate HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
                await writer.drain()
        finally:
            reading.cancel()


async def pipelines_reviews(target: Target) -> None:
    """Reviews of 60 KB without waiting for answers, from eight addresses."""
    async with connected(target, address=_one_of(8)) as (reader, writer):

        async def read() -> None:
            while await reader.read(1 << 16):
                pass

        reading = asyncio.ensure_future(read())
        try:
            while not reading.done():
                writer.write(SMALLER * 8)
                await writer.drain()
        finally:
            reading.cancel()


async def drips(target: Target, size: int = 1 << 20) -> None:
    """Most of a body at once, then a byte at a time, so that it never counts as stalled."""
    async with connected(target) as (reader, writer):
        writer.write(HEAD % b"/mutate" + b"Content-Length: %d\r\n\r\n" % size)
        writer.write(b" " * (size * 2 // 3))
        closed = asyncio.ensure_future(reader.read())
        try:
            while not closed.done():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        finally:
            closed.cancel()


async def sends_just_less_than_half(target: Target) -> None:
    """Bodies of 15 MB, which no rule for one source counts as too much, from four addresses."""
    if not _HALF:
        shape = Shape("/validate", volumes=500_000, volume="secret", letter="wide")
        _HALF.append(http_request(shape.body(), shape.route.encode()))
    async with connected(target, address=_one_of(4)) as (reader, writer):
        writer.write(_HALF[0])
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")


async def half_a_header(target: Target) -> None:
    """As many and as long as are taken."""
    async with connected(target) as (reader, writer):
        writer.write(
            b"POST /mutate HTTP/1.1\r\n"
            + b"".join(b"X%d: %s\r\n" % (number, b"x" * 8000) for number in range(126))
        )
        await reader.read()


async def sends_big_reviews(target: Target) -> None:
    """18 MB each, as an API server would send them."""
    pod = a_pod(
        *(a_container(f"c{n}", env=[{"name": "E", "value": "<" * 120_000}]) for n in range(150))
    )
    request = http_request(json.dumps(a_review(pod)).encode())
    async with connected(target) as (reader, writer):
        while True:
            writer.write(request)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")


async def sends_medium_reviews(target: Target, address: str = "127.9.9.9") -> None:
    """What is worked on beside the loop, as many as there are clients."""
    async with connected(target, address=address) as (reader, writer):
        while True:
            writer.write(MEDIUM)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")


async def sends_medium_reviews_from_eight(target: Target) -> None:
    await sends_medium_reviews(target, _one_of(8))


async def sends_the_worst(target: Target) -> None:
    if not _BODIES:
        _BODIES.append(
            itertools.cycle(
                [http_request(shape.body(), shape.route.encode()) for shape in KNOWN.values()]
            )
        )
    async with connected(target) as (reader, writer):
        writer.write(next(_BODIES[0]))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))


async def half_a_header_or_the_worst(target: Target) -> None:
    """Of fifty clients one sends the worst reviews."""
    await (sends_the_worst(target) if next(_NUMBERS) % 50 == 0 else half_a_header(target))


async def half_a_header_on_the_plain_port(target: Target) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", target.plain, local_addr=(next(_ADDRESSES), 0)
    )
    writer.write(b"GET /metr")
    await reader.read()
    writer.close()


async def scrapes(target: Target) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", target.plain, local_addr=(next(_ADDRESSES), 0)
    )
    for _ in range(20):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
    writer.close()


MEDIUM, SMALLER = a_review_of(290_000), a_review_of(60_000)
_HALF: list[bytes] = []
_BODIES: list[Iterator[bytes]] = []
Attack = Callable[[Target], Awaitable[None]]

ATTACKS: list[tuple[Attack, int]] = [
    (says_nothing, 1500),
    (asks_once, 700),
    (asks_once_from_one_address, 700),
    (holds_back_the_end, 20),
    (holds_back_a_little, 600),
    (chunks_without_end, 20),
    (never_reads, 200),
    (pipelines, 200),
    (pipelines_reviews, 200),
    (drips, 60),
    (sends_just_less_than_half, 4),
    (half_a_header, 400),
    (half_a_header_or_the_worst, 200),
    (sends_big_reviews, 8),
    (sends_medium_reviews, 150),
    (sends_medium_reviews_from_eight, 150),
    (sends_the_worst, 8),
    (half_a_header_on_the_plain_port, 300),
    (scrapes, 10),
]


PEAKS: dict[Callable[..., object], int] = {
    holds_back_the_end: 160 << 20,
    sends_big_reviews: 160 << 20,
    pipelines_reviews: 224 << 20,
    half_a_header: 320 << 20,
}
"""What a process may need at most. Where the body of who is cut stays until the garbage is
collected, or 32 requests of a client wait in no budget, it is more."""
STORMS = (holds_back_a_little, half_a_header, half_a_header_or_the_worst)
"""Hundreds of addresses that come again as soon as they are cut: their handshakes and first bytes
take the whole CPU. Reviews that arrive in one piece get through; one of 300 KB is read in ten
pieces, between those of all others, and may be cut."""


async def habit_begun(habit: Attack, target: Target) -> None:
    """Whatever the habit makes once is made; then who waits for it is told."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(10):
            task = asyncio.ensure_future(habit(target))
            await asyncio.sleep(0.5)
            task.cancel()
    print("attacking", flush=True)


async def attack(habit: Attack, clients: int, target: Target) -> None:
    """So many clients, for ever."""

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await habit(target)
            await asyncio.sleep(0.001)

    await habit_begun(habit, target)
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(one())


if __name__ == "__main__":
    name, clients, port, plain, ca = sys.argv[1:]
    habits = {habit.__name__: habit for habit, _ in ATTACKS}
    uvloop.run(
        attack(
            habits[name],
            int(clients),
            Target(int(port), int(plain), ssl.create_default_context(cafile=ca)),
        )
    )
