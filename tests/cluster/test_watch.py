"""List and watch against a server with bad manners: pages, bookmarks, 410, silence, closed
connections, huge lines.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api import Api, a_namespace_object, an_event, api_server
from webhook.cluster import namespaces, watch
from webhook.cluster.client import ApiClient
from webhook.cluster.watch import Bookmark, Changed, Deleted, Disconnected, Listed
from webhook.errors import ApiError, TooLarge

GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "code": 410, "message": "too old resource version"},
}


@asynccontextmanager
async def streaming(client: ApiClient, **options: Any) -> AsyncIterator[AsyncIterator[Any]]:
    events = watch.stream(client, namespaces.PATH, namespaces.from_metadata, **options)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def taken(events: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def test_a_list_comes_in_pages_and_keeps_only_what_steers() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.namespaces = [
            a_namespace_object(f"n{number}", inject="enabled") for number in range(1201)
        ]
        api.namespaces[0]["metadata"]["annotations"]["team"] = "x" * 1000
        (listed,) = await taken(events, 1)
        assert len(listed.items) == 1201
        assert listed.items[0] == ("n0", {"boundtoken.dev/inject": "enabled"})
        assert len(api.lists) == 3
        assert "PartialObjectMetadataList" in api.lists[0].headers["Accept"]


async def test_events_follow_the_list_and_bookmarks_move_the_version() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        bookmark = an_event("BOOKMARK", {"metadata": {"resourceVersion": "250"}})
        api.watches = [
            [
                an_event("ADDED", a_namespace_object("a", 201)),
                an_event("MODIFIED", a_namespace_object("a", 202, inject="enabled")),
                bookmark,
            ],
            [
                an_event("DELETED", a_namespace_object("a", 300)),
                an_event("NOVEL", a_namespace_object("b", 301)),
            ],
        ]
        seen = await taken(events, 5)
        assert seen == [
            Listed([], "start"),
            Changed(("a", {})),
            Changed(("a", {"boundtoken.dev/inject": "enabled"})),
            Bookmark(),
            Deleted(("a", {})),
        ]
        assert [request.query["resourceVersion"] for request in api.watched] == ["100", "250"]
        assert api.watched[0].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("gone", [[410], [GONE]], ids=["as a status", "as an event"])
async def test_a_version_that_is_too_old_lists_again(gone: Any) -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.watches = [gone]
        first, lost, again = await taken(events, 3)
        assert (first.reason, type(lost), again.reason) == ("start", Disconnected, "gone")


async def test_a_page_token_that_is_too_old_begins_the_list_again() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.refusals = [410]
        lost, listed = await taken(events, 2)
        assert (type(lost), listed.reason) == (Disconnected, "gone")


async def test_a_server_that_refuses_is_asked_again() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.refusals = [500, 429, 403]
        seen = await taken(events, 4)
        assert [getattr(event, "problem", None) for event in seen] == [
            "500 refused with 500",
            "429 refused with 429",
            "403 refused with 403",
            None,
        ]


async def test_a_closed_connection_goes_on_where_it_was() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.watches = [
            [an_event("ADDED", a_namespace_object("a", 201))],
            [an_event("ADDED", a_namespace_object("b", 202))],
        ]
        await taken(events, 3)
        assert len(api.lists) == 1
        assert [request.query["resourceVersion"] for request in api.watched] == ["100", "201"]


async def test_a_silent_connection_is_given_up() -> None:
    async with api_server() as (api, client), streaming(client, silence_seconds=0.1) as events:
        api.watches = [[Api.never], [an_event("ADDED", a_namespace_object("a", 201))]]
        listed, lost, back, changed = await taken(events, 4)
        assert (type(listed), type(lost), back, type(changed)) == (
            Listed,
            Disconnected,
            Bookmark(),
            Changed,
        )


async def test_an_object_with_256_kib_of_annotations_is_one_line() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        big = a_namespace_object("a", 201, inject="enabled")
        big["metadata"]["annotations"]["notes"] = "x" * (256 << 10)
        api.watches = [[an_event("ADDED", big), an_event("ADDED", a_namespace_object("b", 202))]]
        seen = await taken(events, 3)
        assert seen[1:] == [
            Changed(("a", {"boundtoken.dev/inject": "enabled"})),
            Changed(("b", {})),
        ]


NONSENSE = [
    pytest.param(b"{oops", id="no JSON"),
    pytest.param(b"<html>bad gateway</html>", id="HTML"),
    pytest.param(
        b'{"type": "ADDED", "metadata": "\xff\xfe", "object": {"metadata": {"name": "\xff"}}}',
        id="no UTF-8",
    ),
    pytest.param(b'{"type": ' + b"[" * 100_000, id="nested without end"),
    pytest.param(b"{}", id="a field is missing"),
    pytest.param(b'{"type": 1, "metadata": 1, "object": 1}', id="another type"),
    pytest.param(b"null", id="null"),
]


@pytest.mark.parametrize("line", NONSENSE)
async def test_a_line_that_cannot_be_read_is_no_end(line: bytes) -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.watches = [[line], [an_event("ADDED", a_namespace_object("b", 202))]]
        _, lost, back, changed = await taken(events, 4)
        assert lost.problem.startswith("the answer cannot be read: ")
        assert (back, changed) == (Bookmark(), Changed(("b", {})))


@pytest.mark.parametrize("body", NONSENSE)
async def test_a_list_that_cannot_be_read_is_asked_for_again(body: bytes) -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.raw = [body]
        lost, listed = await taken(events, 2)
        assert lost.problem.startswith("the answer cannot be read: ")
        assert listed == Listed([], "start")


async def test_a_list_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_OBJECTS", 5 * watch.PAGE)
    async with api_server() as (api, client), streaming(client) as events:
        api.raw = [b'{"metadata": {"continue": "more"}, "items": []}'] * 50
        (lost,) = await taken(events, 1)
        assert lost.problem == "the list of /api/v1/namespaces has no end: more than 2500 objects"
        assert len(api.lists) == 5


async def test_a_long_page_does_not_stop_the_loop() -> None:
    """30 objects of 240 KB that are all keys: 0.2 s in one go."""
    keys = {f"é{number}": "" for number in range(20_000)}
    body = json.dumps(
        {"metadata": {}, "items": [{"metadata": {"annotations": keys}}] * 30}, ensure_ascii=False
    ).encode()
    page = watch.PAGES.decode(body)
    passed = 0

    async def others() -> None:
        nonlocal passed
        while True:
            await asyncio.sleep(0)
            passed += 1

    task = asyncio.create_task(others())
    assert len([item async for item in watch.objects(page)]) == 30
    assert passed >= 5
    task.cancel()


async def test_a_version_that_stays_too_old_is_asked_for_with_longer_and_longer_pauses() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.watches = [[GONE] for _ in range(100)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                async for _ in events:
                    pass
        assert (
            3 <= len(api.watched) <= 7
        )  # 0.1, 0.1, 0.2, 0.4, 0.8 seconds between, each at least half


async def test_a_watch_that_is_there_again_is_told_before_its_next_event() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.watches = [[503]]  # type: ignore[list-item]
        _, lost, back = await taken(events, 3)
        assert (type(lost), back) == (Disconnected, Bookmark())


async def test_what_the_api_server_asks_to_wait_is_waited() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.refusals, api.retry_after = [429], "1"
        await taken(events, 1)
        begun = asyncio.get_running_loop().time()
        await taken(events, 1)
        assert asyncio.get_running_loop().time() - begun >= 1


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [("", 0), ("2", 2), ("86400", 30), ("9" * 400, 30), ("-1", 0), ("soon", 0), ("²", 0)],
)
async def test_what_it_asks_is_a_number_of_seconds_and_not_for_ever(
    retry_after: str, waited: float
) -> None:
    async with api_server() as (api, client):
        api.refusals, api.retry_after = [503], retry_after
        with pytest.raises(ApiError) as caught:
            await client.get(namespaces.PATH)
        assert caught.value.retry_after == waited


async def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    async with api_server() as (api, client):
        api.raw = [b"x" * 100_000]
        with pytest.raises(TooLarge, match="an answer of more than 1000 bytes"):
            await client.get(namespaces.PATH, limit=1000)


async def test_a_page_that_is_too_long_is_asked_for_with_fewer_objects() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.namespaces = [a_namespace_object(f"n{number}") for number in range(20)]
        for namespace in api.namespaces:
            namespace["metadata"]["annotations"]["notes"] = "x" * (1 << 20)
        (listed,) = await taken(events, 1)
        assert [name for name, _ in listed.items] == [f"n{number}" for number in range(20)]
        assert [request.query["limit"] for request in api.lists] == ["500", "62", "7", "7", "7"]


async def test_a_credential_that_cannot_be_used_is_a_failed_call_that_does_not_show_it() -> None:
    class Broken(Api):
        given: Callable[[], str]

        def fails(self) -> str:
            raise ValueError("hunter2")

        async def authorization(self) -> str | None:
            return self.given()

    async with api_server() as (api, _):
        broken = Broken()
        broken.server = api.server
        async with ApiClient(broken, "test") as client:
            for given in (lambda: "Bearer hunter2\r\nX: y", broken.fails):
                broken.given = given
                with pytest.raises(ApiError, match="GET /api/v1/namespaces: ValueError$"):
                    await client.get(namespaces.PATH)


async def test_a_date_beyond_all_certificates_is_not_followed() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace_object("shop")]
        for api.date in ("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -1400", "1"):
            await client.get("/api/v1/namespaces/shop")
            assert abs(client.now() - datetime.now(UTC)) < timedelta(seconds=5)


async def test_a_watch_that_is_refused_again_and_again_lists_anew() -> None:
    async with api_server() as (api, client), streaming(client) as events:
        api.watches = [[504]] * watch.MAX_FAILURES_BEFORE_RELIST  # type: ignore[list-item]
        seen = await taken(events, watch.MAX_FAILURES_BEFORE_RELIST + 2)
        assert seen[-1].reason == "error"


async def test_an_api_server_that_goes_away_comes_back_into_the_stream(
    unused_tcp_port: int,
) -> None:
    async with api_server() as (api, client), streaming(client) as events:
        real, api.server = api.server, f"http://127.0.0.1:{unused_tcp_port}"
        (lost,) = await taken(events, 1)
        assert "ClientConnectorError" in lost.problem
        api.server = real
        seen = await taken(events, 1)
        assert seen == [Listed([], "start")]


async def test_the_time_is_the_api_servers() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace_object("shop")]
        assert abs(client.now() - datetime.now(UTC)) < timedelta(seconds=5)
        api.date = "Wed, 01 Jan 2031 00:00:00 GMT"
        await client.get("/api/v1/namespaces/shop")
        told = datetime(2031, 1, 1, tzinfo=UTC)
        assert told <= client.now() < told + timedelta(seconds=5)
        api.date = "never"
        await client.get("/api/v1/namespaces/shop")
        assert told <= client.now() < told + timedelta(seconds=5)


async def test_pages_of_any_kind_say_how_much_is_left_where_they_stop() -> None:
    """As a preview reads pods: a decoder of its own, and a limit that is no failure."""

    async def decode(body: bytes) -> watch.Page:
        return watch.PAGES.decode(body)

    async with api_server() as (api, client):
        page = b'{"metadata": {"continue": "x", "remainingItemCount": 7}, "items": [{}]}'
        api.raw = [page, page, page]
        read = [
            (page.metadata.continue_, page.metadata.remaining_item_count)
            async for page in watch.read_pages(
                client, "/api/v1/namespaces", {"limit": "1"}, decode, page_limit=2
            )
        ]
        assert read == [("x", 7), ("x", 7)]
        assert [request.query.get("continue") for request in api.lists] == [None, "x"]
        with pytest.raises(TooLarge):
            async for _ in watch.read_pages(
                client, "/api/v1/namespaces", {"limit": "1"}, decode, page_limit=1, byte_limit=10
            ):
                pass


async def test_the_date_of_a_pod_behind_the_proxy_is_told_and_moves_no_clock() -> None:
    async with api_server() as (api, client):
        api.namespaces = [a_namespace_object("shop")]
        await client.get("/api/v1/namespaces/shop")
        api.date = "Wed, 01 Jan 2031 00:00:00 GMT"
        before = client.now()
        _, ahead = await client.proxied("/api/v1/namespaces/shop", seconds=5, limit=1 << 20)
        assert (client.now() - before) < timedelta(seconds=5)
        assert ahead is not None
        difference = before + timedelta(seconds=ahead) - datetime(2031, 1, 1, tzinfo=UTC)
        assert abs(difference) < timedelta(seconds=5)
        assert abs(client.ahead_seconds) < 5
        api.date = "never"
        assert (await client.proxied("/api/v1/namespaces/shop", seconds=5, limit=99999))[1] is None
