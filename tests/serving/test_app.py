"""The TLS port as a client sees it: what is answered, what is refused, what is said about it."""

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest

from tests.support.builders import a_pod, a_review
from tests.support.connections import http_request
from tests.support.service import REVIEW, running
from tests.support.waiting import eventually
from webhook.core import names
from webhook.core.policy import ClusterPolicy
from webhook.serving import bodies


async def test_a_review_is_answered_with_a_patch(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        status, text = await service.post(REVIEW)
        response = json.loads(text)["response"]
        assert (status, response["uid"], response["allowed"]) == (
            200,
            REVIEW["request"]["uid"],
            True,
        )
        assert (
            json.loads(base64.b64decode(response["patch"]))[0]["path"]
            == "/spec/containers/0/volumeMounts"
        )


@pytest.mark.parametrize(
    ("version", "header", "connection"),
    [
        pytest.param("1.1", "", None, id="a connection goes on"),
        pytest.param("1.1", "Connection: close\r\n", "close", id="the client wants to close"),
        pytest.param("1.0", "", "close", id="an old client"),
        pytest.param(
            "1.0",
            "Connection: keep-alive\r\n",
            "keep-alive",
            id="an old client that wants to go on",
        ),
    ],
)
async def test_the_head_of_an_answer_is_what_the_client_can_use(
    tmp_path: Path, version: str, header: str, connection: str | None
) -> None:
    body = json.dumps(REVIEW).encode()
    head = f"POST /mutate HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    async with running(tmp_path) as service:
        reader, writer = await service.connect()
        for _ in range(1 if connection == "close" else 2):
            writer.write(f"{head}{header}\r\n".encode() + body)
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in lines if line)
            }
            assert status == "HTTP/1.1 200 OK"
            assert headers["content-type"] == "application/json"
            assert abs(parsedate_to_datetime(headers["date"]) - datetime.now(UTC)) < timedelta(
                seconds=5
            )
            assert headers.get("connection") == connection
            answer = await reader.readexactly(int(headers["content-length"]))
            assert json.loads(answer)["response"]["allowed"] is True
        if connection == "close":
            assert await reader.read() == b""
        writer.close()


async def test_lines_of_reviews_stand_before_what_is_said_later(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        async with aiohttp.ClientSession() as session:
            for _ in range(70):
                await service.post(REVIEW, session=session)
            await service.post(b"{", session=session)
        events = [
            line["event"]
            for line in service.lines
            if line["event"] in ("review", "malformed review")
        ]
        assert events == ["review"] * 70 + ["malformed review"]


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=UTF-8", "Application/JSON", "application/json;charset=latin-1"],
)
async def test_any_charset_of_json_is_accepted(tmp_path: Path, kind: str) -> None:
    async with running(tmp_path) as service:
        assert (await service.post(REVIEW, headers={"Content-Type": kind}))[0] == 200


async def test_what_is_no_review_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        assert await service.post(b"{") == (
            400,
            "the body must be the JSON of an AdmissionReview: Input data was truncated\n",
        )
        assert await service.post(b"") == (
            400,
            "the body is empty; it must be an AdmissionReview\n",
        )
        assert (await service.post({**REVIEW, "apiVersion": "admission.k8s.io/v1beta1"}))[0] == 400
        assert (await service.post(REVIEW, headers={"Content-Type": "text/plain"}))[0] == 415
        assert (await service.post(REVIEW, path="/validate-me"))[0] == 404
        async with (
            aiohttp.ClientSession() as session,
            session.get(service.url + "/mutate", ssl=service.trust()) as answer,
        ):
            assert answer.status == 405
        name = 'boundtoken_admission_requests_total{operation="other",outcome="failed",reason="malformed-review",resource="other"}'
        assert await service.metric(name) >= 3
        assert len(service.log_lines("malformed review")) == 3


async def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        reader, writer = await service.connect()
        head = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20971521\r\n\r\n"
        writer.write(head.encode())
        assert b"413" in await reader.readline()
        writer.close()


async def test_a_chunked_body_is_read_and_counted(tmp_path: Path) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield json.dumps(REVIEW).encode()
        for _ in range(size):
            yield b" " * (1 << 20)

    async with running(tmp_path) as service:
        async with aiohttp.ClientSession() as session:
            kind = {"Content-Type": "application/json"}
            async with session.post(
                service.url + "/mutate", data=chunks(1), headers=kind, ssl=service.trust()
            ) as answer:
                assert answer.status == 200
        reader, writer = await service.connect()
        writer.write(
            b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(21):
            writer.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        assert b"413" in await asyncio.wait_for(reader.readline(), 20)
        writer.close()


async def test_a_body_that_does_not_arrive_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies.read_body, "__defaults__", (bodies.MAX_BODY_BYTES, 0.2))
    async with running(tmp_path) as service:
        reader, writer = await service.connect()
        writer.write(
            b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
        )
        assert b"408" in await asyncio.wait_for(reader.readline(), 20)
        writer.close()


async def test_a_header_that_does_not_arrive_is_cut_and_an_idle_connection_is_not(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        sweep = asyncio.create_task(
            service.service.connections.sweep(header_seconds=0.2, every=0.05)
        )
        reader, writer = await service.connect()
        writer.write(b"POST /mutate HT")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        async with aiohttp.ClientSession() as session:
            assert (await service.post(REVIEW, session=session))[0] == 200
            await asyncio.sleep(0.5)
            assert (await service.post(REVIEW, session=session))[0] == 200
            (pool,) = session.connector._conns.values()  # type: ignore[union-attr]
            assert len(pool) == 1
        slow_reader, slow_writer = await service.connect()
        slow_writer.write(http_request(REVIEW))
        assert b"200" in await slow_reader.readline()
        slow_writer.write(b"POST /mut")
        await asyncio.wait_for(slow_reader.read(), 20)
        for stream in (writer, slow_writer):
            stream.close()
        sweep.cancel()
        assert (
            await service.metric('boundtoken_connections_cut_total{port="tls",reason="header"}')
            >= 2
        )


async def test_one_line_for_each_review_with_nothing_of_the_pod(tmp_path: Path) -> None:
    pod = a_pod(annotations={names.AUDIENCE: "a b", "secret": "hunter2"})
    pod["metadata"] = {"generateName": "web-", **pod["metadata"], "name": ""}
    pod["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "web-1", "controller": True}
    ]
    pod["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": "hunter2"}]
    async with running(tmp_path) as service:
        before = datetime.now(UTC) - timedelta(milliseconds=1)
        await service.post(a_review(pod, dryRun=True))
        after = datetime.now(UTC)
        await eventually(lambda: service.log_lines("review"))
        (line,) = service.log_lines("review")
    assert list(line) == [
        "time", "level", "event", "webhook", "uid", "namespace", "name", "owner", "operation", "resource", "outcome", "reason",
        "duration_us", "dry_run", "faults", "user",
    ]  # fmt: skip
    assert (line["name"], line["owner"], line["reason"], line["dry_run"], line["faults"]) == (
        "web-", "ReplicaSet/web-1", "injected", True, 1,
    )  # fmt: skip
    assert before <= datetime.fromisoformat(line["time"]) <= after
    assert 0 < line["duration_us"] < (after - before) / timedelta(microseconds=1)
    assert "hunter2" not in json.dumps(service.lines)


async def test_untrusted_words_do_not_become_labels(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        review = a_review(
            None, operation="EVIL", resource={"resource": "evil"}, subResource="x" * 50
        )
        assert (await service.post(review))[0] == 200
        _, text = await service.get("/metrics")
        assert "EVIL" not in text
        assert "evil" not in text


@pytest.mark.parametrize("padding", [0, 300_000], ids=["in the loop", "in the thread"])
async def test_deep_managed_fields_are_no_reason_to_refuse_a_pod(
    tmp_path: Path, padding: int
) -> None:
    """It would come in without injection. Go reads 10,000 levels."""
    depth = 9_900
    review = copy.deepcopy(REVIEW)
    review["request"]["object"]["metadata"]["managedFields"] = [{"fieldsV1": "DEEP"}]
    review["request"]["object"]["metadata"]["annotations"] = {"x": "y" * padding}
    deep = b'{"f:a":' * depth + b"{}" + b"}" * depth
    async with running(tmp_path) as service:
        status, text = await service.post(json.dumps(review).encode().replace(b'"DEEP"', deep))
    assert status == 200
    assert json.loads(text)["response"]["auditAnnotations"]["reason"] == "injected"


async def test_a_namespace_that_nobody_knows_lets_the_pod_through(tmp_path: Path) -> None:
    review = {**REVIEW, "request": {**REVIEW["request"], "namespace": "nowhere"}}
    async with running(tmp_path) as service:
        status, text = await service.post(review)
    response = json.loads(text)["response"]
    assert (status, response["allowed"]) == (200, True)
    assert response["auditAnnotations"] == {"reason": "namespace-unknown"}
    assert "patch" not in response


async def test_our_own_bug_lets_the_pod_through_and_is_told_without_the_pod(tmp_path: Path) -> None:
    class Broken:
        cluster = ClusterPolicy()

        def get(self, _: str) -> None:
            return None

        async def find(self, _: str) -> None:
            raise KeyError("hunter2")

    async with running(tmp_path) as service:
        service.service.connections.answer.namespaces = Broken()  # type: ignore[attr-defined]
        status, text = await service.post(REVIEW)
        response = json.loads(text)["response"]
        assert (status, response["allowed"], response["auditAnnotations"]) == (
            200,
            True,
            {"reason": "internal-error"},
        )
        assert "patch" not in response
        (line,) = service.log_lines("internal error")
        assert (line["uid"], line["error"]) == (REVIEW["request"]["uid"], "KeyError")
        assert "in review" in line["traceback"]
        assert "hunter2" not in json.dumps(service.lines).replace(
            'raise KeyError(\\"hunter2\\")', ""
        )
        assert await service.metric(
            'boundtoken_admission_requests_total{operation="CREATE",outcome="failed",reason="internal-error",resource="pods"}'
        )


async def test_a_client_that_leaves_in_the_middle_makes_no_noise(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        for part in (10, 200):
            _, writer = await service.connect()
            writer.write(http_request(REVIEW)[:part])
            await writer.drain()
            writer.transport.abort()
        assert (await service.post(REVIEW))[0] == 200
        assert [line for line in service.lines if line["level"] in ("warning", "error")] == []


async def test_the_metrics_port_answers_the_kubelet_and_the_scraper(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        assert await service.get("/livez") == (200, "ok\n")
        assert await service.get("/readyz") == (200, "ok\n")
        assert (await service.get("/mutate"))[0] == 404
        status, text = await service.get("/metrics")
        assert status == 200
        assert 'boundtoken_build_info{python="' in text
        assert "process_resident_memory_bytes" in text
