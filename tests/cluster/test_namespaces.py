"""The cache: a fold over events, one live GET for all who ask, and nothing that blocks or
grows.
"""

import asyncio
import gc
import time
from collections.abc import Mapping

import pytest

from tests.support.api import a_namespace_object, api_server
from webhook import metrics
from webhook.cluster import namespaces
from webhook.cluster.namespaces import NamespaceCache, Rate, fetch_from, from_metadata
from webhook.cluster.watch import Bookmark, Changed, Deleted, Disconnected, Listed, ObjectMeta
from webhook.core import names, policy
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, TokenPolicy

ON = {names.INJECT: "enabled"}


def test_the_cache_follows_the_events() -> None:
    cache = NamespaceCache(ClusterPolicy())
    assert not cache.synced
    cache.apply(Listed([("a", ON), ("b", {})], "start"))
    cache.apply(Changed(("b", ON)))
    cache.apply(Deleted(("a", {})))
    cache.apply(Deleted(("never", {})))
    cache.apply(Bookmark())
    cache.apply(Disconnected("away"))
    layer = cache.get("b")
    assert (cache.synced, len(cache), cache.get("a")) == (True, 1, None)
    assert layer is not None
    assert layer.resolution.policy.inject == "enabled"


def test_a_new_list_forgets_what_is_gone() -> None:
    cache = NamespaceCache(ClusterPolicy())
    cache.apply(Listed([("a", {}), ("b", {})], "start"))
    cache.apply(Listed([("b", {})], "gone"))
    assert cache.get("a") is None


def test_namespaces_with_the_same_annotations_share_one_layer() -> None:
    cache = NamespaceCache(ClusterPolicy())
    cache.apply(Listed([("a", dict(ON)), ("b", dict(ON)), ("c", {}), ("d", {})], "start"))
    assert cache.get("a") is cache.get("b")
    assert cache.get("c") is cache.get("d")


def test_another_configuration_settles_every_namespace_anew() -> None:
    cache = NamespaceCache(ClusterPolicy())
    cache.apply(Listed([("a", {})], "start"))
    cache.reconfigure(ClusterPolicy(TokenPolicy(inject="enabled")))
    layer = cache.get("a")
    assert layer is not None
    assert layer.resolution.policy.inject == "enabled"


async def test_two_hundred_pods_of_one_unknown_namespace_cost_one_get() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace_object("new", 1, inject="enabled")]
        api.gate.clear()
        cache = NamespaceCache(ClusterPolicy(), fetch_from(client, lambda *_: None))
        lookups = [asyncio.create_task(cache.find("new")) for _ in range(200)]
        while not api.gets:
            await asyncio.sleep(0)
        api.gate.set()
        found = await asyncio.gather(*lookups)
        assert all(
            layer is not None and layer.resolution.policy.inject == "enabled" for layer in found
        )
        assert api.gets == 1


async def test_a_client_that_gives_up_does_not_take_the_others_answer_with_it() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace_object("new")]
        api.gate.clear()
        cache = NamespaceCache(ClusterPolicy(), fetch_from(client, lambda *_: None))
        first, second = (
            asyncio.create_task(cache.find("new")),
            asyncio.create_task(cache.find("new")),
        )
        while not api.gets:
            await asyncio.sleep(0)
        first.cancel()
        api.gate.set()
        assert await second is not None


async def test_a_no_is_remembered_for_a_second_and_not_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with api_server() as (api, client):
        cache = NamespaceCache(ClusterPolicy(), fetch_from(client, lambda *_: None))
        assert await cache.find("new") is None
        api.namespaces = [a_namespace_object("new")]
        assert await cache.find("new") is None
        assert api.gets == 1
        loop = asyncio.get_running_loop()
        later = loop.time() + namespaces.REMEMBER_SECONDS
        monkeypatch.setattr(loop, "time", lambda: later)
        assert await cache.find("new") is not None
        assert api.gets == 2


async def test_a_server_that_cannot_answer_is_told_and_counts_as_unknown() -> None:
    async with api_server() as (api, client):
        api.get_status = 500
        told: list[tuple[str, str]] = []
        cache = NamespaceCache(
            ClusterPolicy(), fetch_from(client, lambda *problem: told.append(problem))
        )
        assert await cache.find("new") is None
        assert told == [("new", "500 no")]


@pytest.mark.parametrize("name", ["", "../secrets/x", "a/b", "A", "a" * 64, "a?watch=1", "-a"])
async def test_what_is_no_name_of_a_namespace_never_reaches_the_api_server(name: str) -> None:
    requested: list[str] = []

    async def fetch(name: str) -> Mapping[str, str] | None:
        requested.append(name)
        return {}

    assert await NamespaceCache(ClusterPolicy(), fetch).find(name) is None
    assert requested == []


async def test_standalone_nobody_can_be_asked() -> None:
    assert await NamespaceCache(ClusterPolicy()).find("new") is None


def over_rate() -> float:
    return float(metrics.NAMESPACE_LOOKUPS.labels("over-rate")._value.get())


def test_a_rate_allows_so_many_a_second_and_a_burst() -> None:
    rate = Rate(50, 25)
    assert sum(rate.allows(100.0) for _ in range(1000)) == 25
    assert sum(rate.allows(100.0 + step / 1000) for step in range(1000)) in (49, 50)
    assert sum(rate.allows(500.0) for _ in range(1000)) == 25


async def test_a_flood_of_unknown_namespaces_is_no_flood_for_the_api_server() -> None:
    async with api_server() as (api, client):
        cache, before = (
            NamespaceCache(ClusterPolicy(), fetch_from(client, lambda *_: None)),
            over_rate(),
        )
        begun = asyncio.get_running_loop().time()
        for number in range(2000):
            assert await cache.find(f"n{number}") is None
        seconds = asyncio.get_running_loop().time() - begun
        assert 25 <= api.gets <= 26 + 50 * seconds
        assert over_rate() - before == 2000 - api.gets


async def test_an_api_server_that_hangs_holds_a_bounded_number_of_lookups() -> None:
    requested: list[str] = []
    gate = asyncio.Event()

    async def fetch(name: str) -> Mapping[str, str] | None:
        requested.append(name)
        await gate.wait()
        return {}

    cache = NamespaceCache(ClusterPolicy(), fetch, Rate(1e9, 10**9))
    waiting = [asyncio.create_task(cache.find(f"n{number}")) for number in range(500)]
    while len(requested) < namespaces.MAX_LOOKUPS_IN_FLIGHT:
        await asyncio.sleep(0)
    gate.set()
    found = await asyncio.gather(*waiting)
    assert (
        len(requested)
        == len([layer for layer in found if layer is not None])
        == namespaces.MAX_LOOKUPS_IN_FLIGHT
    )


async def test_answers_are_remembered_and_the_oldest_goes_first() -> None:
    requested: list[str] = []

    async def fetch(name: str) -> Mapping[str, str] | None:
        requested.append(name)
        return None

    cache = NamespaceCache(ClusterPolicy(), fetch, Rate(1e9, 10**9))
    for number in range(namespaces.MAX_REMEMBERED + 1):
        await cache.find(f"n{number}")
    await cache.find(f"n{namespaces.MAX_REMEMBERED}")
    assert len(requested) == namespaces.MAX_REMEMBERED + 1
    await cache.find("n0")
    assert requested[-1] == "n0"


def test_of_a_namespaces_annotations_only_what_can_be_valid_is_kept() -> None:
    long = "x" * 250_000
    for name in sorted(names.FOR_NAMESPACES):
        _, annotations = from_metadata(ObjectMeta(name="a", annotations={name: long}))
        assert len(annotations[name]) <= (1 << 16) + 1
        faults = policy.resolve_namespace(ClusterPolicy(), annotations).resolution.faults
        assert [fault.annotation for fault in faults] == [name]
    many = {f"{names.DOMAIN}{number:x}": long for number in range(12_000)}
    _, annotations = from_metadata(
        ObjectMeta(name="a", annotations={**many, names.INJECT: "enabled"})
    )
    assert len(annotations) == policy.MAX_UNKNOWN + 1
    assert sum(map(len, annotations.values())) < 20_000
    resolution = policy.resolve_namespace(ClusterPolicy(), annotations).resolution
    assert resolution.policy.inject == "enabled"
    assert len(resolution.faults) == names.MAX_FAULTS + 1


async def test_many_namespaces_do_not_stop_the_loop(request: pytest.FixtureRequest) -> None:
    """1,000 lists of a thousand audiences, at a list of all namespaces and at a reconfiguration.

    CPU seconds of the thread are measured, which other processes do not change. As in a replica,
    the collector passes over what was there before: here that is what all other tests imported.
    """
    gc.collect()
    gc.freeze()
    request.addfinalizer(gc.unfreeze)
    audiences = ",".join(f"{number:x}" for number in range(1000))
    items = [
        (f"n{number}", {names.ALLOWED_AUDIENCES: f"z{number},{audiences}"})
        for number in range(1000)
    ]
    cache = NamespaceCache(ClusterPolicy())
    tighter = ClusterPolicy(locks=Locks(max_expiration_seconds=900))
    longest = 0.0

    async def measure() -> None:
        nonlocal longest
        while True:
            start = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - start)

    measuring = asyncio.create_task(measure())
    start = time.thread_time()
    await cache.prepare(items)
    cache.replace_all(items)
    await asyncio.sleep(0)
    await cache.prepare(cluster=tighter)
    cache.reconfigure(tighter)
    await asyncio.sleep(0)
    measuring.cancel()
    assert time.thread_time() - start > 0.5
    assert longest < 0.1
    first = cache.get("n0")
    assert first is not None
    assert first.locks.max_expiration_seconds == 900
    assert first.locks.allows("z0")
    assert not first.locks.allows("z1")


async def test_what_was_prepared_under_another_configuration_does_not_hold() -> None:
    cache = NamespaceCache(ClusterPolicy())
    items = [("a", ON)]
    await cache.prepare(items, ClusterPolicy(locks=Locks(max_expiration_seconds=900)))
    cache.replace_all(items)
    prepared = cache.get("a")
    assert prepared is not None
    assert prepared.locks == Locks()


def test_a_value_that_is_cut_does_not_become_valid() -> None:
    tokens = "a=vault," + " " * 70_000 + "b=="
    _, annotations = from_metadata(ObjectMeta(name="a", annotations={names.TOKENS: tokens}))
    resolution = policy.resolve_namespace(ClusterPolicy(), annotations).resolution
    assert resolution.policy.tokens == ()
    assert [fault.annotation for fault in resolution.faults] == [names.TOKENS]
