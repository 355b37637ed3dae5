"""List, then watch, for ever: an endless stream of what there is and what changes; it keeps no
cache itself.

Facts it rests on (apimachinery/pkg/watch, kubernetes.io/docs/reference/using-api/api-concepts):
- a list comes in pages; a page token that is too old answers 410, and the list begins again;
- a page is as long as its objects; one that is too long for us is asked for again with fewer
objects;
- a watch goes on from a resource version; 410, as a status or as an ERROR event, means that it is
too old: list again;
- bookmarks carry a fresh resource version about once a minute, so a connection that is silent for
longer is dead;
- the API server ends every watch after `timeoutSeconds`; that is no failure.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import msgspec

from ..errors import ApiError, Gone, TooLarge, Unauthenticated
from . import client as api

PAGE = 500
"""As kubectl and client-go do."""
FEWER = 8
"""How much shorter pages become where one was too long: 500 objects, then 62, 7, 1."""
MAX_OBJECTS = 100_000
"""Of one list: ten times what Kubernetes promises to carry, so that pages without an end end."""
BREATH_BYTES = 1 << 20
"""Of objects in one go: annotations that are keys alone make 20 ms of it, and other requests come
next."""
WATCH_SECONDS = 300
"""client-go's informers choose 5 to 10 minutes; ours end between this and twice this, so that
replicas spread."""
SILENCE_SECONDS = 150.0
"""Bookmarks come once a minute: two may be lost."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 8.0
"""Seconds between tries, doubled each time: quick for a restart, bearable for an API server that
struggles."""
MAX_FAILURES_BEFORE_RELIST = 5
"""After so many refusals of a watch in a row the resource version may be the reason (a restored
etcd): list again."""

T = TypeVar("T")


class ObjectMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """Everything there is, at once; `reason` says why we listed: start, gone or error."""

    items: list[T]
    reason: str


class Changed(msgspec.Struct, Generic[T], frozen=True):
    item: T


class Deleted(msgspec.Struct, Generic[T], frozen=True):
    item: T


class Bookmark(msgspec.Struct, frozen=True):
    """Nothing changed, and we know it: a bookmark, or a watch that is there again after it was
    lost.
    """


class Disconnected(msgspec.Struct, frozen=True):
    """The API server cannot be asked just now; the stream goes on trying."""

    problem: str


Event = Listed[T] | Changed[T] | Deleted[T] | Bookmark | Disconnected


class _Object(msgspec.Struct):
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    code: int = 0  # of a Status, in an ERROR event
    message: str = ""


class _Line(msgspec.Struct):
    type: str
    object: _Object


_AGREED = _Line("AGREED", _Object())
"""Said by no API server: our own first line of a watch."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """One page of a list; what is in it is decoded object by object."""

    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


PAGES = msgspec.json.Decoder(Page)
OBJECTS = msgspec.json.Decoder(_Object)
_LINE = msgspec.json.Decoder(_Line)


async def stream(
    client: api.ApiClient,
    path: str,
    keep: Callable[[ObjectMeta], T],
    *,
    field_selector: str = "",
    silence_seconds: float = SILENCE_SECONDS,
    watch_seconds: int = WATCH_SECONDS,
) -> AsyncIterator[Event[T]]:
    """What there is at `path` and what becomes of it; `keep` says what is kept of each object,
    before it is held.

    `field_selector` narrows it down, such as `metadata.name=x` for those whose RBAC names one
    object.
    """
    only = {"fieldSelector": field_selector} if field_selector else {}
    version, reason, pause, refusals, lost = "", "start", FIRST_PAUSE, 0, False
    while True:
        asked = 0.0
        try:
            if not version:
                items, version = await _list(client, path, keep, only)
                yield Listed(items, reason)
            async for line in _watch(
                client, path, {**only, "resourceVersion": version}, silence_seconds, watch_seconds
            ):
                event = _event(
                    line, keep
                )  # an ERROR raises here: only what is none begins the pauses anew
                if line is not _AGREED:
                    version, pause, refusals = (
                        line.object.metadata.resource_version or version,
                        FIRST_PAUSE,
                        0,
                    )
                elif lost:
                    event, lost = Bookmark(), False
                if event is not None:
                    yield event
        except (ApiError, Unauthenticated) as problem:
            lost = True
            yield Disconnected(str(problem))
            asked = getattr(problem, "retry_after", 0.0)
            refusals += getattr(problem, "status", 0) > 0
            if isinstance(problem, Gone) or (version and refusals >= MAX_FAILURES_BEFORE_RELIST):
                version, reason, refusals = "", "gone" if isinstance(problem, Gone) else "error", 0
        await asyncio.sleep(max(asked, pause * random.uniform(0.5, 1)))  # noqa: S311  (spreads replicas, hides nothing)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _list(
    client: api.ApiClient, path: str, keep: Callable[[ObjectMeta], T], only: dict[str, str]
) -> tuple[list[T], str]:
    size = PAGE
    while True:
        try:
            return await _pages(client, path, keep, {"limit": str(size), **only})
        except TooLarge:
            if size == 1:
                raise
            size = max(1, size // FEWER)


async def _pages(
    client: api.ApiClient, path: str, keep: Callable[[ObjectMeta], T], query: dict[str, str]
) -> tuple[list[T], str]:
    items: list[T] = []
    version = ""
    async for page in pages(client, path, query):
        items += [keep(each) async for each in objects(page)]
        version = page.metadata.resource_version
    return items, version


async def pages(
    client: api.ApiClient, path: str, query: dict[str, str], limit: int = api.MAX_LIST_BYTES
) -> AsyncIterator[Page]:
    """A list, page by page; `query` has the `limit` of each, `limit` is in bytes.

    Raises: ApiError, also where it has no end; TooLarge; Unauthenticated
    """
    query = dict(query)
    for _ in range(MAX_OBJECTS // int(query["limit"])):
        page = api.decode(
            PAGES, await client.get(path, accept=api.METADATA_LIST, query=query, limit=limit)
        )
        yield page
        if not page.metadata.continue_:
            return
        query["continue"] = page.metadata.continue_
    raise ApiError(f"the list of {path} has no end: more than {MAX_OBJECTS} objects")


async def objects(page: Page) -> AsyncIterator[ObjectMeta]:
    """What is in a page, decoded one by one, so that a long page does not stop the loop.

    Raises: ApiError
    """
    length = 0
    for item in page.items or ():
        yield api.decode(OBJECTS, item).metadata
        length += len(memoryview(item))
        if length > BREATH_BYTES:
            length = 0
            await asyncio.sleep(0)


async def _watch(
    client: api.ApiClient,
    path: str,
    only: dict[str, str],
    silence_seconds: float,
    watch_seconds: int,
) -> AsyncIterator[_Line]:
    """_AGREED once the API server has, then what it says."""
    query = {
        **only,
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(random.randint(watch_seconds, 2 * watch_seconds)),  # noqa: S311
    }
    async with client.stream_lines(
        path, accept=api.METADATA, query=query, silence_seconds=silence_seconds
    ) as lines:
        yield _AGREED
        async for text in lines:
            yield api.decode(_LINE, text)


def _event(line: _Line, keep: Callable[[ObjectMeta], T]) -> Event[T] | None:
    match line.type:
        case "ADDED" | "MODIFIED":
            return Changed(keep(line.object.metadata))
        case "DELETED":
            return Deleted(keep(line.object.metadata))
        case "BOOKMARK":
            return Bookmark()
        case "ERROR" if line.object.code == 410:  # noqa: PLR2004
            raise Gone(line.object.message[:200], 410)
        case "ERROR":
            raise ApiError(line.object.message[:200], line.object.code)
        case _:
            return None
