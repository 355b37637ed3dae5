"""Reads of a cluster, each of which may be forbidden: what could not be seen is noted, with the
right that it needs, and the rest goes on.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ... import documents
from ...cluster.client import JSON, ApiClient, decode
from ...cluster.watch import ListMeta, read_pages
from ...core.text import truncate
from ...errors import ApiError, NotFound

T = TypeVar("T")
FORBIDDEN = (401, 403)
PAGE = 250
MAX_PAGES = 8
"""2,000 objects: the pods of a workload, or the webhook configurations of a cluster."""
MAX_BYTES = 64 << 20
"""Of one page. A person's machine has more memory than a replica."""


class _Page(msgspec.Struct):
    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


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

    def _note(self, what: str, verb: str, problem: ApiError) -> None:
        if problem.status in FORBIDDEN:
            self.unread[what] = f"needs {verb} on {what}"
        else:
            self.unread[what] = truncate(str(problem))
