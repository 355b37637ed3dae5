"""The cache of namespaces: the policy of each, resolved once per change. Reading never waits.

A namespace without annotations of ours costs its name and one reference. While the API server is
away the cache goes on answering. A namespace that is not in the cache yet gets one live GET,
because a review of its first pod may come before its watch event.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import perf_counter
from weakref import WeakValueDictionary

import msgspec

from .. import metrics
from ..core import policy
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..errors import ApiError, NotFound, Unauthenticated
from . import client as api
from .watch import Bookmark, Changed, Deleted, Disconnected, Event, Listed, ObjectMeta

PATH = "/api/v1/namespaces"
LOOKUP_SECONDS = 1.5
"""Half of what the API server gives a review (timeoutSeconds: 3)."""
REMEMBER_SECONDS = 1.0
"""How long the answer of a live GET is used, also a negative one. After that the watch has
delivered the namespace, or a new GET is made."""
LOOKUPS_PER_SECOND, LOOKUP_BURST = 50.0, 25
"""The rate of live GETs, and its burst. Reviews from the API server are about namespaces that
exist, so nearly all that are not in the cache come from somebody else who reaches our port. These
must not cause load on the API server."""
MAX_LOOKUPS_IN_FLIGHT = 32
"""While the API server hangs, each needs about 80 KB and a connection."""
MAX_REMEMBERED = 100
"""Answers that are kept: more than the rate and the burst allow in a second."""

STEP_SECONDS = 0.01
"""Of resolving policies in one go: 1,000 namespaces with long lists take more than a second."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

NameAndAnnotations = tuple[str, Mapping[str, str]]
"""A name, and the annotations of our domain."""
Fetch = Callable[[str], Awaitable[Mapping[str, str] | None]]
"""Returns the annotations of the namespace of this name, or None."""


def from_metadata(metadata: ObjectMeta) -> NameAndAnnotations:
    """The part of a namespace that is kept."""
    return metadata.name, policy.namespace_annotations(metadata.annotations)


class Rate:
    """A token bucket: `per_second` on average, `burst` at once."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, float(burst)
        self._left, self._since = float(burst), 0.0

    def allows(self, now: float) -> bool:
        """Whether one more is allowed at `now` (seconds of a monotonic clock), and if so, count
        it.
        """
        self._left = min(self._burst, self._left + (now - self._since) * self._per_second)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class NamespaceCache:
    """The policies of all namespaces under the configuration `cluster`.

    `fetch` reads the annotations of a namespace that is not in the cache. `synced` is False until
    the namespaces have been listed.
    """

    def __init__(
        self, cluster: ClusterPolicy, fetch: Fetch | None = None, rate: Rate | None = None
    ) -> None:
        self.cluster = cluster
        self.synced = False
        self._fetch = fetch
        self._cache: dict[str, NamespacePolicy] = {}
        self._layers: WeakValueDictionary[tuple[tuple[str, str], ...], NamespacePolicy] = (
            WeakValueDictionary()
        )
        self._prepared: (
            tuple[ClusterPolicy, dict[tuple[tuple[str, str], ...], NamespacePolicy]] | None
        ) = None
        self._rate = rate or Rate(LOOKUPS_PER_SECOND, LOOKUP_BURST)
        self._recent: dict[str, tuple[float, NamespacePolicy | None]] = {}
        self._flights: dict[str, asyncio.Task[NamespacePolicy | None]] = {}

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, name: str) -> NamespacePolicy | None:
        """The policy of a namespace in the cache, else None."""
        return self._cache.get(name)

    async def find(self, name: str) -> NamespacePolicy | None:
        """The policy of a namespace that is not in the cache, by one live GET for all concurrent
        callers.

        None where the namespace does not exist or cannot be read, or beyond the rate of live GETs.
        """
        if self._fetch is None or not _NAME.fullmatch(name):
            return None
        now = asyncio.get_running_loop().time()
        remembered = self._recent.get(name)
        if remembered is not None and now < remembered[0]:
            return remembered[1]
        flight = self._flights.get(name)
        if flight is None:
            if len(self._flights) >= MAX_LOOKUPS_IN_FLIGHT or not self._rate.allows(now):
                metrics.NAMESPACE_LOOKUPS.labels("over-rate").inc()
                return None
            flight = self._flights[name] = asyncio.create_task(self._look_up(name, self._fetch))
        return await asyncio.shield(flight)

    async def _look_up(self, name: str, fetch: Fetch) -> NamespacePolicy | None:
        clock = asyncio.get_running_loop().time
        try:
            annotations = await fetch(name)
            found = None if annotations is None else self._layer(annotations)
            self._recent.pop(name, None)  # keeps the order by age: the oldest is first
            if len(self._recent) >= MAX_REMEMBERED:
                del self._recent[next(iter(self._recent))]
            self._recent[name] = (clock() + REMEMBER_SECONDS, found)
            metrics.NAMESPACE_LOOKUPS.labels("unknown" if found is None else "found").inc()
            return found
        finally:
            del self._flights[name]

    async def prepare(
        self,
        items: Iterable[NameAndAnnotations] | None = None,
        cluster: ClusterPolicy | None = None,
    ) -> None:
        """Resolve the policies of these namespaces, else of all in the cache, under a configuration
        that may be new: in steps, so that other requests are answered in between.

        `replace_all` or `reconfigure`, which come next, find them and need no time.
        """
        cluster = cluster or self.cluster
        if items is None:
            items = [(name, layer.annotations) for name, layer in self._cache.items()]
        prepared: dict[tuple[tuple[str, str], ...], NamespacePolicy] = {}
        since = perf_counter()
        for _, annotations in items:
            key = tuple(annotations.items())
            if key not in prepared:
                prepared[key] = policy.resolve_namespace(cluster, annotations)
            if perf_counter() - since > STEP_SECONDS:
                await asyncio.sleep(0)
                since = perf_counter()
        self._prepared = cluster, prepared

    def apply(self, event: Event[NameAndAnnotations]) -> None:
        """Apply one event of the stream."""
        match event:
            case Listed(items=items):
                self.replace_all(items)
            case Changed(item=(name, annotations)):
                self._cache[name] = self._layer(annotations)
            case Deleted(item=(name, _)):
                self._cache.pop(name, None)
            case Bookmark() | Disconnected():
                pass

    def replace_all(self, items: Iterable[NameAndAnnotations]) -> None:
        """Replace the content of the cache by these namespaces."""
        self._cache = {name: self._layer(annotations) for name, annotations in items}
        self._prepared = None
        self.synced = True

    def reconfigure(self, cluster: ClusterPolicy) -> None:
        """Resolve the policy of every namespace again, under another configuration."""
        self.cluster = cluster
        annotated = [(name, layer.annotations) for name, layer in self._cache.items()]
        self._layers.clear()
        self._recent.clear()
        self._cache = {name: self._layer(annotations) for name, annotations in annotated}
        self._prepared = None

    def _layer(self, annotations: Mapping[str, str]) -> NamespacePolicy:
        """The policy of these annotations, shared by all namespaces that have the same."""
        key = tuple(annotations.items())
        layer = self._layers.get(key)
        if layer is None:
            # What was prepared under another configuration does not hold.
            if self._prepared is not None and self._prepared[0] == self.cluster:
                layer = self._prepared[1].get(key)
            layer = layer or policy.resolve_namespace(self.cluster, annotations)
            self._layers[key] = layer
        return layer


class _Object(msgspec.Struct):
    metadata: ObjectMeta


_OBJECT = msgspec.json.Decoder(_Object)


def fetch_from(client: api.ApiClient, on_problem: Callable[[str, str], None]) -> Fetch:
    """The live GET. A failure is passed to `on_problem`, and the result is None."""

    async def fetch(name: str) -> Mapping[str, str] | None:
        try:
            body = await client.get(f"{PATH}/{name}", accept=api.METADATA, seconds=LOOKUP_SECONDS)
            return from_metadata(api.decode(_OBJECT, body).metadata)[1]
        except NotFound:
            return None
        except (ApiError, Unauthenticated) as problem:
            on_problem(name, str(problem))
            return None

    return fetch
