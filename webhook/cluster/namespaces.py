"""The cache of the namespaces: what steers in each, settled once for each change; it never blocks
a reader.

A namespace without annotations of ours costs its name and one reference. While the API server is
away the cache goes on answering; a namespace that is not in it yet gets one live GET, because its
pod may come before its watch event.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
"""How long the answer of a live GET is used, be it yes or no; afterwards the watch has it, or we
ask again."""
LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE = 50.0, 25
"""Live GETs, and how many of them without a pause. The API server sends reviews of namespaces that
exist, so all but the few of the last second come from somebody else who reaches our port, and shall
not make us load the API server."""
MAX_LOOKUPS_IN_FLIGHT = 32
"""Each holds about 80 KB and a connection while the API server hangs."""
MAX_REMEMBERED = 100
"""Answers that are kept: as many as the rate allows in a second, and the burst."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Namespace = tuple[str, dict[str, str]]
"""A name, and the annotations of our domain."""
Fetch = Callable[[str], Awaitable[Mapping[str, str] | None]]


def from_metadata(metadata: ObjectMeta) -> Namespace:
    """What we keep of a namespace."""
    return metadata.name, policy.own_annotations(metadata.annotations)


class Rate:
    """So many a second, and at most `at_once` of them without a pause."""

    def __init__(self, per_second: float, at_once: int) -> None:
        self._per_second, self._at_once = per_second, float(at_once)
        self._left, self._since = float(at_once), 0.0

    def allows(self, now: float) -> bool:
        """Whether one more may happen at `now` (seconds of a clock that never goes back); it then
        counts.
        """
        self._left = min(self._at_once, self._left + (now - self._since) * self._per_second)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class NamespaceCache:
    """The namespaces as far as they steer. `fetch` gives the annotations of one that is not here,
    or None.
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
        self._rate = rate or Rate(LOOKUPS_PER_SECOND, LOOKUPS_AT_ONCE)
        self._recent: dict[str, tuple[float, NamespacePolicy | None]] = {}
        self._flights: dict[str, asyncio.Task[NamespacePolicy | None]] = {}

    def __len__(self) -> int:
        return len(self._cache)

    def get(self, name: str) -> NamespacePolicy | None:
        """What holds in the namespace as the cache has it."""
        return self._cache.get(name)

    async def find(self, name: str) -> NamespacePolicy | None:
        """What holds in a namespace that is not in the cache, by one live GET for all who ask at
        once.

        None where there is no such namespace, or where nobody knows: beyond the rate of live GETs
        as well.
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
            self._recent.pop(name, None)  # so that the oldest stands first
            if len(self._recent) >= MAX_REMEMBERED:
                del self._recent[next(iter(self._recent))]
            self._recent[name] = (clock() + REMEMBER_SECONDS, found)
            metrics.NAMESPACE_LOOKUPS.labels("unknown" if found is None else "found").inc()
            return found
        finally:
            del self._flights[name]

    def apply(self, event: Event[Namespace]) -> None:
        """Let one event of the stream happen to the cache."""
        match event:
            case Listed(items=items):
                self.replace_all(items)
            case Changed(item=(name, annotations)):
                self._cache[name] = self._layer(annotations)
            case Deleted(item=(name, _)):
                self._cache.pop(name, None)
            case Bookmark() | Disconnected():
                pass

    def replace_all(self, items: Iterable[Namespace]) -> None:
        """Take these namespaces for all there are."""
        self._cache = {name: self._layer(annotations) for name, annotations in items}
        self.synced = True

    def reconfigure(self, cluster: ClusterPolicy) -> None:
        """Settle every namespace anew under another configuration of the cluster."""
        self.cluster = cluster
        held = [(name, layer.annotations) for name, layer in self._cache.items()]
        self._layers.clear()
        self._recent.clear()
        self._cache = {name: self._layer(annotations) for name, annotations in held}

    def _layer(self, annotations: Mapping[str, str]) -> NamespacePolicy:
        """One layer for all namespaces with the same annotations."""
        key = tuple(annotations.items())
        layer = self._layers.get(key)
        if layer is None:
            layer = self._layers[key] = policy.resolve_namespace(self.cluster, annotations)
        return layer


class _Object(msgspec.Struct):
    metadata: ObjectMeta


_OBJECT = msgspec.json.Decoder(_Object)


def fetch_from(client: api.ApiClient, on_problem: Callable[[str, str], None]) -> Fetch:
    """The live GET; a problem is told and counts as "nobody knows"."""

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
