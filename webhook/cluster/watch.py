"""List, then watch, for ever: an endless stream of what there is and what changes; it never holds a picture itself.

Facts it rests on (apimachinery/pkg/watch, kubernetes.io/docs/reference/using-api/api-concepts):
- a list comes in pages; a page token that is too old answers 410, and the list begins again;
- a watch goes on from a resource version; 410, as a status or as an ERROR event, means that it is too old: list again;
- bookmarks carry a fresh resource version about once a minute, so a connection that is silent for longer is dead;
- the API server ends every watch after `timeoutSeconds`; that is no failure.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import msgspec

from ..errors import ApiError, Gone, Unauthenticated
from . import client as api

PAGE = 500
"""As kubectl and client-go do."""
WATCH_SECONDS = 300
"""client-go's informers choose 5 to 10 minutes; ours end between this and twice this, so that replicas spread."""
SILENCE_SECONDS = 150.0
"""Bookmarks come once a minute: two may be lost."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 8.0
"""Seconds between tries, doubled each time: quick for a restart, bearable for an API server that struggles."""
PATIENCE = 5
"""After so many refusals of a watch in a row the resource version may be the reason (a restored etcd): list again."""

Kept = TypeVar("Kept")


class ObjectMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class Listed(msgspec.Struct, Generic[Kept], frozen=True):
    """Everything there is, at once; `reason` says why we listed: start, gone or error."""

    items: list[Kept]
    reason: str


class Changed(msgspec.Struct, Generic[Kept], frozen=True):
    item: Kept


class Deleted(msgspec.Struct, Generic[Kept], frozen=True):
    item: Kept


class Alive(msgspec.Struct, frozen=True):
    """Nothing changed, and we know it: a bookmark."""


class Lost(msgspec.Struct, frozen=True):
    """The API server cannot be asked just now; the stream goes on trying."""

    problem: str


Event = Listed[Kept] | Changed[Kept] | Deleted[Kept] | Alive | Lost


class _Object(msgspec.Struct):
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    code: int = 0  # of a Status, in an ERROR event
    message: str = ""


class _Line(msgspec.Struct):
    type: str
    object: _Object


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """One page of a list."""

    metadata: _ListMeta
    items: list[_Object] | None = None


_PAGE = msgspec.json.Decoder(Page)
_LINE = msgspec.json.Decoder(_Line)


async def stream(
    client: api.ApiClient,
    path: str,
    keep: Callable[[ObjectMeta], Kept],
    *,
    field_selector: str = "",
    silence_seconds: float = SILENCE_SECONDS,
    watch_seconds: int = WATCH_SECONDS,
) -> AsyncIterator[Event[Kept]]:
    """What there is at `path` and what becomes of it; `keep` says what is kept of each object, before it is held.

    `field_selector` narrows it down, such as `metadata.name=x` for those whose RBAC names one object.
    """
    only = {"fieldSelector": field_selector} if field_selector else {}
    version, reason, pause, refusals = "", "start", FIRST_PAUSE, 0
    while True:
        try:
            if not version:
                items, version = await _list(client, path, keep, only)
                yield Listed(items, reason)
            async for line in _watch(client, path, {**only, "resourceVersion": version}, silence_seconds, watch_seconds):
                version, pause, refusals = line.object.metadata.resource_version or version, FIRST_PAUSE, 0
                if (event := _event(line, keep)) is not None:
                    yield event
        except Gone as problem:
            version, reason = "", "gone"
            yield Lost(f"the resource version is too old: {problem}")
        except (ApiError, Unauthenticated, msgspec.DecodeError) as problem:
            yield Lost(str(problem))
            refusals += isinstance(problem, ApiError) and problem.status > 0
            if version and refusals >= PATIENCE:
                version, reason, refusals = "", "error", 0
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (spreads replicas, hides nothing)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _list(
    client: api.ApiClient, path: str, keep: Callable[[ObjectMeta], Kept], only: dict[str, str]
) -> tuple[list[Kept], str]:
    items: list[Kept] = []
    query = {"limit": str(PAGE), **only}
    while True:
        page = _PAGE.decode(await client.get(path, accept=api.METADATA_LIST, query=query))
        items += [keep(each.metadata) for each in page.items or ()]
        if not page.metadata.continue_:
            return items, page.metadata.resource_version
        query["continue"] = page.metadata.continue_


async def _watch(
    client: api.ApiClient, path: str, only: dict[str, str], silence_seconds: float, watch_seconds: int
) -> AsyncIterator[_Line]:
    query = {
        **only,
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(random.randint(watch_seconds, 2 * watch_seconds)),  # noqa: S311
    }
    async with client.lines(path, accept=api.METADATA, query=query, silence_seconds=silence_seconds) as lines:
        async for text in lines:
            yield _LINE.decode(text)


def _event(line: _Line, keep: Callable[[ObjectMeta], Kept]) -> Event[Kept] | None:
    match line.type:
        case "ADDED" | "MODIFIED":
            return Changed(keep(line.object.metadata))
        case "DELETED":
            return Deleted(keep(line.object.metadata))
        case "BOOKMARK":
            return Alive()
        case "ERROR" if line.object.code == 410:  # noqa: PLR2004
            raise Gone(line.object.message[:200], 410)
        case "ERROR":
            raise ApiError(line.object.message[:200], line.object.code)
        case _:
            return None
