"""`/validate` as a client sees it, and the limits of a preview."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.api import Api
from tests.support.builders import Json, a_pod, a_review, automounted
from tests.support.service import running
from tests.support.waiting import eventually
from webhook.cluster.client import ApiClient
from webhook.cluster.legacy_tokens import LegacyTokens
from webhook.cluster.namespaces import NamespaceCache
from webhook.cluster.watch import Changed, Deleted, Listed
from webhook.core import review
from webhook.core.decision import Decision
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.serving import app, previews
from webhook.serving.previews import Previews
from webhook.serving.worker import Worker

YEAR = a_review(automounted(a_pod()))
PASSWORD = "hunter2"


def namespaces(folder: Path, **annotations: str) -> dict[str, Any]:
    """Flags for a standalone service with the namespace `shop`."""
    metadata = {
        "name": "shop",
        "annotations": {f"boundtoken.dev/{key}": value for key, value in annotations.items()},
    }
    path = folder / "shop.yaml"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
    return {"standalone": [path], "ca_out": folder / "ca.crt"}


async def test_a_denial_is_told_in_answer_log_and_metric(tmp_path: Path) -> None:
    async with running(
        tmp_path, **namespaces(tmp_path, enforce="bound", audit="strict")
    ) as service:
        evaluated = 'boundtoken_policy_evaluations_total{decision="deny",level="bound",mode="enforce",operation="CREATE",'
        before = await service.metric(evaluated + 'resource="pods"}')
        status, text = await service.post(YEAR, path="/validate")
        response = json.loads(text)["response"]
        assert (status, response["allowed"], response["status"]["code"]) == (200, False, 403)
        assert (
            response["auditAnnotations"]["policy"] == "enforce=bound:v1,warn=off:v1,audit=strict:v1"
        )
        assert "warnings" not in response
        assert await service.metric(evaluated + 'resource="pods"}') == before + 1
        (line,) = service.log_lines("review")
        assert (line["outcome"], line["reason"]) == ("denied", "violates")


async def test_what_cannot_be_judged_is_left_to_the_failure_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, **namespaces(tmp_path, enforce="bound")) as service:
        unknown = {**YEAR, "request": {**YEAR["request"], "namespace": "nowhere"}}
        assert await service.post(unknown, path="/validate") == (
            500,
            "boundtoken could not decide on this: namespace-unknown\n",
        )
        assert (await service.post(b"{", path="/validate"))[0] == 400

        def bug(*_: object) -> Decision:
            raise KeyError(PASSWORD)

        monkeypatch.setitem(app.WEBHOOKS, "/validate", app.VALIDATING._replace(decide=bug))
        assert await service.post(YEAR, path="/validate") == (
            500,
            "boundtoken could not decide on this: internal-error\n",
        )
        assert PASSWORD not in json.dumps(service.lines)
        assert service.log_lines("internal error")


async def test_every_series_of_evaluations_is_there_from_the_start(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        _, text = await service.get("/metrics")
        series = [
            line
            for line in text.splitlines()
            if line.startswith("boundtoken_policy_evaluations_total{")
        ]
        assert len(series) == 3 * 3 * 2 * 4


@pytest.mark.parametrize("namespace", ["shop", "other"])
async def test_a_pod_with_a_legacy_token_of_its_namespace_is_denied(
    tmp_path: Path, namespace: str
) -> None:
    volume = {"name": "s", "secret": {"secretName": "old"}}
    async with running(tmp_path, **namespaces(tmp_path, enforce="bound")) as service:
        service.service._legacy_tokens.apply(Listed([(namespace, "old")], "start"))
        _, text = await service.post(a_review(a_pod(volumes=[volume])), path="/validate")
    assert json.loads(text)["response"]["allowed"] is (namespace == "other")


def test_the_cache_of_legacy_tokens_follows_and_says_when_it_knows_nothing() -> None:
    tokens = LegacyTokens()
    assert tokens.of("shop") is None
    tokens.apply(Listed([("shop", "a"), ("other", "b")], "start"))
    tokens.apply(Changed(("shop", "c")))
    tokens.apply(Deleted(("shop", "a")))
    assert (tokens.of("shop"), tokens.of("nowhere")) == (frozenset({"c"}), frozenset())


def a_namespace_update(
    old: dict[str, str] | None = None, *, dry_run: bool = False, **annotations: str
) -> review.ValidationRequest:
    """An update from the annotations `old` to `annotations`, by default to `enforce: bound`."""

    def named(annotations: dict[str, str]) -> Json:
        given = {
            f"boundtoken.dev/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
        return {"metadata": {"name": "shop", "annotations": given}}

    body = a_review(
        named(annotations or {"enforce": "bound"}),
        kind="Namespace",
        operation="UPDATE",
        name="shop",
        oldObject=named(old or {}),
        dryRun=dry_run,
    )
    return review.decode_full(msgspec.json.encode(body))


class PodList:
    """An API server with this many pods in the namespace `shop`, and what was asked of it."""

    def __init__(self, pods: int, pause: float = 0, status: int = 200) -> None:
        self.pods, self.pause, self.status = pods, pause, status
        self.pages = 0

    async def page(self, request: web.Request) -> web.Response:
        self.pages += 1
        await asyncio.sleep(self.pause)
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        items = [automounted(a_pod())] * min(limit, self.pods - start)
        rest = self.pods - start - len(items)
        metadata = {"continue": str(start + limit), "remainingItemCount": rest} if rest else {}
        return web.json_response({"metadata": metadata, "items": items}, status=self.status)


@asynccontextmanager
async def previewing(
    pods: PodList, cluster: ClusterPolicy | None = None
) -> AsyncIterator[tuple[Previews, NamespaceCache]]:
    """Previews of these pods, and the cache with the configuration."""
    app = web.Application()
    for namespace in ("shop", "cart"):
        app.router.add_get(f"/api/v1/namespaces/{namespace}/pods", pods.page)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    api = Api()
    api.server = str(server.make_url("")).rstrip("/")
    try:
        async with ApiClient(api, "test") as client:
            cache = NamespaceCache(cluster or ClusterPolicy(api_audiences=("api",)))
            yield Previews(client, cache, LegacyTokens(), Worker()), cache
    finally:
        await server.close()


async def looked_at(
    number: int,
    *,
    pause: float = 0,
    status: int = 200,
    exemptions: Exemptions | None = None,
) -> tuple[tuple[str, ...], int]:
    """The warnings of a preview of so many pods, and how many pages were asked for."""
    pods = PodList(number, pause, status)
    cluster = ClusterPolicy(api_audiences=("api",), exemptions=exemptions or Exemptions())
    async with previewing(pods, cluster) as (previewer, _):
        return (await previewer.decide(a_namespace_update())).warnings, pods.pages


async def test_a_preview_looks_at_all_pods_page_by_page() -> None:
    (summary, finding), pages = await looked_at(250)
    assert (
        summary
        == '250 existing pods in namespace "shop" violate "bound": 250 will be refused (pod/web (250 pods))'
    )
    assert (finding.partition(":")[0], pages) == ("pod/web (250 pods)", 3)


async def test_a_preview_stops_at_its_limits_and_says_what_it_did_not_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(previews, "SECONDS", 30.0)  # so that only the number of pods counts
    (unseen, *_), pages = await looked_at(3500)
    assert unseen.startswith(
        "3000 existing pods were looked at, and 500 more were not: at most 3000 pods or"
    )
    assert pages == 30
    monkeypatch.undo()
    (unseen, _, finding), _ = await looked_at(3500, pause=0.4)
    assert (
        unseen
        == "200 existing pods were looked at, and 3300 more were not: at most 3000 pods or 1 s"
    )
    assert finding.startswith("pod/web (200 pods)")


async def test_one_preview_at_a_time_and_the_others_are_told() -> None:
    pods = PodList(250)
    async with previewing(pods) as (previewer, _):
        decisions = await asyncio.gather(
            *(previewer.decide(a_namespace_update()) for _ in range(4))
        )
    busy = [warning for decision in decisions for warning in decision.warnings]
    assert (busy.count(previews.BUSY), pods.pages) == (3, 3)


async def test_a_dry_run_of_a_demand_is_answered_changed_or_not_and_a_change_too() -> None:
    demand = {"enforce": "bound"}
    pods = PodList(5)
    for old, dry_run, pages in (
        ({}, False, 1),
        ({}, True, 1),
        (demand, True, 1),
        (demand, False, 0),
    ):
        async with previewing(pods) as (previewer, _):
            decision = await previewer.decide(a_namespace_update(old, dry_run=dry_run))
        assert (pods.pages, bool(decision.warnings)) == (pages, bool(pages))
        assert decision.reason == ("violates" if pages else "not-enforced")
        pods.pages = 0


async def test_an_answer_is_used_again_for_half_a_minute_for_the_same_policy_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pods = PodList(5)
    request = a_namespace_update(dry_run=True)
    async with previewing(pods) as (previewer, cache):
        first = await previewer.decide(request)
        assert (await previewer.decide(request), pods.pages) == (first, 1)
        await previewer.decide(a_namespace_update(enforce="strict", dry_run=True))
        assert pods.pages == 2
        cache.reconfigure(ClusterPolicy(api_audiences=("api",), enforce_floor="strict"))
        await previewer.decide(request)
        assert pods.pages == 3
        await previewer.decide(a_namespace_update())
        assert pods.pages == 4  # who really makes the change is told how it is now
        other = msgspec.structs.replace(request, name="cart")
        (summary, *_) = [
            line for line in (await previewer.decide(other)).warnings if "existing pods" in line
        ]
        assert ('namespace "cart"' in summary, pods.pages) == (True, 5)
        pods.pages = 3
        monkeypatch.setattr(previews, "KEEP_SECONDS", -1.0)
        cache.reconfigure(ClusterPolicy())
        await previewer.decide(request)
        await previewer.decide(request)
        assert pods.pages == 5


async def test_an_answer_about_one_mode_is_none_about_two() -> None:
    """A change is answered for what changes, and a dry run for all that is demanded."""
    pods = PodList(5)
    real = a_namespace_update({"enforce": "bound"}, enforce="bound", warn="strict")
    dry_run = a_namespace_update(dry_run=True, enforce="bound", warn="strict")
    async with previewing(pods) as (previewer, _):
        await previewer.decide(real)
        warnings = (await previewer.decide(dry_run)).warnings
        assert pods.pages == 2
        assert "will be refused" in str(warnings)


async def test_the_answers_that_are_kept_are_bounded_and_failures_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(previews, "MAX_KEPT", 2)
    pods = PodList(5)
    requests = [
        a_namespace_update(enforce="bound", max_expiration_seconds=seconds, dry_run=True)
        for seconds in ("600", "700", "800")
    ]
    async with previewing(pods) as (previewer, cache):
        for request in requests:
            await previewer.decide(request)
        await previewer.decide(requests[2])
        assert pods.pages == 3
        await previewer.decide(requests[0])
        assert pods.pages == 4
        cache.reconfigure(ClusterPolicy())
        pods.status = 500
        await previewer.decide(requests[0])
        pods.status = 200
        decision = await previewer.decide(requests[0])
        assert decision.warnings[0].startswith('5 existing pods in namespace "shop" violate')


async def test_faults_are_denied_before_any_pod_is_listed_and_without_a_cluster_too(
    tmp_path: Path,
) -> None:
    pods = PodList(5)
    request = a_namespace_update(enforce="Bound", dry_run=True)
    async with previewing(pods) as (previewer, _):
        decision = await previewer.decide(request)
        assert (decision.reason, pods.pages) == ("bad-annotations", 0)
    async with running(tmp_path, **namespaces(tmp_path)) as service:
        new = {"metadata": {"name": "new", "annotations": {"boundtoken.dev/inject": "true"}}}
        body = a_review(new, kind="Namespace", name="new")
        _, text = await service.post(body, path="/validate")
        response = json.loads(text)["response"]
        assert (response["allowed"], response["status"]["code"]) == (False, 403)
        assert 'did you mean "enabled"?' in response["status"]["message"]
        await eventually(lambda: service.log_lines("review"))
        (line,) = service.log_lines("review")
        assert (line["outcome"], line["reason"], line["faults"]) == ("denied", "bad-annotations", 1)


async def test_a_page_that_is_too_long_ends_the_preview_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(previews, "MAX_PAGE_BYTES", 1000)
    warnings, _ = await looked_at(250)
    assert warnings == ("existing pods were not all looked at: an answer of more than 1000 bytes",)


async def test_nobody_looks_at_the_pods_of_an_exempt_namespace_and_it_is_told() -> None:
    (told,), pages = await looked_at(5, exemptions=Exemptions(namespaces=frozenset({"shop"})))
    assert told.startswith('namespace "shop" is exempt from enforcement')
    assert pages == 0


async def test_a_preview_that_may_not_look_says_so_and_denies_nothing() -> None:
    warnings, _ = await looked_at(5, status=403)
    assert warnings == ("existing pods were not all looked at: 403",)
