"""The picture: a fold over events, one live GET for all who ask, and nothing that blocks or grows."""

import asyncio
from collections.abc import Mapping

import pytest

from tests.cluster.api import a_namespace, api_server
from webhook.cluster import namespaces
from webhook.cluster.namespaces import Namespaces, fetch_from
from webhook.cluster.watch import Alive, Changed, Deleted, Listed, Lost
from webhook.core import names
from webhook.core.policy import ClusterLayer, TokenPolicy

ON = {names.INJECT: "enabled"}


def test_the_picture_is_a_fold_over_events() -> None:
    picture = Namespaces(ClusterLayer())
    assert not picture.synced
    picture.fold(Listed([("a", ON), ("b", {})], "start"))
    picture.fold(Changed(("b", ON)))
    picture.fold(Deleted(("a", {})))
    picture.fold(Deleted(("never", {})))
    picture.fold(Alive())
    picture.fold(Lost("away"))
    held = picture.get("b")
    assert (picture.synced, len(picture), picture.get("a")) == (True, 1, None)
    assert held is not None
    assert held.resolution.policy.inject


def test_a_new_list_forgets_what_is_gone() -> None:
    picture = Namespaces(ClusterLayer())
    picture.fold(Listed([("a", {}), ("b", {})], "start"))
    picture.fold(Listed([("b", {})], "gone"))
    assert picture.get("a") is None


def test_namespaces_with_the_same_annotations_share_one_layer() -> None:
    picture = Namespaces(ClusterLayer())
    picture.fold(Listed([("a", dict(ON)), ("b", dict(ON)), ("c", {}), ("d", {})], "start"))
    assert picture.get("a") is picture.get("b")
    assert picture.get("c") is picture.get("d")


def test_another_configuration_settles_every_namespace_anew() -> None:
    picture = Namespaces(ClusterLayer())
    picture.fold(Listed([("a", {})], "start"))
    picture.resettle(ClusterLayer(TokenPolicy(inject=True)))
    held = picture.get("a")
    assert held is not None
    assert held.resolution.policy.inject


async def test_two_hundred_pods_of_one_unknown_namespace_cost_one_get() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace("new", 1, inject="enabled")]
        api.gate.clear()
        picture = Namespaces(ClusterLayer(), fetch_from(client, lambda *_: None))
        asked = [asyncio.create_task(picture.find("new")) for _ in range(200)]
        while not api.gets:
            await asyncio.sleep(0)
        api.gate.set()
        found = await asyncio.gather(*asked)
        assert all(each is not None and each.resolution.policy.inject for each in found)
        assert api.gets == 1


async def test_a_client_that_gives_up_does_not_take_the_others_answer_with_it() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace("new")]
        api.gate.clear()
        picture = Namespaces(ClusterLayer(), fetch_from(client, lambda *_: None))
        first, second = asyncio.create_task(picture.find("new")), asyncio.create_task(picture.find("new"))
        while not api.gets:
            await asyncio.sleep(0)
        first.cancel()
        api.gate.set()
        assert await second is not None


async def test_a_no_is_remembered_for_a_second_and_not_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_server() as (api, client):
        picture = Namespaces(ClusterLayer(), fetch_from(client, lambda *_: None))
        assert await picture.find("new") is None
        api.namespaces = [a_namespace("new")]
        assert await picture.find("new") is None
        assert api.gets == 1
        loop = asyncio.get_running_loop()
        later = loop.time() + namespaces.REMEMBER_SECONDS
        monkeypatch.setattr(loop, "time", lambda: later)
        assert await picture.find("new") is not None
        assert api.gets == 2


async def test_a_server_that_cannot_answer_is_told_and_counts_as_unknown() -> None:
    async with api_server() as (api, client):
        api.get_status = 500
        told: list[tuple[str, str]] = []
        picture = Namespaces(ClusterLayer(), fetch_from(client, lambda *said: told.append(said)))
        assert await picture.find("new") is None
        assert told == [("new", "500 no")]


@pytest.mark.parametrize("name", ["", "../secrets/x", "a/b", "A", "a" * 64, "a?watch=1", "-a"])
async def test_what_is_no_name_of_a_namespace_never_reaches_the_api_server(name: str) -> None:
    asked: list[str] = []

    async def fetch(name: str) -> Mapping[str, str] | None:
        asked.append(name)
        return {}

    assert await Namespaces(ClusterLayer(), fetch).find(name) is None
    assert asked == []


async def test_standalone_nobody_can_be_asked() -> None:
    assert await Namespaces(ClusterLayer()).find("new") is None
