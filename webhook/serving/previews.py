"""Preview a change of a namespace: list its pods, and warn about those that violate the new level,
or will be refused when they are created again.

This path is rarely used, because people change namespaces by hand. One preview runs at a time, page
by page, outside the event loop.
"""

import asyncio

import msgspec

from ..cluster.client import ApiClient, decode
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache
from ..cluster.watch import ListMeta, read_pages
from ..core import policy
from ..core.decision import Decision
from ..core.full_views import Namespace
from ..core.review import ValidationRequest
from ..core.text import truncate_warnings
from ..enforcement import preview
from ..enforcement.preview import ListedPod, Preview
from ..errors import ApiError, Unauthenticated
from .worker import Worker

PAGE = 100
MAX_PODS = 3000
SECONDS = 1.0
"""The limits of Pod Security admission for the same warnings."""
MAX_PAGE_BYTES = 8 << 20
"""A page of pods with 80 KB each. The memory limit has room for processing one such page."""
BUSY = "existing pods were not looked at: another namespace is being looked at; ask again, kubectl annotate --dry-run=server does"


class _Pods(msgspec.Struct):
    metadata: ListMeta
    items: list[ListedPod] | None = None


_PODS = msgspec.json.Decoder(_Pods)


def _add_page(body: bytes, pods: Preview) -> _Pods:
    """Add a page of pods to the preview, and return it.

    Raises: ApiError, if the body is not a list of pods
    """
    page = decode(_PODS, body)
    pods.add(page.items or ())
    return page


class Previews:
    """Decides on changes of namespaces. Without a client (standalone) it has no pods to list."""

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
        """Return warnings about pods that would violate the new level; never a denial."""
        new, old, name = request.object, request.old_object, request.name
        cluster = self._namespaces.cluster
        if not isinstance(new, Namespace) or not isinstance(old, Namespace) or self._client is None:
            return Decision("not-applicable")
        if name in cluster.exemptions.namespaces:
            return Decision("exempt")
        before, namespace = (
            policy.resolve_namespace(cluster, policy.own_annotations(given.metadata.annotations))
            for given in (old, new)
        )
        changed = preview.modes(before, namespace, cluster, every=False)
        if not changed:
            return Decision("not-enforced")
        pods = Preview(name, cluster, namespace, changed, self._legacy_tokens.of(name))
        # The API server waits for the answer, so a second preview is not queued.
        if self._lock.locked():
            warnings: tuple[str, ...] = (BUSY,)
        else:
            async with self._lock:
                unseen = await self._list(self._client, name, pods)
            lines = pods.lines(every=False)
            warnings = truncate_warnings([*([unseen] if unseen else []), *lines])
        return Decision(
            "violates" if pods.finds_violations else "complies",
            "warned" if warnings else "unchanged",
            warnings=warnings,
        )

    async def _list(self, client: ApiClient, namespace: str, pods: Preview) -> str:
        """Add the pods of a namespace to the preview. Returns a sentence about those that are
        missing, or an empty one.
        """
        pages = read_pages(
            client,
            f"/api/v1/namespaces/{namespace}/pods",
            {"limit": str(PAGE)},
            lambda body: self._worker.run(_add_page, body, pods),
            seconds=SECONDS,
            byte_limit=MAX_PAGE_BYTES,
            page_limit=MAX_PODS // PAGE,
        )
        seen, rest = 0, "all"
        try:
            async with asyncio.timeout(SECONDS):
                async for page in pages:
                    seen += len(page.items or ())
                    if not page.metadata.continue_:
                        return ""
                    rest = str(page.metadata.remaining_item_count or "some")
        except TimeoutError:
            # What was seen in time is reported; the sentence below says how much is missing.
            pass
        except (ApiError, Unauthenticated) as problem:
            return f"existing pods were not all looked at: {problem}"
        return f"{seen} existing pods were looked at, and {rest} more were not: at most {MAX_PODS} pods or {SECONDS:.0f} s"
