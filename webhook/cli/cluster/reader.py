"""Reads of a cluster, each of which may be forbidden: what could not be seen is noted, with the
right that it needs, and the rest goes on.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from ... import documents
from ...cluster.client import JSON, ApiClient, decode
from ...cluster.watch import MAX_OBJECTS, SHRINK_FACTOR, ListMeta, read_pages
from ...cluster.watch import PAGE as LONG_PAGE
from ...core.text import truncate
from ...errors import ApiError, NotFound, TooLarge

T = TypeVar("T")
FORBIDDEN = 403
PAGE = 250
MAX_PAGES = 8
"""2,000 objects: the pods of a workload, or the webhook configurations of a cluster."""
MAX_BYTES = 64 << 20
"""Of one page. A person's machine has more memory than a replica."""


class _Page(msgspec.Struct):
    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class _TypedPage(msgspec.Struct, Generic[T]):
    metadata: ListMeta
    items: list[T] | None = None


OnPage = Callable[[str, int, int], None]
"""Is told what is read, how many objects there were so far, and how many there are in all."""
_PAGES = msgspec.json.Decoder(_Page)
OBJECTS: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


def _whole(body: bytes) -> dict[str, Any]:
    found = decode(OBJECTS, body)
    if fault := documents.fault_in(found, documents.MAX_MANIFEST_DEPTH):
        raise ApiError(f"the answer cannot be read: {fault}")
    return found


class _Found:
    """How much of a list was read, and where it goes on."""

    def __init__(self, what: str, on_page: OnPage | None) -> None:
        self.count, self.more = 0, ""
        self._what, self._on_page = what, on_page

    def add(self, metadata: ListMeta, count: int) -> None:
        self.count += count
        self.more = metadata.continue_
        if self._on_page is not None:
            total = self.count + (metadata.remaining_item_count or 0)
            self._on_page(self._what, self.count, total)


class Reader:
    """Reads objects, and notes in `unread` what could not be seen, and why."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.unread: dict[str, str] = {}

    async def get(self, path: str, kind: type[T], what: str, *, accept: str = JSON) -> T | None:
        """An object; None where it could not be seen. Raises: NotFound"""
        try:
            return decode(_decoder(kind), await self.client.get(path, accept=accept))
        except NotFound:
            raise
        except ApiError as problem:
            self._note(what, "get", problem)
            return None

    async def document(self, path: str, what: str) -> dict[str, Any] | None:
        """The whole object; None where it could not be seen. Raises: NotFound"""
        try:
            return _whole(await self.client.get(path))
        except NotFound:
            raise
        except ApiError as problem:
            self._note(what, "get", problem)
            return None

    async def list(
        self,
        path: str,
        kind: type[T],
        what: str,
        query: Mapping[str, str] | None = None,
        *,
        max_pages: int = MAX_PAGES,
    ) -> "list[T] | None":
        """All objects at a path, of at most so many pages; None where they could not be seen."""

        async def decode_page(body: bytes) -> _Page:
            return decode(_PAGES, body)

        found: list[T] = []
        decoder = _decoder(kind)
        more = ""
        try:
            async for page in read_pages(
                self.client,
                path,
                {"limit": str(PAGE), **(query or {})},
                decode_page,
                byte_limit=MAX_BYTES,
                page_limit=max_pages,
            ):
                found += [decode(decoder, item) for item in page.items or ()]
                more = page.metadata.continue_
        except ApiError as problem:
            self._note(what, "list", problem)
            return None
        if more:
            self.unread[f"more {what}"] = f"only the first {PAGE * max_pages} were looked at"
        return found

    async def stream(
        self,
        path: str,
        kind: type[T],
        what: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = JSON,
        on_page: OnPage | None = None,
    ) -> AsyncIterator[T]:
        """All objects at a path, of which no more than a page is in memory. Where they cannot be
        seen there are none, or no more of them, and `unread` has `what`.
        """
        found = _Found(what, on_page)
        query = {"limit": str(LONG_PAGE), **(query or {})}
        while True:
            try:
                async for page in self._typed_pages(path, kind, query, accept, found):
                    for item in page.items or ():
                        yield item
            except TooLarge as problem:
                size = int(query["limit"])
                if size > 1:  # a page that is too long is requested again with fewer objects
                    more = {"continue": found.more} if found.more else {}
                    query = {**query, "limit": str(max(1, size // SHRINK_FACTOR)), **more}
                    continue
                self._note(what, "list", problem)
            except ApiError as problem:
                self._note(what, "list", problem)
            else:
                if found.more:
                    self.unread[what] = f"only the first {found.count} were looked at"
            return

    async def _typed_pages(
        self, path: str, kind: type[T], query: Mapping[str, str], accept: str, found: "_Found"
    ) -> "AsyncIterator[_TypedPage[T]]":
        decoder = msgspec.json.Decoder(_TypedPage[kind])  # type: ignore[valid-type]

        async def decode_page(body: bytes) -> _TypedPage[T]:
            return decode(decoder, body)

        async for page in read_pages(
            self.client,
            path,
            query,
            decode_page,
            accept=accept,
            byte_limit=MAX_BYTES,
            page_limit=(MAX_OBJECTS - found.count) // int(query["limit"]),
        ):
            yield page
            found.add(page.metadata, len(page.items or ()))

    def _note(self, what: str, verb: str, problem: ApiError) -> None:
        if problem.status == FORBIDDEN:
            self.unread[what] = f"needs {verb} on {what}"
        else:
            self.unread[what] = truncate(str(problem))
