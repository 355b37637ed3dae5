"""Roles and bindings, read from the API server page by page."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ...core.text import truncate
from ..server import AnswerTooLong, ApiServer, Refusal
from .objects import GROUP_PATH, Binding, Objects, Role, Unread

PAGE_SIZES = (200, 20, 1)
"""The next one is taken where a page is too long: a ClusterRole may have 1.5 MiB, an usual one has
a few KiB.
"""
MAX_OBJECTS = 200_000
"""Of one kind; a cluster with 10,000 namespaces has about 50,000 bindings."""
MAX_PAGES, MAX_EMPTY_PAGES = 20_000, 20
"""Of one list, and of empty ones one after the other: a server could go on with them for ever."""
MAX_MESSAGE_CHARS = 300
Item = TypeVar("Item")


class _Continue(msgspec.Struct):
    token: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, Generic[Item]):
    items: tuple[Item, ...] | None = ()
    metadata: _Continue = msgspec.field(default_factory=_Continue)


def read_objects(
    server: ApiServer, namespace: str = "", progress: Callable[[str, int], None] | None = None
) -> Objects:
    """All roles and bindings; with `namespace` only those that count there.

    `progress` is called with a resource and the number of objects after each page.
    """
    within = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
    unread: list[Unread] = []

    def listed(kind: type[Item], path: str) -> tuple[Item, ...]:
        what = path.rpartition("/")[2] + (f" in {namespace}" if "/" in path else "")
        found: list[Item] = []
        try:
            for page in _pages(server, msgspec.json.Decoder(_Page[kind]), path):  # type: ignore[valid-type]
                found += page
                if len(found) > MAX_OBJECTS:
                    raise Refusal(0, f"there are more than {MAX_OBJECTS}")
                if progress is not None:
                    progress(what, len(found))
        except Refusal as refusal:
            status = f"{refusal.status}: " if refusal.status else ""
            unread.append(Unread(what, status + truncate(refusal.message, MAX_MESSAGE_CHARS)))
        return tuple(found)

    roles = listed(Role, "clusterroles") + listed(Role, f"{within}roles")
    bindings = listed(Binding, "clusterrolebindings") + listed(Binding, f"{within}rolebindings")
    return Objects(roles, bindings, tuple(unread))


def _pages(
    server: ApiServer, decoder: "msgspec.json.Decoder[_Page[Item]]", path: str
) -> Iterator[tuple[Item, ...]]:
    """Yield the objects of a list page by page.

    Raises: Refusal
    """
    sizes = iter(PAGE_SIZES)
    size, token = next(sizes), ""
    empty = 0
    for _ in range(MAX_PAGES):
        query = urlencode({"limit": size, **({"continue": token} if token else {})})
        try:
            page = decoder.decode(server.get(f"{GROUP_PATH}/{path}?{query}"))
        except AnswerTooLong:
            if (size := next(sizes, 0)) == 0:
                raise
            continue
        except (ValueError, RecursionError) as problem:
            raise Refusal(0, f"the answer cannot be read: {type(problem).__name__}") from None
        yield page.items or ()
        empty = 0 if page.items else empty + 1
        if empty > MAX_EMPTY_PAGES:
            raise Refusal(0, f"more than {MAX_EMPTY_PAGES} pages have nothing")
        if not (token := page.metadata.token):
            return
    raise Refusal(0, f"there are more than {MAX_PAGES} pages")
