"""Roles and bindings, page by page."""

import json
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from webhook.tokens import ApiServer
from webhook.tokens.rbac import reading
from webhook.tokens.rbac.objects import GROUP_PATH
from webhook.tokens.rbac.reading import read_objects
from webhook.tokens.server import AnswerTooLong, Refusal

Json = dict[str, Any]


class Lists:
    """An API server that knows some lists, and answers them in pages."""

    def __init__(self, **lists: int) -> None:
        self.items = {
            kind: [{"metadata": {"name": f"{kind}-{n}"}} for n in range(size)]
            for kind, size in lists.items()
        }
        self.refusals: dict[str, Refusal] = {}
        self.longest = 10**9
        self.paths: list[str] = []

    def get(self, path: str) -> bytes:
        self.paths.append(path)
        parts = urlsplit(path)
        kind, query = parts.path.removeprefix(GROUP_PATH + "/"), parse_qs(parts.query)
        if (refusal := self.refusals.get(kind)) is not None:
            raise refusal
        start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
        if limit > self.longest:
            raise AnswerTooLong(0, "an answer of more than 1048576 bytes")
        items = self.items.get(kind, [])
        rest = items[start + limit :]
        metadata = {"continue": str(start + limit)} if rest else {}
        return json.dumps({"items": items[start : start + limit], "metadata": metadata}).encode()

    def api(self) -> ApiServer:
        return cast("ApiServer", self)


def test_everything_is_read_page_by_page() -> None:
    lists = Lists(clusterroles=450, roles=1, clusterrolebindings=0, rolebindings=201)
    seen: list[tuple[str, int]] = []
    found = read_objects(lists.api(), progress=lambda *arguments: seen.append(arguments))
    assert (len(found.roles), len(found.bindings), found.unread) == (451, 201, ())
    assert seen[:3] == [("clusterroles", 200), ("clusterroles", 400), ("clusterroles", 450)]
    assert len(lists.paths) == 3 + 1 + 1 + 2
    assert all("limit=200" in path for path in lists.paths)


def test_pages_that_are_too_long_are_read_in_smaller_ones() -> None:
    lists = Lists(clusterroles=45)
    lists.longest = 20
    assert len(read_objects(lists.api()).roles) == 45
    lists.longest = 1
    assert len(read_objects(lists.api()).roles) == 45
    lists.longest = 0
    found = read_objects(lists.api())
    assert [unread.what for unread in found.unread] == [
        "clusterroles",
        "roles",
        "clusterrolebindings",
        "rolebindings",
    ]
    assert str(found.unread[0]) == "clusterroles: an answer of more than 1048576 bytes"


def test_of_a_namespace_only_what_counts_there_is_read() -> None:
    lists = Lists(clusterroles=1)
    lists.items["namespaces/shop/roles"] = [{"metadata": {"name": "r", "namespace": "shop"}}]
    found = read_objects(lists.api(), "shop")
    assert [role.metadata.namespace for role in found.roles] == ["", "shop"]
    assert f"{GROUP_PATH}/namespaces/shop/rolebindings?limit=200" in lists.paths
    assert f"{GROUP_PATH}/roles?limit=200" not in lists.paths


def test_what_cannot_be_read_is_told_and_the_rest_is_there() -> None:
    lists = Lists(clusterroles=3, rolebindings=2)
    lists.refusals["clusterroles"] = Refusal(403, "forbidden " * 100)
    lists.refusals["roles"] = Refusal(0, "away")
    found = read_objects(lists.api())
    assert [str(unread)[:30] for unread in found.unread] == [
        "clusterroles: 403: forbidden f",
        "roles: away",
    ]
    assert len(str(found.unread[0])) < 400
    assert len(found.bindings) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"items": 1}', b"[" * 100_000])
def test_what_is_no_list_is_told(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Lists()
    monkeypatch.setattr(lists, "get", lambda _: body)
    assert len(read_objects(lists.api()).unread) == 4


def test_a_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_OBJECTS", 300)
    found = read_objects(Lists(clusterroles=1000).api())
    assert [str(unread) for unread in found.unread] == ["clusterroles: there are more than 300"]


def test_a_list_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Lists()
    monkeypatch.setattr(lists, "get", lambda _: b'{"items": [], "metadata": {"continue": "x"}}')
    unread = read_objects(lists.api()).unread
    assert str(unread[0]) == "clusterroles: more than 20 pages have nothing"
    monkeypatch.setattr(reading, "MAX_PAGES", 10)
    unread = read_objects(lists.api()).unread
    assert str(unread[0]) == "clusterroles: there are more than 10 pages"


def test_objects_may_have_null_where_lists_are(monkeypatch: pytest.MonkeyPatch) -> None:
    item = {"metadata": {"name": "x"}, "rules": None, "subjects": None, "aggregationRule": None}
    body = json.dumps({"items": [item], "metadata": {}}).encode()
    lists = Lists()
    monkeypatch.setattr(lists, "get", lambda _: body)
    found = read_objects(lists.api())
    assert (found.roles[0].rules, found.bindings[0].subjects) == (None, None)
