"""Answer requests on namespaces: the faults in their annotations, and a preview of what they mean
for the pods that exist.

This path is rarely used, because people change namespaces by hand; GitOps tools dry-run them often,
so answers are cached. One preview runs at a time, page by page, outside the event loop.
"""

import asyncio
import hashlib
from typing import NamedTuple

import msgspec

from ..cluster.client import ApiClient, decode
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache
from ..cluster.watch import ListMeta, read_pages
from ..core.decision import Decision
from ..core.policy import ClusterPolicy
from ..core.review import ValidationRequest
from ..enforcement import namespaces
from ..enforcement.namespaces import Review
from ..enforcement.preview import ListedPod, Preview
from ..errors import ApiError, Unauthenticated
from .worker import Worker

PAGE = 100
MAX_PODS = 3000
SECONDS = 1.0
"""The limits of Pod Security admission for the same warnings."""
MAX_PAGE_BYTES = 8 << 20
"""A page of pods with 80 KB each. The memory limit has room for processing one such page."""
KEEP_SECONDS = 30.0
"""How long an answer is used again for the same namespace and policy: a GitOps tool dry-runs every
namespace each few minutes, once from each of its parts."""
MAX_KEPT = 256
"""Answers that are kept, of at most 16 warnings each: 1 MB at most."""
BUSY = "existing pods were not looked at: another namespace is being looked at; ask again, kubectl annotate --dry-run=server does"


class _Pods(msgspec.Struct):
    metadata: ListMeta
    items: list[ListedPod] | None = None


_PODS = msgspec.json.Decoder(_Pods)


class _Answer(NamedTuple):
    lines: tuple[str, ...]
    violates: bool


def _add_page(body: bytes, pods: Preview) -> _Pods:
    """Add a page of pods to the preview, and return it.

    Raises: ApiError, if the body is not a list of pods
    """
    page = decode(_PODS, body)
    pods.add(page.items or ())
    return page


class _Kept:
    """Answers by namespace and policy, each for 30 seconds. Those of another configuration are
    dropped.
    """

    def __init__(self) -> None:
        self._cluster: ClusterPolicy | None = None
        self._answers: dict[bytes, tuple[float, _Answer]] = {}

    def get(self, key: bytes, cluster: ClusterPolicy, now: float) -> _Answer | None:
        if cluster is not self._cluster:
            self._cluster, self._answers = cluster, {}
        until, answer = self._answers.get(key, (0.0, None))
        return answer if now < until else None

    def put(self, key: bytes, cluster: ClusterPolicy, now: float, answer: _Answer) -> None:
        if cluster is not self._cluster:
            return
        self._answers.pop(key, None)  # keeps the order by age: the oldest is first
        if len(self._answers) >= MAX_KEPT:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = (now + KEEP_SECONDS, answer)


class Previews:
    """Decides on requests on namespaces. Without a client (standalone) it has no pods to list."""

    def __init__(
        self,
        client: ApiClient | None,
        namespace_cache: NamespaceCache,
        legacy_tokens: LegacyTokens,
        worker: Worker,
    ) -> None:
        self._client = client
        self._namespaces = namespace_cache
        self._legacy_tokens = legacy_tokens
        self._worker = worker
        self._lock = asyncio.Lock()
        self._kept = _Kept()

    async def decide(self, request: ValidationRequest) -> Decision:
        """Return a denial of faults that the request introduces, or else warnings: about other
        faults, and about pods that would violate.
        """
        cluster = self._namespaces.cluster
        review = namespaces.review(request, cluster)
        if not review.modes or self._client is None:
            return review.decision
        # Who really makes the change is told how it is now.
        answer = await self._answer(self._client, review, cluster, again=not request.dry_run)
        return namespaces.with_preview(review.decision, answer.lines, violates=answer.violates)

    async def _answer(
        self, client: ApiClient, review: Review, cluster: ClusterPolicy, *, again: bool
    ) -> _Answer:
        """Return the lines about the pods. `again`: look at them although an answer is kept."""
        clock = asyncio.get_running_loop().time
        key = _key(review)
        kept = self._kept.get(key, cluster, clock())
        if kept is not None and not again:
            return kept
        # The API server waits for the answer, so a second preview is not queued.
        if self._lock.locked():
            return _Answer((BUSY,), violates=False)
        pods = Preview(
            review.name,
            cluster,
            review.namespace,
            review.modes,
            self._legacy_tokens.of(review.name),
        )
        async with self._lock:
            unseen, failed = await self._list(client, review.name, pods)
        lines = (*([unseen] if unseen else []), *pods.lines(every=False))
        answer = _Answer(tuple(lines), violates=pods.finds_violations)
        # An answer without all of its pages is no answer for the next who asks.
        if not failed:
            self._kept.put(key, cluster, clock(), answer)
        return answer

    async def _list(self, client: ApiClient, namespace: str, pods: Preview) -> tuple[str, bool]:
        """Add the pods of a namespace to the preview. Returns a sentence about those that are
        missing, or an empty one, and whether the API server failed.
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
                        return "", False
                    rest = str(page.metadata.remaining_item_count or "some")
        except TimeoutError:
            # What was seen in time is reported; the sentence below says how much is missing.
            pass
        except (ApiError, Unauthenticated) as problem:
            return f"existing pods were not all looked at: {problem}", True
        limits = f"at most {MAX_PODS} pods or {SECONDS:.0f} s"
        return f"{seen} existing pods were looked at, and {rest} more were not: {limits}", False


def _key(review: Review) -> bytes:
    """Return what the answer depends on, besides the configuration and the pods, as a digest: the
    annotations can have 256 KiB.
    """
    annotations = dict(review.namespace.annotations)
    text = msgspec.json.encode((review.name, review.modes, annotations))
    return hashlib.sha256(text).digest()
