"""Big reviews: the loop goes on answering, one is worked on at a time, and nobody works for a
client that has gone.
"""

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path

import pytest

from tests.support.builders import a_container, a_pod, a_review
from tests.support.connections import from_address, http_request
from tests.support.service import REVIEW, Running, running
from tests.support.waiting import eventually
from webhook.core import review
from webhook.serving import app
from webhook.serving.worker import Worker

BIG = a_review(
    a_pod(
        *(
            a_container(f"c{number}", env=[{"name": "E", "value": "<" * 120_000}])
            for number in range(150)
        )
    )
)
"""18 MB."""


async def probed(service: Running, until: "asyncio.Task[bool]") -> list[float]:
    """How long each probe took, in seconds, as long as the task goes on."""
    took = []
    while not until.done():
        start = time.monotonic()
        assert (await service.get("/livez"))[0] == 200
        assert (await service.post(REVIEW))[0] == 200
        took.append(time.monotonic() - start)
    return took


@pytest.mark.slow("measures how long others wait, and needs the cores for itself")
@pytest.mark.parametrize("path", ["/mutate", "/validate"])
async def test_a_review_of_18_mb_is_answered_and_keeps_nobody_waiting(
    tmp_path: Path, path: str
) -> None:
    body = json.dumps(BIG).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with running(tmp_path) as service:
        reader, writer = await from_address(service, "127.0.0.2")

        async def big() -> bool:
            writer.write(head.encode() + body)
            await writer.drain()
            answered = b" 200 " in await reader.readuntil(b"\r\n")
            writer.transport.abort()
            return answered

        task = asyncio.create_task(big())
        took = await probed(service, task)
        assert await task
        assert max(took) < 0.5
        assert service.log_lines("review")


async def test_nobody_works_for_a_client_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[int] = []
    decode = review.decode

    def slow(body: bytes | bytearray) -> object:
        time.sleep(0.3)
        worked.append(len(body))
        return decode(body)

    monkeypatch.setitem(app.WEBHOOKS, "/mutate", app.MUTATING._replace(decode=slow))
    request = http_request(a_review(a_pod(annotations={"x": "y" * 300_000})))
    async with running(tmp_path) as service:
        ends = [await from_address(service, f"127.0.0.{number + 2}") for number in range(5)]
        for _, writer in ends:
            writer.write(request)
        await asyncio.sleep(0.15)
        for _, writer in ends:
            writer.transport.abort()
        await asyncio.sleep(0.6)
        assert len(worked) == 1
        assert service.log_lines("internal error") == []


class Client:
    """Who waits, of whom nothing is held."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.turn: asyncio.Future[None] | None = None

    def waits(self, turn: asyncio.Future[None]) -> None:
        self.turn = turn

    def served(self) -> None:
        self.turn = None


async def order_of(worker: Worker, *waiting: tuple[Client, int]) -> list[tuple[str, int]]:
    """In which order these are worked on, who all came while something else was."""
    done: list[tuple[str, int]] = []
    go = threading.Event()
    first = asyncio.create_task(worker.run(go.wait, 5))
    await asyncio.sleep(0)

    async def one(client: Client, size: int) -> None:
        with contextlib.suppress(ConnectionResetError):
            await worker.runner(client, size)(done.append, (client.source, size))

    tasks = [asyncio.create_task(one(client, size)) for client, size in waiting]
    await asyncio.sleep(0.01)
    for client, _ in waiting:
        if client.source == "gone" and client.turn is not None:
            client.turn.set_exception(ConnectionResetError())
    go.set()
    await asyncio.wait_for(asyncio.gather(first, *tasks), 20)
    return done


async def test_sources_take_turns_and_of_each_the_shortest_goes_first() -> None:
    order = await order_of(
        Worker(),
        (Client("a"), 9),
        (Client("a"), 8),
        (Client("a"), 1),
        (Client("gone"), 1),
        (Client("b"), 5),
        (Client("c"), 7),
    )
    assert order == [("a", 1), ("b", 5), ("c", 7), ("a", 8), ("a", 9)]


async def test_what_is_begun_is_ended_before_another_begins() -> None:
    worker = Worker()
    done: list[str] = []
    a, b = worker.runner(Client("a"), 9), worker.runner(Client("b"), 1)

    async def both_halves() -> None:
        await a(time.sleep, 0.05)
        await a(done.append, "a")

    tasks = [asyncio.create_task(both_halves())]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(b(done.append, "b")) for _ in range(3)]
    await asyncio.gather(*tasks)
    assert done == [
        "b",
        "a",
        "b",
        "b",
    ]  # the first of them had its turn before the second half asked


async def test_who_is_cancelled_with_its_turn_in_hand_passes_it_on() -> None:
    worker = Worker()
    go = threading.Event()
    first = asyncio.create_task(worker.run(go.wait, 5))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(worker.runner(Client("a"), 1)(int)) for _ in range(3)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    go.set()
    await first
    waiting[1].cancel()
    assert await asyncio.wait_for(waiting[2], 20) == 0


async def test_an_error_of_the_work_passes_the_turn_on() -> None:
    worker = Worker()
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await asyncio.wait_for(worker.run(int), 20) == 0


async def test_bodies_that_wait_are_cut_for_others_and_let_go_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One source sends 20 reviews of 1 MB at once; another source's review is answered next, and
    within the budget.
    """
    decode = review.decode

    def slow(body: bytes | bytearray) -> object:
        if len(body) > 900_000:
            time.sleep(0.2)
        return decode(body)

    monkeypatch.setitem(app.WEBHOOKS, "/mutate", app.MUTATING._replace(decode=slow))
    many, one = (
        http_request(a_review(a_pod(annotations={"x": "y" * size})))
        for size in (1_000_000, 300_000)
    )
    async with running(tmp_path) as service:
        budget = service.service.connections.budget
        budget.limit = 8 << 20
        ends = [await from_address(service, "127.0.0.66") for _ in range(20)]
        for _, writer in ends:
            writer.write(many)
        await asyncio.sleep(0.3)
        reader, writer = await from_address(service, "127.0.0.3")
        start = time.monotonic()
        writer.write(one)
        assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)
        assert time.monotonic() - start < 2
        for _, other in ends:
            other.transport.abort()
        await eventually(lambda: budget.total == 0)
