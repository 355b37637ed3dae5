"""Caches that follow the API server: one loop for every watch, and the two caches that it keeps up
to date.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from .. import metrics
from ..cluster import legacy_tokens, namespaces, watch
from ..cluster.client import ApiClient
from ..cluster.legacy_tokens import LegacyTokens, Name
from ..cluster.namespaces import NameAndAnnotations, NamespaceCache
from ..cluster.watch import Disconnected, Event, Listed
from ..log import Log
from .process import freeze_garbage_collector

T = TypeVar("T")


async def follow(
    stream: AsyncIterator[Event[T]],
    apply: Callable[[Event[T]], None],
    log: Log,
    what: str,
    *,
    hint: str = "",
    prepare: Callable[[list[T]], Awaitable[None]] | None = None,
) -> None:
    """Call `apply` with every event, except that an interruption is only logged, once.

    `prepare` is awaited with the objects of a list before it is applied.

    `what` is the object in log lines, as in "namespace watch interrupted". `hint` is logged with an
    interruption before the first list, which may mean that a permission is missing.
    """
    fields: dict[str, Any]
    listed = interrupted = False
    async for event in stream:
        if isinstance(event, Disconnected):
            if not interrupted:
                state = ", serving from cache" if listed else ""
                advice = {"hint": hint} if hint and not listed else {}
                fields = {"problem": event.problem, **advice}
                log.line("warning", f"{what} watch interrupted{state}", fields)
            interrupted = True
            continue
        if interrupted:
            log.line("info", f"{what} watch resumed", {})
            interrupted = False
        if prepare is not None and isinstance(event, Listed):
            await prepare(event.items)
        apply(event)
        if isinstance(event, Listed):
            listed = True
            fields = {"objects": len(event.items), "reason": event.reason}
            log.line("info", f"{what}s listed", fields)


async def follow_namespaces(client: ApiClient, cache: NamespaceCache, log: Log) -> None:
    """Keep the cache of namespaces and its metrics up to date, for ever."""

    def apply(event: Event[NameAndAnnotations]) -> None:
        first = not cache.synced
        cache.apply(event)
        count_namespaces(cache)
        if isinstance(event, Listed):
            metrics.NAMESPACE_RELISTS.labels(event.reason).inc()
        if first:
            freeze_garbage_collector()

    stream = watch.stream(client, namespaces.PATH, namespaces.from_metadata)
    await follow(stream, apply, log, "namespace", prepare=cache.prepare)


async def follow_legacy_tokens(client: ApiClient, tokens: LegacyTokens, log: Log) -> None:
    """Keep the cache of legacy token Secrets and its metric up to date, for ever."""

    def apply(event: Event[Name]) -> None:
        tokens.apply(event)
        metrics.LEGACY_TOKENS_SYNCED.set(tokens.synced)

    stream = watch.stream(
        client,
        legacy_tokens.PATH,
        legacy_tokens.from_metadata,
        field_selector=legacy_tokens.SELECTOR,
    )
    hint = "the component manifests/optional/legacy-tokens gives the right to list them"
    await follow(stream, apply, log, "legacy token", hint=hint)


def count_namespaces(cache: NamespaceCache) -> None:
    """Set the metrics of the cache after a change of it."""
    metrics.NAMESPACES.set(len(cache))
    metrics.NAMESPACE_CACHE_SYNCED.set(cache.synced)
    metrics.NAMESPACE_LAST_EVENT.set(time.time())


def log_lookup_problem(log: Log, namespace: str, problem: str) -> None:
    """Log why a live GET of a namespace failed."""
    log.warning("namespace lookup failed", namespace=namespace, problem=problem)
