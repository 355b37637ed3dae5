"""The loop of the self-probe against an API server that answers what a test says; what a real one
does is in cluster_e2e.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.builders import Json
from tests.support.waiting import eventually
from webhook import metrics, options
from webhook.cluster.client import ApiClient
from webhook.cluster.credentials import InCluster
from webhook.core import names
from webhook.core.self_probe import RESULTS, Result
from webhook.log import Log
from webhook.serving import self_probe
from webhook.serving.self_probe import SelfProbe, self_probe_of

SECONDS = 0.05
STATUS = {names.STATUS: "injected: audience=(API server) expires=3600 set-by=pod policy=6740ae57"}
Answer = tuple[int, Any]
INJECTED: Answer = (201, {"metadata": {"annotations": STATUS}, "spec": {"containers": []}})
AS_IT_WAS: Answer = (201, {"metadata": {}, "spec": {}})
NO_RIGHT: Answer = (403, {"message": 'User "u" cannot create resource "pods" in API group ""'})
QUOTA: Answer = (403, {"message": "exceeded quota \x1b[31m eyJhbGciOiJub25lIn0.e30.abc"})


class Pods:
    """The pods of our own namespace as an API server takes them; `answer` is what it says."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[tuple[Json, Json]] = []
        self.ports: list[int] = []
        self.server = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def tls(self) -> bool:
        return True

    async def authorization(self) -> str | None:
        return None

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((dict(request.query), await request.json()))
        assert request.transport is not None
        self.ports.append(request.transport.get_extra_info("peername")[1])
        await self.may_answer.wait()
        status, body = self.answer
        if status == 0:
            return web.Response(body=b"no json", status=201)
        headers = {"Retry-After": "1"} if status == 429 else {}
        return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def probing(api: Pods, **fields: Any) -> AsyncIterator[list[Json]]:
    """A probe at work, and what it logs."""
    app = web.Application()
    app.router.add_post("/api/v1/namespaces/own/pods", api.create)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    api.server = str(server.make_url("")).rstrip("/")
    lines: list[Json] = []
    log = Log("debug", lambda written: lines.extend(map(json.loads, written.splitlines())))
    try:
        async with ApiClient(api, "test") as client:
            seconds = fields.pop("seconds", SECONDS)
            task = asyncio.create_task(SelfProbe(client, "own", seconds, log, **fields).run())
            yield lines
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            assert ended is None or isinstance(ended, asyncio.CancelledError)
    finally:
        await server.close()


def counted(result: str) -> float:
    return float(metrics.SELF_PROBES.labels(result)._value.get())


def last() -> list[str]:
    """The results whose gauge is not 0."""
    return [one for one in RESULTS if metrics.SELF_PROBE_RESULT.labels(one)._value.get()]


async def test_a_dry_run_of_our_pod_in_our_namespace_and_nothing_else_is_asked_for() -> None:
    api = Pods(INJECTED)
    async with probing(api):
        await eventually(lambda: len(api.requests) > 2)
    assert all(query == {"dryRun": "All"} for query, _ in api.requests)
    pod = api.requests[0][1]
    assert pod["metadata"] == {
        "generateName": "boundtoken-self-probe-",
        "annotations": {names.INJECT: "enabled"},
    }


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (INJECTED, "injected"),
        (AS_IT_WAS, "not-injected"),
        (QUOTA, "refused"),
        (NO_RIGHT, "could-not-ask"),
        ((0, ""), "could-not-ask"),
        ((201, []), "could-not-ask"),
        ((201, {"metadata": {"annotations": 3}}), "could-not-ask"),
        ((503, {"message": "away"}), "could-not-ask"),
    ],
)
async def test_each_answer_has_its_result_counted_and_told_once(
    answer: Answer, result: Result
) -> None:
    before, success = counted(result), metrics.SELF_PROBE_LAST_SUCCESS._value.get()
    async with probing(Pods(answer)) as lines:
        await eventually(lambda: counted(result) >= before + 3)
        assert last() == [result]
    (line,) = lines
    assert (line["event"], line["result"]) == ("self-probe", result)
    assert line["level"] == self_probe.LEVELS[result]
    assert ("hint" in line) == (result != "injected")
    assert (metrics.SELF_PROBE_LAST_SUCCESS._value.get() > success) == (result == "injected")
    assert 0 < metrics.SELF_PROBE_DURATION._value.get() < 5
    assert metrics.SELF_PROBE_INTERVAL._value.get() == SECONDS


async def test_a_change_is_told_and_what_others_write_into_a_refusal_moves_no_terminal() -> None:
    api = Pods(INJECTED)
    async with probing(api) as lines:
        for answer, result in ((INJECTED, "injected"), (QUOTA, "refused"), (INJECTED, "injected")):
            api.answer = answer
            await eventually(lambda: last() == [result])  # noqa: B023
    assert [line["result"] for line in lines] == ["injected", "refused", "injected"]
    written = json.dumps(lines, ensure_ascii=False)
    assert "exceeded quota" in written
    assert "\x1b" not in written


async def test_nothing_is_asked_before_the_replica_is_ready_and_unready_later_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(self_probe, "READY_SECONDS", 0.01)
    waiting, api = ["the namespaces are not listed"], Pods(INJECTED)
    async with probing(api, unready=lambda: waiting):
        await asyncio.sleep(0.2)
        assert api.requests == []
        waiting.clear()
        await eventually(lambda: api.requests)
        waiting.append("the webhook configuration does not trust our certificate yet")
        before = len(api.requests)
        await eventually(lambda: len(api.requests) > before + 1)


async def test_a_replica_that_drains_asks_no_more_and_its_last_answer_counts_nothing() -> None:
    is_draining, api, before = False, Pods(AS_IT_WAS), counted("not-injected")
    api.may_answer.clear()
    async with probing(api, draining=lambda: is_draining) as lines:
        await eventually(lambda: api.requests)
        is_draining = True
        api.may_answer.set()
        await asyncio.sleep(6 * SECONDS)
    assert (len(api.requests), counted("not-injected"), lines) == (1, before, [])


async def test_the_api_server_is_asked_again_when_it_said() -> None:
    api = Pods((429, {"message": "too many requests"}))
    async with probing(api):
        await eventually(lambda: api.requests)
        await asyncio.sleep(0.7)
        assert len(api.requests) == 1
        api.answer = INJECTED
        await eventually(lambda: last() == ["injected"])


def test_the_pause_is_bounded_and_shorter_while_something_is_broken() -> None:
    pauses = [60.0]
    for _ in range(9):
        pauses.append(self_probe.pause_after("could-not-ask", pauses[-1], 60.0))
    assert pauses[:3] == [60.0, 120.0, 240.0]
    assert max(pauses) == 240.0
    assert self_probe.pause_after("injected", 240.0, 60.0) == 60.0
    assert self_probe.pause_after("refused", 240.0, 60.0) == 60.0
    assert self_probe.pause_after("not-injected", 60.0, 60.0) == self_probe.AGAIN_SECONDS
    assert self_probe.pause_after("not-injected", 60.0, 3.0) == 3.0


async def test_replicas_that_start_together_do_not_ask_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async with ApiClient(Pods(INJECTED), "test") as client:
        for _ in range(50):
            with pytest.raises(asyncio.CancelledError):
                await SelfProbe(client, "own", 60.0, Log("error", print)).run()
    assert min(slept) >= 5
    assert max(slept) <= 15
    assert max(slept) - min(slept) > 5


def an_account(folder: Path) -> InCluster:
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    return InCluster(environ, folder)


async def test_no_probe_uses_the_connection_of_the_one_before() -> None:
    """Else a replica would go on asking the one API server that does not call us."""
    api = Pods(AS_IT_WAS)
    async with probing(api):
        await eventually(lambda: len(api.ports) >= 3)
    assert len(set(api.ports)) == len(api.ports)


async def test_only_a_replica_in_the_cluster_probes_and_only_where_it_is_to(tmp_path: Path) -> None:
    log, pods = Log("error", print), Pods(INJECTED)
    account, more = an_account(tmp_path), {"unready": list, "draining": bool}
    async with ApiClient(pods, "test") as client:
        on, off = (options.resolve({"self_probe_interval": n}, {}) for n in ("60", "0"))
        assert self_probe_of(client, account, on, log, **more) is not None
        assert self_probe_of(client, account, off, log, **more) is None
        untouched = options.resolve({"namespace": "kube-system"}, {})
        assert self_probe_of(client, account, untouched, log, **more) is None
        assert self_probe_of(client, pods, on, log, **more) is None
        assert self_probe_of(None, None, on, log, **more) is None
