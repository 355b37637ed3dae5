"""What a replica does when its own namespace is being deleted, against an API server that a test
plays; the real one is in cluster_e2e/test_uninstall.py.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import jsonpatch
import pytest
from aiohttp import web

from tests.support.api import Api, a_namespace_object, an_event, api_server
from tests.support.builders import Json
from tests.support.waiting import eventually
from webhook.core import names
from webhook.log import Log
from webhook.serving.own_namespace import OwnNamespace

VALIDATING, MUTATING = "validatingwebhookconfigurations", "mutatingwebhookconfigurations"


def entry(name: str, policy: str, namespace: str = names.NAMESPACE) -> Json:
    service = {"name": names.APP, "namespace": namespace, "port": 10250, "path": "/validate"}
    return {"name": name, "failurePolicy": policy, "clientConfig": {"service": service}}


BY_URL = {"name": "url", "failurePolicy": "Fail", "clientConfig": {"url": "https://x.example"}}


class Configurations:
    """The webhook configurations as the API server has them; a PATCH is refused so often first."""

    def __init__(self, **entries: list[Json]) -> None:
        self.entries = entries
        self.refusals: list[int] = []
        self.forbidden: set[str] = set()
        self.before_a_patch: Callable[[], object] = lambda: None

    def left(self, kind: str) -> list[str]:
        return [one["name"] for one in self.entries[kind]]

    async def get(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if kind in self.forbidden:
            return web.json_response({"message": "forbidden"}, status=403)
        if kind not in self.entries:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response({"webhooks": self.entries[kind]})

    async def patch(self, request: web.Request) -> web.StreamResponse:
        kind, operations = request.match_info["kind"], await request.json()
        if self.refusals:
            code = self.refusals.pop(0)
            if code == 422:  # another replica was first
                self.entries[kind] = self.entries[kind][1:]
            return web.json_response({"message": "no"}, status=code)
        self.before_a_patch()
        try:
            after = jsonpatch.apply_patch({"webhooks": self.entries[kind]}, operations)
        except jsonpatch.JsonPatchTestFailed:
            return web.json_response({"message": "the test failed"}, status=422)
        self.entries[kind] = after["webhooks"]
        return web.json_response({})


@asynccontextmanager
async def followed(
    configurations: Configurations, *watches: list[Json]
) -> AsyncIterator[tuple[Api, list[Json]]]:
    """A replica that follows its namespace, of which these events come, and what it logs."""
    lines: list[Json] = []
    log = Log("debug", lambda written: lines.extend(map(json.loads, written.splitlines())))
    async with api_server(configurations.get, configurations.patch) as (api, client):
        api.namespaces = [a_namespace_object(names.NAMESPACE)]
        api.watches = [[*events, api.never] for events in watches]
        own = OwnNamespace(client, names.NAMESPACE, (names.APP,), log)
        task = asyncio.create_task(own.follow())
        yield api, lines
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def going() -> Json:
    found = a_namespace_object(names.NAMESPACE, 101)
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return an_event("MODIFIED", found)


async def test_only_entries_of_ours_that_fail_closed_are_taken_out() -> None:
    entries = [
        entry("first", "Fail"),
        entry("open", "Ignore"),
        entry("of-another", "Fail", "elsewhere"),
        BY_URL,
        entry("last", "Fail"),
    ]
    configurations = Configurations(**{VALIDATING: entries})
    async with followed(configurations, [going()]) as (api, lines):
        await eventually(lambda: len(configurations.entries[VALIDATING]) == 3)
        assert configurations.left(VALIDATING) == ["open", "of-another", "url"]
        assert f"metadata.name={names.NAMESPACE}" in api.lists[0].query["fieldSelector"]
    (line,) = (line for line in lines if line["level"] == "warning")
    assert line["event"].startswith("boundtoken's namespace is being deleted")
    assert line["removed"] == ["first", "last"]


async def test_the_entry_that_our_component_makes_goes_first() -> None:
    """Who deletes everything takes our rights away right after the namespace."""
    configurations = Configurations(
        **{kind: [entry("pods", "Fail")] for kind in (MUTATING, VALIDATING)}
    )
    async with followed(configurations, [going()]) as (_, lines):
        configurations.before_a_patch = lambda: order.append(configurations.left(VALIDATING))
        order: list[list[str]] = []
        await eventually(lambda: len(order) == 2)
    assert order == [["pods"], []], lines


@pytest.mark.parametrize(
    "meanwhile",
    [entry("pods", "Ignore"), entry("pods", "Fail", "elsewhere")],
    ids=["open", "moved"],
)
async def test_what_others_changed_after_it_was_read_stays(meanwhile: Json) -> None:
    """Such as an installation that moves to another namespace, from which ours is deleted then."""
    configurations = Configurations(**{VALIDATING: [entry("pods", "Fail")]})
    applied = [meanwhile]
    configurations.before_a_patch = lambda: configurations.entries.update({VALIDATING: applied})
    async with followed(configurations, [going()]) as (_, lines):
        await eventually(lambda: configurations.entries[VALIDATING] == applied)
        await asyncio.sleep(0.3)  # the next try comes after 0.1 s
    assert configurations.entries[VALIDATING] == applied
    assert not any(line["level"] in ("warning", "error") for line in lines)


async def test_nothing_is_taken_out_while_the_namespace_stays() -> None:
    configurations = Configurations(**{VALIDATING: [entry("closed", "Fail")]})
    stays = an_event("MODIFIED", a_namespace_object(names.NAMESPACE, 101, inject="enabled"))
    async with followed(configurations, [stays]) as (api, _):
        await eventually(lambda: len(api.watched) == 1)
        await asyncio.sleep(0.1)
        assert configurations.left(VALIDATING) == ["closed"]


async def test_a_refusal_is_followed_by_another_try_until_nothing_is_left() -> None:
    configurations = Configurations(
        **{VALIDATING: [entry("a", "Fail"), entry("b", "Fail")], MUTATING: [entry("c", "Fail")]}
    )
    configurations.refusals = [500, 422]
    async with followed(configurations, [going()]) as (_, lines):
        await eventually(lambda: configurations.left(VALIDATING) == [], 10)
        await eventually(lambda: configurations.left(MUTATING) == [], 10)
        assert sum(line["level"] == "error" for line in lines) == 1


async def test_a_right_that_comes_late_is_used_and_until_then_told_once() -> None:
    """An API server whose RBAC is not read yet refuses everybody."""
    configurations = Configurations(**{VALIDATING: [entry("closed", "Fail")]})
    configurations.forbidden = {VALIDATING, MUTATING}
    async with followed(configurations, [going()]) as (_, lines):
        await asyncio.sleep(0.6)
        configurations.forbidden = set()
        await eventually(lambda: configurations.left(VALIDATING) == [], 10)
    errors = [line["event"] for line in lines if line["level"] == "error"]
    assert errors == ["entries that fail closed may still be there"]


async def test_a_replica_that_starts_while_its_namespace_goes_takes_them_out_as_well() -> None:
    configurations = Configurations(**{VALIDATING: [entry("closed", "Fail")]})
    async with followed(configurations) as (api, _):
        api.namespaces[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        await eventually(lambda: configurations.left(VALIDATING) == [])
