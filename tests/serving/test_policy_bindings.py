"""Keeping the bindings against an API server that refuses, loses and forgets; what it does on a
real one is in cluster_e2e.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.builders import Json
from tests.support.waiting import eventually
from webhook import metrics
from webhook.cluster.client import ApiClient
from webhook.core import names
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.policies import bindings
from webhook.log import Log
from webhook.serving.policy_bindings import PATH, BindingReconciler

EXPECTED = bindings.annotations(ClusterPolicy())


class Bindings:
    """The bindings as a small API server has them; each PATCH is answered with the next refusal
    first.
    """

    def __init__(self) -> None:
        self.there: dict[str, dict[str, str]] = {name: {} for name in names.POLICY_BINDINGS}
        self.refusals: dict[str, list[int]] = {}
        self.list_status = 200
        self.server = ""

    def tls(self) -> bool:
        return True

    async def authorization(self) -> str | None:
        return None

    async def collection(self, request: web.Request) -> web.StreamResponse:
        name = request.query["fieldSelector"].removeprefix("metadata.name=")
        if self.list_status != 200:
            return web.json_response({"message": "forbidden"}, status=self.list_status)
        if "watch" in request.query:
            await asyncio.sleep(
                0.05
            )  # it ends at once, and our keeper lists again after errors only
            bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}
            kind = "MODIFIED" if name in self.there else "DELETED"
            event = {
                "type": kind,
                "object": {"metadata": {"name": name, "annotations": self.there.get(name)}},
            }
            return web.Response(text=json.dumps(event) + "\n" + json.dumps(bookmark) + "\n")
        items = (
            [{"metadata": {"name": name, "annotations": self.there[name]}}]
            if name in self.there
            else []
        )
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})

    async def patch(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if self.refusals.get(name):
            code = self.refusals[name].pop(0)
            return web.json_response({"message": f"refused with {code}"}, status=code)
        change: dict[str, Any] = (await request.json())["metadata"]["annotations"]
        after = {**self.there[name], **change}
        self.there[name] = {key: text for key, text in after.items() if text is not None}
        return web.json_response({})


@asynccontextmanager
async def keeping(
    api: Bindings,
    cluster: Callable[[], ClusterPolicy] = ClusterPolicy,
    text: Callable[[], str] = str,
    **options: float,
) -> AsyncIterator[tuple[BindingReconciler, list[Json]]]:
    """A keeper at work, and what it logs."""
    app = web.Application()
    app.router.add_get(PATH, api.collection)
    app.router.add_patch(PATH + "/{name}", api.patch)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    api.server = str(server.make_url("")).rstrip("/")
    lines: list[Json] = []
    log = Log("debug", lambda written: lines.extend(map(json.loads, written.splitlines())))
    try:
        async with ApiClient(api, "test") as client:
            keeper = BindingReconciler(client, cluster, log, text=text, **options)
            tasks = [asyncio.create_task(loop()) for loop in keeper.loops()]
            yield keeper, lines
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await server.close()


def counted(result: str) -> float:
    return float(metrics.POLICY_UPDATES.labels(result)._value.get())


def lines_of(lines: list[Json], event: str) -> list[Json]:
    return [line for line in lines if line["event"].startswith(event)]


async def test_one_binding_that_is_refused_keeps_no_other_waiting_and_is_told_once() -> None:
    api = Bindings()
    api.refusals[names.POD_POLICY] = [500, 500]
    before = counted("failed")
    async with keeping(api) as (keeper, lines):
        await eventually(lambda: api.there[names.LEGACY_SECRET_POLICY] == EXPECTED)
        assert not keeper.in_sync
        await eventually(lambda: keeper.in_sync, 10)
    assert all(api.there[name] == EXPECTED for name in names.POLICY_BINDINGS)
    assert counted("failed") - before == 2
    (line,) = lines_of(lines, "policy binding cannot be updated")
    assert (line["binding"], line["problem"]) == (names.POD_POLICY, "500 refused with 500")


async def test_whatever_a_turn_meets_is_told_once_without_its_content_and_tried_again() -> None:
    broken = True

    def cluster() -> ClusterPolicy:
        if broken:
            raise KeyError("hunter2")
        return ClusterPolicy()

    async with keeping(Bindings(), cluster) as (keeper, lines):
        await eventually(
            lambda: (
                len(lines_of(lines, "policy binding cannot be updated"))
                == len(names.POLICY_BINDINGS)
            )
        )
        broken = False
        await eventually(lambda: keeper.in_sync, 20)
    assert len(lines_of(lines, "policy binding cannot be updated")) == len(names.POLICY_BINDINGS)
    assert lines_of(lines, "policy binding cannot be updated")[0]["problem"].startswith(
        "KeyError at policy_bindings.py:"
    )
    assert "hunter2" not in json.dumps(lines)


async def test_a_watch_that_is_refused_is_told_once_and_the_bindings_are_kept_when_it_is_back() -> (
    None
):
    api = Bindings()
    api.list_status = 403
    async with keeping(api) as (keeper, lines):
        await eventually(lambda: len(lines_of(lines, "policy binding watch interrupted")) == 3)
        await asyncio.sleep(0.5)
        assert len(lines_of(lines, "policy binding watch interrupted")) == 3
        assert (keeper.in_sync, lines_of(lines, "policy binding is missing")) == (False, [])
        api.list_status = 200
        await eventually(lambda: keeper.in_sync, 20)


async def test_another_configuration_is_left_alone_for_its_time_and_then_ours_is_written() -> None:
    api = Bindings()
    others = bindings.annotations(ClusterPolicy(enforce_floor="bound"))
    async with keeping(api, anothers_seconds=1.5) as (keeper, _):
        await eventually(lambda: keeper.in_sync)
        api.there[names.POD_POLICY] = dict(others)
        await eventually(lambda: not keeper.in_sync)
        await asyncio.sleep(0.7)
        assert api.there[names.POD_POLICY] == others
        await eventually(lambda: api.there[names.POD_POLICY] == EXPECTED, 20)


async def test_a_missing_binding_is_told_once_a_minute_and_is_no_reason_to_make_one() -> None:
    api = Bindings()
    del api.there[names.POD_POLICY]
    before = counted("missing")
    async with keeping(api) as (keeper, lines):
        await eventually(lambda: bool(lines_of(lines, "policy binding is missing")))
        await eventually(lambda: api.there[names.LEGACY_SECRET_POLICY] == EXPECTED)
        await asyncio.sleep(1)
        (line,) = lines_of(lines, "policy binding is missing")
        assert (line["binding"], line["level"]) == (names.POD_POLICY, "error")
        assert "OVERLAY" in line["hint"]
        assert "helm upgrade" in line["hint"]
        assert (counted("missing") - before, keeper.in_sync, names.POD_POLICY in api.there) == (
            1,
            False,
            False,
        )


TEXT = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


async def test_the_text_of_the_configuration_stands_in_the_binding_for_pods_only() -> None:
    api = Bindings()
    async with keeping(api, text=lambda: TEXT) as (keeper, _):
        await eventually(lambda: keeper.in_sync)
        api.there[names.POD_POLICY].pop(names.CONFIGURATION)
        await eventually(lambda: not keeper.in_sync)
        await eventually(lambda: keeper.in_sync)
    assert api.there[names.POD_POLICY] == bindings.annotations(ClusterPolicy(), TEXT)
    assert api.there[names.LEGACY_SECRET_POLICY] == EXPECTED
