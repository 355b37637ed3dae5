"""Who is cut when there are too many connections, or too many bytes in them; nobody who is
honest.
"""

import asyncio
import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.builders import a_pod, a_review
from tests.support.connections import HEAD, end_connections, from_address, http_request
from tests.support.processes import running_process
from tests.support.service import REVIEW, Running, running
from tests.support.waiting import eventually
from webhook.core import review
from webhook.serving import app, byte_budget
from webhook.serving.connection import Connections


async def is_open(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 0.05) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


async def many(number: int, address: str, service: Running, *, tls: bool = True) -> None:
    """So many at once; what becomes of each is not looked at."""
    await asyncio.gather(
        *(from_address(service, address, tls=tls) for _ in range(number)), return_exceptions=True
    )


async def asks(
    ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], review: Any = REVIEW
) -> bool:
    """Whether a review on this connection is answered."""
    ends[1].write(http_request(review))
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await asyncio.wait_for(ends[0].readuntil(b"\r\n\r\n"), 20)
        await ends[0].readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        return b" 200 " in head
    return False


@pytest.mark.parametrize("tls", [True, False], ids=["idle", "no handshake"])
async def test_one_address_cannot_keep_others_out(tmp_path: Path, tls: bool) -> None:
    """It holds all, and each newcomer of another address costs it one of its own, whoever has been
    idle for longer.
    """
    async with running(tmp_path) as service:
        service.service.connections.limit = 20
        first = await from_address(service, "127.0.0.2")
        assert await asks(first)
        await many(20, "127.0.0.66", service, tls=tls)
        flood = asyncio.create_task(many(10, "127.0.0.66", service, tls=tls))
        await eventually(lambda: len(service.service.connections) == 20)
        for _ in range(5):
            assert await asks(await from_address(service, "127.0.0.3"))
        assert await asks(first)
        await flood
        assert (
            await service.metric('boundtoken_connections_cut_total{port="tls",reason="full"}') >= 11
        )
        (told,) = service.log_lines("connections are full")
        assert told["busiest_source"] == "127.0.0.66"


async def test_a_source_that_holds_too_many_waits_for_its_next_handshake_and_no_other_does(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        connections = service.service.connections
        connections.limit = 4
        opened = [connections.accepted("127.0.0.66") for _ in range(4)]
        assert [connection.delay for connection in opened] == [0.0] * 4
        assert connections.accepted("127.0.0.66").delay > 0
        assert connections.accepted("127.0.0.3").delay == 0
        for connection in list(connections._open):
            connections.left(connection)


async def test_the_longest_idle_goes_and_never_the_newcomer(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        service.service.connections.limit = 4
        ends = [await from_address(service, f"127.0.0.{number}") for number in range(2, 6)]
        for number in (0, 2, 3, 1):
            assert await asks(ends[number])
        for gone in (0, 2, 3):
            ends.append(await from_address(service, f"127.0.1.{gone + 1}"))
            assert await asks(ends[-1])
            assert not await is_open(ends[gone][0])
        assert await asks(ends[1])


async def test_a_full_port_is_told_and_takes_no_replica_away(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        service.service.connections.limit = 3
        await many(6, "127.0.0.66", service)
        await eventually(lambda: service.service.connections.is_full)
        status, text = await service.get("/readyz")
        assert (status, text) == (200, "ok; connections are full, the longest idle goes\n")
        assert await service.metric('boundtoken_connections_limit{port="tls"}') == 3
        assert await service.metric('boundtoken_connections{port="tls"}') == 3


async def test_who_is_being_answered_is_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as service:
        go = asyncio.Event()
        door = service.service.connections.answer

        async def slow(http: Any) -> Any:
            await go.wait()
            return await door(http)

        monkeypatch.setattr(service.service.connections, "answer", slow)
        service.service.connections.limit = 2
        reader, writer = await from_address(service, "127.0.0.2")
        writer.write(http_request())
        await asyncio.sleep(0.1)
        await many(5, "127.0.0.66", service)
        go.set()
        assert b"200" in await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)


async def test_where_all_others_are_being_answered_the_newcomer_still_comes_in(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        connections = service.service.connections
        connections.limit = 3
        opened = [connections.accepted(f"127.0.0.{number}") for number in range(2, 5)]
        for connection in opened:
            connection._request_in_progress = True
        newcomer = connections.accepted("127.0.0.9")
        assert list(connections._open) == [*opened[1:], newcomer]
        for connection in list(connections._open):
            connection._request_in_progress = False
            connections.left(connection)


async def test_who_does_not_read_is_stopped_and_then_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.serving.connection.ANSWER_SECONDS", 0.5)
    async with running(tmp_path) as service:
        sweep = asyncio.create_task(service.service.connections.sweep(every=0.1))
        reader, writer = await service.connect()
        reader._limit = 1  # type: ignore[attr-defined]  # so that the client's own side takes nothing either
        answered = await service.metric("boundtoken_admission_duration_seconds_count")
        request = http_request()
        for _ in range(20_000):
            writer.write(request)
        await asyncio.sleep(0.4)
        first = await service.metric("boundtoken_admission_duration_seconds_count")
        assert first - answered < 15_000
        await eventually(
            lambda: writer.transport.is_closing() or len(service.service.connections) == 0
        )
        assert (
            await service.metric('boundtoken_connections_cut_total{port="tls",reason="answer"}')
            >= 1
        )
        writer.transport.abort()
        sweep.cancel()


class Client:
    def __init__(self, source: str) -> None:
        self.source = source


@contextlib.contextmanager
def a_budget(most: int) -> Iterator[tuple[byte_budget.ByteBudget[Client], list[Client]]]:
    cut: list[Client] = []

    def go(client: Client) -> None:
        cut.append(client)
        budget.release(client)

    budget = byte_budget.ByteBudget(go, most)
    yield budget, cut


async def test_whose_bytes_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 50)
    with a_budget(100) as (budget, cut):
        slow, hog, other = Client("a"), Client("b"), Client("b")
        await budget.take(slow, 10)
        await budget.take(hog, 45)
        await budget.take(other, 40)
        await budget.take(newcomer := Client("c"), 20)
        assert cut == [hog]  # its source holds more than half
        assert budget.total == 70
        budget.completed(slow, 0)
        budget.begun(slow)
        started = asyncio.get_running_loop().time()
        await budget.take(newcomer, 20)
        assert budget.total == 90
        await budget.take(newcomer, 15)
        assert cut == [
            hog,
            other,
        ]  # who began first, when patience is over; the body that is complete stays
        assert asyncio.get_running_loop().time() - started > 0.5


async def test_who_began_first_goes_on_first_and_all_stay_within_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six bodies of 40 at a time where 100 have room: if all waited for each other, none would be
    complete within a second.
    """
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 100)
    most, complete = 0, 0
    with a_budget(100) as (budget, cut):

        async def one(client: Client) -> None:
            nonlocal most, complete
            for _ in range(8):
                await budget.take(client, 5)
                most = max(most, budget.total)
                await asyncio.sleep(0.001)
            complete += 1
            budget.release(client)

        start = asyncio.get_running_loop().time()
        await asyncio.gather(*(one(Client(str(number))) for number in range(6)))
        assert asyncio.get_running_loop().time() - start < 0.9
        assert complete == 6
        assert cut == []
        assert most <= 200


async def test_one_source_with_many_bodies_may_hold_a_quarter_while_others_want_room() -> None:
    with a_budget(100) as (budget, cut):
        hogs = [Client(source) for source in ("a", "a", "b", "b", "c", "c")]
        for hog in hogs:
            await budget.take(hog, 16)
        await budget.take(Client("d"), 15)
        assert cut == hogs[:1]
        big = Client("e")
        await budget.take(big, 40)
        assert big not in cut


async def test_an_honest_body_waits_a_little_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 60)
    with a_budget(100) as (budget, cut):
        first, second = Client("a"), Client("a")
        await budget.take(first, 80)
        waiting = asyncio.create_task(budget.take(second, 80))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        budget.release(first)
        await asyncio.wait_for(waiting, 20)
        assert cut == []
        assert budget.total == 80
        await budget.take(Client("b"), 65)
        await budget.take(Client("c"), 20)
        assert cut == [second]  # far beyond the budget there is no patience


async def test_one_big_body_cuts_no_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no source has too much and none is slow, whoever holds most goes; among bodies of one
    size a small one that arrives is not cut.
    """
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 0)
    with a_budget(100) as (budget, cut):
        complete, other, big = Client("a"), Client("b"), Client("c")
        await budget.take(complete, 30)
        budget.completed(complete, 0)
        await budget.take(other, 35)
        await budget.take(big, 30)
        with pytest.raises(ConnectionResetError):
            await budget.take(big, 10)
        assert cut == [big]
        assert budget.total == 65
        await budget.take(Client("d"), 32)
        await budget.take(Client("e"), 6)
        assert cut == [big, other]


async def test_who_waited_for_room_is_not_stalled_when_it_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing was read from it meanwhile."""
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 20)
    with a_budget(100) as (budget, cut):
        worked_on, first, waiter, other = (Client(source) for source in "abcd")
        await budget.take(worked_on, 30)
        budget.begun(worked_on)
        await budget.take(first, 30)
        await budget.take(other, 24)
        waiting = asyncio.create_task(budget.take(waiter, 20))
        await asyncio.sleep(byte_budget.STALLED_SECONDS - 0.05)
        await budget.take(other, 1)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        budget.release(first)
        await budget.take(Client("e"), 24)
        await budget.take(Client("f"), 24)
        assert cut == [other]
        await asyncio.wait_for(waiting, 20)


async def test_who_takes_no_answer_goes_first() -> None:
    with a_budget(100) as (budget, cut):
        clients = [Client(str(number)) for number in range(5)]
        for client in clients:
            budget.answer(client, 30)
        assert cut == clients[:2]
        assert budget.total == 90


async def test_bodies_that_are_held_back_stay_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 clients hold back the last byte of 1 MiB each; an honest client with a body as big is
    answered.
    """
    async with running(tmp_path) as service:
        budget = service.service.connections.budget
        budget.limit = 8 << 20
        body = b" " * (1 << 20)
        worst = 0
        for number in range(40):
            _, writer = await from_address(service, f"127.0.0.{number + 2}")
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
            worst = max(worst, budget.total)
        await asyncio.sleep(0.2)
        assert await asks(
            await from_address(service, "127.0.0.99"),
            a_review(a_pod(annotations={"x": "y" * (1 << 20)})),
        )
        assert max(worst, budget.total) <= budget.limit + byte_budget.SLACK_BYTES + (1 << 18)
        assert (
            await service.metric('boundtoken_connections_cut_total{port="tls",reason="memory"}')
            >= 10
        )
        end_connections()
        await eventually(lambda: budget.total == 0)


async def test_the_metrics_port_has_the_same_limits(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        plain: Connections = service.service._metrics_connections
        plain.limit = 5
        port = int(service.plain.rsplit(":", 1)[1])
        ends = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.66", 0))
            for _ in range(12)
        ]
        await eventually(lambda: len(plain) == 5)
        assert await service.get("/livez") == (200, "ok\n")
        sweep = asyncio.create_task(plain.sweep(header_seconds=0.2, every=0.05))
        ends[-1][1].write(b"GET /met")
        assert await asyncio.wait_for(ends[-1][0].read(), 20) == b""
        for _, writer in ends:
            writer.close()
        sweep.cancel()


async def test_a_flood_of_scrapes_makes_one_page_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as service:
        monkeypatch.setattr(app, "KEEP_METRICS_SECONDS", 1.0)
        first = await service.get("/metrics")
        await service.post(REVIEW)
        again = [await service.get("/metrics") for _ in range(5)]
        assert [response == first for response in again] == [True] * 5
        await asyncio.sleep(1.1)
        assert await service.get("/metrics") != first


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 what",
        b"GET /%s HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n" % (b"secret" * 500),
        b"hunter2\r\n\r\n",
    ],
)
async def test_bad_http_gets_a_short_answer_and_one_short_line(tmp_path: Path, sent: bytes) -> None:
    async with running(tmp_path) as service:
        reader, writer = await service.connect()
        writer.write(sent + b"\r\n\r\n")
        head, _, text = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
        assert text == b"Bad Request\n"
        (line,) = service.log_lines("bad HTTP")
        assert set(line) == {"time", "level", "event", "port", "error"}
        assert await service.metric('boundtoken_http_refusals_total{code="400"}') >= 1
        writer.close()


async def test_bad_http_a_thousand_times_is_a_few_lines(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        for _ in range(60):
            reader, writer = await service.connect()
            writer.write(b"x\r\n\r\n")
            await reader.read()
            writer.close()
        assert len(service.log_lines("bad HTTP")) <= 30


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_a_compressed_body_is_refused(tmp_path: Path, encoding: str) -> None:
    async with running(tmp_path) as service:
        status, text = await service.post(REVIEW, headers={"Content-Encoding": encoding})
        assert (status, text) == (415, "the body must not be compressed; no API server does that\n")
        assert (await service.post(REVIEW, headers={"Content-Encoding": "identity"}))[0] == 200


def test_without_descriptors_the_longest_idle_goes_and_a_line_says_so(tmp_path: Path) -> None:
    """A process that may open 64 files, 200 idle clients, and a kubelet who wants to know whether
    it lives.
    """
    namespace = tmp_path / "n.yaml"
    namespace.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    with (
        running_process(tmp_path, namespaces=namespace, wrapped=with_64_files) as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 2))
        for _ in range(5):
            assert asyncio.run(_livez(server.plain)) == 200
        log = server.log.read_text()
        assert "narrow" in log or "cannot be accepted" in log


def with_64_files(command: list[str]) -> list[str]:
    return ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command]


async def _livez(port: int) -> int:
    timeout = aiohttp.ClientTimeout(total=3)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"http://127.0.0.1:{port}/livez") as answer,
    ):
        return answer.status


def test_a_newcomer_finds_room_where_the_last_descriptor_is_taken(tmp_path: Path) -> None:
    """Whatever else took them: the limit is lowered under the running process to what idle clients
    hold.
    """
    with running_process(tmp_path) as server, contextlib.ExitStack() as stack:
        trust = server.trust()

        def connect(address: str) -> ssl.SSLSocket:
            plain = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), 3, (address, 0))
            )
            return stack.enter_context(trust.wrap_socket(plain, server_hostname="localhost"))

        for number in range(20):
            connect(f"127.0.2.{number + 1}")
        taken = {int(descriptor.name) for descriptor in Path(f"/proc/{server.pid}/fd").iterdir()}
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        first_free = next(number for number in range(len(taken) + 1) if number not in taken)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (first_free, hard))
        newcomer = connect("127.0.3.1")
        newcomer.sendall(http_request())
        assert newcomer.recv(12) == b"HTTP/1.1 200"
        assert server.process.poll() is None


async def test_a_complete_body_of_another_goes_before_a_newcomer_whose_source_holds_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten addresses with one complete body each fill the budget: another address still comes in."""
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 0)
    with a_budget(100) as (budget, cut):
        others = [Client(str(number)) for number in range(10)]
        for client in others:
            await budget.take(client, 10)
            budget.completed(client, 0)
        await budget.take(Client("honest"), 6)
        assert cut == others[:1]


async def test_many_reviews_at_once_do_not_stop_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 reviews of 250 KB, complete in the same moment: after each 256 KiB the loop looks for
    others.
    """
    decode = review.decode

    def slow(body: bytes | bytearray) -> object:
        time.sleep(0.01)
        return decode(body)

    monkeypatch.setitem(app.WEBHOOKS, "/mutate", app.MUTATING._replace(decode=slow))
    request = http_request(a_review(a_pod(annotations={"x": "y" * 250_000})))
    async with running(tmp_path) as service:
        ends = [await from_address(service, f"127.0.1.{number + 1}") for number in range(40)]
        for _, writer in ends:
            writer.write(request[:-1])
        await asyncio.sleep(0.3)
        for _, writer in ends:
            writer.write(request[-1:])
        longest, before, until = 0.0, time.monotonic(), time.monotonic() + 1
        while time.monotonic() < until:
            await asyncio.sleep(0.001)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        answers = [await asyncio.wait_for(reader.readuntil(b"\r\n"), 20) for reader, _ in ends]
        assert [b" 200 " in answer for answer in answers] == [True] * 40
        assert longest < 0.3  # all 40 in one go take 0.4 s and more


async def test_a_source_with_little_loses_nothing_because_its_bodies_are_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An API server has several bodies under way, and other clients one each: all together the
    others have nearly everything.
    """
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 0)
    with a_budget(160) as (budget, cut):
        others = [Client(str(number)) for number in range(19)]
        for client in others:
            await budget.take(client, 8)
            budget.completed(client, 0)
        for _ in range(2):
            await budget.take(Client("api"), 4)
        await budget.take(Client("other"), 5)
        assert cut == others[:1]


async def test_who_has_room_and_sends_nothing_goes_before_a_complete_body_and_who_sends_goes_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 0)
    monkeypatch.setattr(byte_budget, "STALLED_SECONDS", 0.1)
    with a_budget(100) as (budget, cut):
        sends, stalled, *complete = (Client(str(number)) for number in range(10))
        await budget.take(sends, 8)
        for client in (stalled, *complete):
            await budget.take(client, 9)
        for client in complete:
            budget.completed(client, 0)
        await asyncio.sleep(0.2)
        await budget.take(sends, 1)
        for number in range(4):
            await budget.take(Client(f"newcomer {number}"), 6)
        assert cut == [stalled, complete[0]]


async def test_the_time_for_which_we_let_a_body_wait_does_not_count_against_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(byte_budget, "SLACK_BYTES", 100)
    monkeypatch.setattr(byte_budget, "PATIENCE_SECONDS", 0.2)
    with a_budget(100) as (budget, cut):
        worked_on = Client("a")
        await budget.take(worked_on, 95)
        budget.begun(worked_on)
        waiting = [asyncio.create_task(budget.take(Client("b"), 20))]
        await asyncio.sleep(0.5)
        waiting.append(asyncio.create_task(budget.take(Client("c"), 20)))
        await asyncio.sleep(0.1)
        assert cut == []
        budget.release(worked_on)
        await asyncio.wait_for(asyncio.gather(*waiting), 20)


async def test_what_is_beside_a_body_is_free_once_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = review.decode

    def slow(body: bytes | bytearray) -> object:
        time.sleep(0.3)
        return decode(body)

    monkeypatch.setitem(app.WEBHOOKS, "/mutate", app.MUTATING._replace(decode=slow))
    async with running(tmp_path) as service:
        _, writer = await from_address(service, "127.0.0.2")
        writer.write(http_request(a_review(a_pod(annotations={"x": "y" * 300_000}))))
        await asyncio.sleep(0.2)
        assert 300_000 < service.service.connections.budget.total < 310_000
