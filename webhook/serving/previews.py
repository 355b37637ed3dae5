"""The preview of a namespace's change: lists its pods and warns of those that would fail.

It is no hot path: people change namespaces by hand. One at a time, page by page, beside the event
loop.
"""

import asyncio

import msgspec

from ..cluster.client import ApiClient, decode
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache
from ..core.decision import Decision
from ..core.full_views import Namespace
from ..core.review import ValidationRequest
from ..enforcement import preview
from ..enforcement.preview import ListedPod, Preview
from ..errors import ApiError, Unauthenticated
from .worker import Worker

PAGE = 100
MAX_PODS = 3000
SECONDS = 1.0
"""Pod Security admission's own limits for the same answer."""
MAX_PAGE_BYTES = 8 << 20
"""Pods of 80 KB each; the memory limit has room for one such page at work."""
BUSY = "existing pods were not looked at: another namespace is being looked at; ask again, kubectl annotate --dry-run=server does"


class _ListMeta(msgspec.Struct, rename="camel"):
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int | None = None


class _Pods(msgspec.Struct):
    metadata: _ListMeta
    items: list[ListedPod] | None = None


_PODS = msgspec.json.Decoder(_Pods)


def _shown(body: bytes, looked: Preview) -> _Pods:
    """A page of pods, shown to the preview.

    Raises: ApiError, where it is none
    """
    page = decode(_PODS, body)
    looked.add(page.items or ())
    return page


class Previews:
    """Decides on changes of namespaces. Without a client (standalone) there is no API server to
    list pods from, and none that asks.
    """

    def __init__(
        self,
        client: ApiClient | None,
        namespaces: NamespaceCache,
        legacy_tokens: LegacyTokens,
        worker: Worker,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._legacy_tokens = legacy_tokens
        self._worker = worker
        self._lock = asyncio.Lock()

    async def decide(self, request: ValidationRequest) -> Decision:
        """Warnings about pods that would fail from now on; never a denial."""
        new, old, name = request.object, request.old_object, request.name
        cluster = self._namespaces.cluster
        if not isinstance(new, Namespace) or not isinstance(old, Namespace) or self._client is None:
            return Decision("not-applicable")
        if name in cluster.exemptions.namespaces:
            return Decision("exempt")
        layer, changed = preview.changes(old, new, cluster)
        if not changed:
            return Decision("not-enforced")
        looked = Preview(name, cluster, layer, changed, self._legacy_tokens.of(name))
        if self._lock.locked():
            warnings: tuple[str, ...] = (BUSY,)
        else:
            async with self._lock:
                warnings = looked.warnings(await self._look(self._client, name, looked))
        return Decision(
            "violates" if looked.finds_violations else "complies",
            "warned" if warnings else "unchanged",
            warnings=warnings,
        )

    async def _look(self, client: ApiClient, namespace: str, looked: Preview) -> str:
        """Show the pods to the preview; gives what was not seen, in words."""
        path, query, seen, rest = (
            f"/api/v1/namespaces/{namespace}/pods",
            {"limit": str(PAGE)},
            0,
            "all",
        )
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    body = await client.get(
                        path, query=query, seconds=SECONDS, limit=MAX_PAGE_BYTES
                    )
                    page = await self._worker.run(_shown, body, looked)
                    seen += len(page.items or ())
                    rest, query = (
                        str(page.metadata.remaining_item_count or "some"),
                        {**query, "continue": page.metadata.continue_},
                    )
                    if not page.metadata.continue_:
                        return ""
                    if seen >= MAX_PODS:
                        break
        except TimeoutError:
            pass
        except (ApiError, Unauthenticated) as problem:
            return f"existing pods were not all looked at: {problem}"
        return f"{seen} existing pods were looked at, and {rest} more were not: at most {MAX_PODS} pods or {SECONDS:.0f} s"
