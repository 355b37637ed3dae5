"""List, then watch, for ever: an endless stream of what exists and what changes. It keeps no cache.

Facts (apimachinery/pkg/watch, kubernetes.io/docs/reference/using-api/api-concepts):
- A list comes in pages. A continue token that has expired is answered with 410; the list then
  starts again.
- A page is as long as its objects. A page that is too long for us is requested again with fewer
  objects.
- A watch continues from a resource version. 410, as a status or in an ERROR event, means that the
  version is too old: list again.
- Bookmarks bring a new resource version about once a minute, so a connection that is silent for
  longer is dead.
- The API server ends every watch after `timeoutSeconds`. This is no failure.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from ..errors import ApiError, Gone, TooLarge, Unauthenticated
from . import client as api

PAGE = 500
"""As kubectl and client-go do."""
SHRINK_FACTOR = 8
"""By which pages become shorter after one that was too long: 500 objects, then 62, 7, 1."""
MAX_OBJECTS = 100_000
"""Of one list: ten times the number that Kubernetes supports. It ends a list without an end."""
YIELD_BYTES = 1 << 20
"""Of objects decoded without a pause. With annotations that are nothing but keys this takes 20 ms;
then other requests get their turn."""
WATCH_SECONDS = 300
"""client-go's informers choose 5 to 10 minutes. Ours end after 5 to 10 minutes as well, chosen at
random, so that replicas do not list together."""
SILENCE_SECONDS = 150.0
"""Bookmarks come once a minute: two may be lost."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 8.0
"""Seconds between tries, doubled each time: short for a restart of the API server, and little load
for one that struggles."""
MAX_FAILURES_BEFORE_RELIST = 5
"""After so many refusals of a watch in a row the resource version may be the reason (a restored
etcd): list again."""

T = TypeVar("T")


class ObjectMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    deletion_timestamp: str = ""
    annotations: dict[str, str] | None = None


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """All objects. `reason` is why they were listed: start, gone or error."""

    items: list[T]
    reason: str


class Changed(msgspec.Struct, Generic[T], frozen=True):
    item: T


class Deleted(msgspec.Struct, Generic[T], frozen=True):
    item: T


class Bookmark(msgspec.Struct, frozen=True):
    """Nothing changed: a bookmark, or a watch that works again after an interruption."""


class Disconnected(msgspec.Struct, frozen=True):
    """The API server cannot be reached, or refuses; the stream goes on trying."""

    problem: str


Event = Listed[T] | Changed[T] | Deleted[T] | Bookmark | Disconnected


class _Object(msgspec.Struct):
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    code: int = 0  # of a Status, in an ERROR event
    message: str = ""


class _Line(msgspec.Struct):
    type: str
    object: _Object


_ACCEPTED = _Line("ACCEPTED", _Object())
"""Our own first line of a watch, once the API server has accepted it."""


class ListMeta(msgspec.Struct, rename="camel"):
    """The metadata of one page. `continue_` is empty on the last one."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


class HasListMeta(Protocol):
    """A decoded page of any kind."""

    @property
    def metadata(self) -> ListMeta: ...


P = TypeVar("P", bound=HasListMeta)


class Page(msgspec.Struct):
    """One page of metadata; its items are decoded one by one (`objects`)."""

    metadata: ListMeta
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
    """Everything at `path`, then every change, for ever. `keep` reduces each object to what is
    kept in memory.

    `field_selector` selects objects, such as `metadata.name=x` where RBAC names one object.
    """
    selector = {"fieldSelector": field_selector} if field_selector else {}
    version = ""  # from which the next watch starts; empty: list first
    reason = "start"  # of the next list
    pause = FIRST_PAUSE  # before the next try
    refusals = 0  # answers with an error status since the last event
    interrupted = False  # from a failure until a watch is accepted
    while True:
        retry_after = 0.0
        try:
            if not version:
                items, version = await _list(client, path, keep, selector)
                yield Listed(items, reason)
            query = {**selector, "resourceVersion": version}
            async for line in _watch(client, path, query, silence_seconds, watch_seconds):
                # An ERROR event raises here, so it resets neither the pause nor the refusals: a
                # server that accepts each watch and then sends an error is not asked without pause.
                event = _event(line, keep)
                if line is not _ACCEPTED:
                    # A real event: the version is good, and the server works. A line without a
                    # version leaves the one that we have.
                    version = line.object.metadata.resource_version or version
                    pause, refusals = FIRST_PAUSE, 0
                elif interrupted:
                    # The first event may be a minute away, so that the watch is back is told now.
                    # The pause stays: the watch may still fail at its first line.
                    event, interrupted = Bookmark(), False
                if event is not None:
                    yield event
            # The server ended the watch after its time: the next one continues from `version`.
        except (ApiError, Unauthenticated) as problem:
            interrupted = True
            yield Disconnected(str(problem))
            retry_after = getattr(problem, "retry_after", 0.0)
            # Only an answer can mean that the version is bad; a server that cannot be reached
            # (status 0) says nothing about it, and listing again would load it when it returns.
            refusals += getattr(problem, "status", 0) > 0
            if isinstance(problem, Gone):
                version, reason, refusals = "", "gone", 0
            elif version and refusals >= MAX_FAILURES_BEFORE_RELIST:
                version, reason, refusals = "", "error", 0
        await asyncio.sleep(max(retry_after, pause * random.uniform(0.5, 1)))  # noqa: S311  (spreads replicas, hides nothing)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _list(
    client: api.ApiClient, path: str, keep: Callable[[ObjectMeta], T], selector: dict[str, str]
) -> tuple[list[T], str]:
    """All objects and their resource version; pages become shorter while one is too long."""
    size = PAGE
    while True:
        try:
            return await _list_by(client, path, keep, {"limit": str(size), **selector})
        except TooLarge:
            if size == 1:
                raise
            size = max(1, size // SHRINK_FACTOR)


async def _list_by(
    client: api.ApiClient, path: str, keep: Callable[[ObjectMeta], T], query: dict[str, str]
) -> tuple[list[T], str]:
    items: list[T] = []
    version = ""
    async for page in pages(client, path, query):
        items += [keep(metadata) async for metadata in objects(page)]
        version = page.metadata.resource_version
    return items, version


async def pages(
    client: api.ApiClient,
    path: str,
    query: Mapping[str, str],
    byte_limit: int = api.MAX_LIST_BYTES,
) -> AsyncIterator[Page]:
    """The metadata of all objects at `path`, page by page; `query` has the `limit` of a page.

    Units:  `byte_limit` in bytes, for each page
    Raises: ApiError, also for more than MAX_OBJECTS objects; TooLarge; Unauthenticated
    """

    async def decode(body: bytes) -> Page:
        return api.decode(PAGES, body)

    more = ""
    async for page in read_pages(
        client,
        path,
        query,
        decode,
        accept=api.METADATA_LIST,
        byte_limit=byte_limit,
        page_limit=MAX_OBJECTS // int(query["limit"]),
    ):
        yield page
        more = page.metadata.continue_
    if more:
        raise ApiError(f"the list of {path} has no end: more than {MAX_OBJECTS} objects")


async def read_pages(
    client: api.ApiClient,
    path: str,
    query: Mapping[str, str],
    decode: Callable[[bytes], Awaitable[P]],
    *,
    accept: str = api.JSON,
    seconds: float = 30,
    byte_limit: int = api.MAX_OBJECT_BYTES,
    page_limit: int,
) -> AsyncIterator[P]:
    """The list at `path`, page by page, as `decode` returns them; `query` has the `limit` of a
    page.

    There are at most `page_limit` pages. If the list is longer, the last one has a
    `metadata.continue_`, and `metadata.remaining_item_count` is how many objects follow, where the
    API server knows it.

    Units:  `seconds` and `byte_limit` for each page
    Raises: as `ApiClient.get` and `decode` do
    """
    query = dict(query)
    for _ in range(page_limit):
        page = await decode(
            await client.get(path, accept=accept, query=query, seconds=seconds, limit=byte_limit)
        )
        yield page
        if not page.metadata.continue_:
            return
        query["continue"] = page.metadata.continue_


async def objects(page: Page) -> AsyncIterator[ObjectMeta]:
    """The metadata in a page, decoded one by one, so that a long page does not block the event
    loop.

    Raises: ApiError
    """
    length = 0
    for item in page.items or ():
        yield api.decode(OBJECTS, item).metadata
        length += len(memoryview(item))
        if length > YIELD_BYTES:
            length = 0
            await asyncio.sleep(0)


async def _watch(
    client: api.ApiClient,
    path: str,
    query: dict[str, str],
    silence_seconds: float,
    watch_seconds: int,
) -> AsyncIterator[_Line]:
    """_ACCEPTED once the API server accepts the watch, then its lines until it ends the watch."""
    query = {
        **query,
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(random.randint(watch_seconds, 2 * watch_seconds)),  # noqa: S311
    }
    async with client.stream_lines(
        path, accept=api.METADATA, query=query, silence_seconds=silence_seconds
    ) as lines:
        yield _ACCEPTED
        async for text in lines:
            yield api.decode(_LINE, text)


def _event(line: _Line, keep: Callable[[ObjectMeta], T]) -> Event[T] | None:
    """The event of a line; None for a type that we do not know.

    Raises: Gone, ApiError for an ERROR
    """
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
