"""What a judgement needs beside the request: the namespace, its legacy tokens, and for a preview
its pods.

A preview is no hot path: people change namespaces by hand. One at a time, page by page, beside the
event loop.
"""

import asyncio

import msgspec

from ..cluster.client import ApiClient, decode
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache
from ..core import full_views, policy
from ..core.policy import ClusterPolicy
from ..core.review import ValidationRequest
from ..enforcement import preview, validate
from ..enforcement.preview import ListedPod, Preview
from ..enforcement.validate import Judgement
from ..errors import ApiError, Unauthenticated
from .worker import Run, Worker, here

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


NOWHERE = policy.resolve_namespace(ClusterPolicy(), {})
"""The namespace of what is not judged by any."""


class Validator:
    """Judges requests. Without a client (standalone) there are no pods that a preview could look
    at.
    """

    def __init__(
        self, namespaces: NamespaceCache, legacy_tokens: LegacyTokens, worker: Worker
    ) -> None:
        self.client: ApiClient | None = None
        self._worker = worker
        self._previews = asyncio.Lock()
        self._namespaces = namespaces
        self._legacy_tokens = legacy_tokens

    async def judge(self, request: ValidationRequest, run: Run = here) -> Judgement:
        """The judgement, worked out by `run`; outcome `failed` where nobody knows the namespace."""
        cluster = self._namespaces.cluster
        if isinstance(request.object, full_views.Namespace):
            return await self._preview(request, cluster)
        if not validate.needs_namespace(request, cluster):
            return validate.judge(request, cluster, NOWHERE)
        namespace = self._namespaces.get(request.namespace) or await self._namespaces.find(
            request.namespace
        )
        if namespace is None:
            return Judgement("namespace-unknown", "failed")
        return await run(
            validate.judge, request, cluster, namespace, self._legacy_tokens.of(request.namespace)
        )

    async def _preview(self, request: ValidationRequest, cluster: ClusterPolicy) -> Judgement:
        """Warnings for what would fail now; never a denial."""
        new, old, name = request.object, request.old_object, request.name
        if (
            not isinstance(new, full_views.Namespace)
            or not isinstance(old, full_views.Namespace)
            or self.client is None
        ):
            return Judgement("not-applicable")
        if (
            name in cluster.excluded
            or name == cluster.own_namespace
            or name in cluster.exemptions.namespaces
        ):
            return Judgement("excluded-namespace")
        layer, changed = preview.changes(old, new, cluster)
        if not changed:
            return Judgement("not-enforced")
        looked = Preview(name, cluster, layer, changed, self._legacy_tokens.of(name))
        if self._previews.locked():
            warnings: tuple[str, ...] = (BUSY,)
        else:
            async with self._previews:
                warnings = looked.warnings(await self._look(self.client, name, looked))
        return Judgement(
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
