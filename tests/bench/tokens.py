"""What a token costs a program that uses the library: a cached `get`, and 10,000 keys in memory."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from tests.support.issuer import Issuer
from webhook.tokens import TokenCache, TokenFile, TokenRequest

KEYS = 10_000
CALLS = 20_000
ROUNDS = 11


def nanoseconds(get: Callable[[], object]) -> list[float]:
    """Of one call, in several rounds."""
    figures = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            get()
        figures.append((time.perf_counter_ns() - start) / CALLS)
    return figures


async def async_nanoseconds(cache: TokenCache, request: TokenRequest) -> list[float]:
    source, figures = cache.source(request), []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            await source.aget()
        figures.append((time.perf_counter_ns() - start) / CALLS)
    return figures


def cached(folder: Path) -> dict[str, list[float]]:
    """Nanoseconds of a `get` that makes no call, by what is asked, and of a `time.time` beside."""
    with Issuer() as issuer:
        cache, request = TokenCache(issuer.api()), TokenRequest("shop", "cart", ("vault",))
        source = cache.source(request)
        (folder / "token").write_text(source.get())
        file = TokenFile(folder / "token")
        return {
            "time.time": nanoseconds(time.time),
            "TokenRequestSource.get": nanoseconds(source.get),
            "TokenRequestSource.aget": asyncio.run(async_nanoseconds(cache, request)),
            "TokenCache.get": nanoseconds(lambda: cache.get(request)),
            "TokenFile.get": nanoseconds(file.get),
        }


def megabytes() -> float:
    """Of a cache with 10,000 tokens, one for each of as many accounts."""
    with Issuer() as issuer:
        answer = issuer.issue("/api/v1/namespaces/shop/serviceaccounts/cart/token", SPEC)
        issuer.script.extend([lambda _: answer] * KEYS)
        api = issuer.api()
        gc.collect()
        tracemalloc.start()
        cache = TokenCache(api, max_tokens=KEYS)
        for number in range(KEYS):
            cache.get(TokenRequest("shop", f"account-{number}", ("vault",)))
        issuer.requests.clear()
        issuer.paths.clear()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        assert len(cache) == KEYS
        return size


SPEC = {"spec": {"audiences": ["vault"], "expirationSeconds": 3600}}
