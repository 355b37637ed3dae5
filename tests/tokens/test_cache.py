"""TokenCache: one source for each request, bounded, and the pods of an operator."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.clocks import Clock
from tests.support.issuer import Issuer
from webhook.tokens import NoToken, ObjectReference, TokenCache, TokenRequest

CART, ORDERS = TokenRequest("shop", "cart"), TokenRequest("shop", "orders")


def a_pod(name: str = "cart-0", uid: str = "u1", **spec: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "uid": uid}, "spec": spec}


async def test_equal_requests_share_one_token(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    token = cache.get(TokenRequest("shop", "cart", ("a", "b")))
    assert await cache.aget(TokenRequest("shop", "cart", ("a", "b"))) == token
    others = [
        TokenRequest("shop", "cart", ("b", "a")),
        TokenRequest("shop", "cart", ("a",)),
        TokenRequest("shop", "cart", ("a", "b"), 600),
        TokenRequest("pay", "cart", ("a", "b")),
    ]
    assert token not in await asyncio.gather(*(cache.aget(request) for request in others))
    assert len(issuer.requests) == len(cache) == 5


def test_it_is_bounded_and_what_was_not_used_goes(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), max_tokens=3, clock=clock)
    requests = [TokenRequest("shop", f"a{number}") for number in range(10)]
    busy = cache.get(requests[0])
    for request in requests[1:]:
        assert cache.get(requests[0]) == busy
        cache.get(request)
        assert len(cache) <= 3
    assert len(issuer.requests) == 10
    cache.get(requests[1])
    assert len(issuer.requests) == 11


def test_use_through_a_source_counts(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), max_tokens=2, clock=clock)
    cache.source(CART).get()
    for number in range(20):
        cache._sources[CART].get()
        cache.get(TokenRequest("shop", f"a{number}"))
    assert CART in cache._sources


def test_a_source_that_somebody_has_is_the_one_of_its_request(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), max_tokens=2, clock=clock)
    source = cache.for_pod(a_pod())
    clock.now += 61
    cache.get(CART)
    cache.get(ORDERS)
    cache.get(TokenRequest("shop", "third"))
    assert cache.for_pod(a_pod()) is source
    source.get()
    for number in range(4):
        cache.get(TokenRequest("shop", f"a{number}"))
    assert cache.forget("u1") == 1
    with pytest.raises(NoToken, match="closed"):
        source.get()


def test_a_refused_request_is_remembered_while_it_waits(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    issuer.script.append(429)
    issuer.retry_after = "500"
    for _ in range(5):
        with pytest.raises(NoToken, match="429"):
            cache.get(CART)
        clock.now += 80
    assert len(issuer.requests) == 1


def test_it_may_be_asked_while_it_is_being_changed(issuer: Issuer, clock: Clock) -> None:
    """By a signal handler, or by __del__ in the garbage collector."""
    cache = TokenCache(issuer.api(), clock=clock)
    source = cache.source(CART)
    with cache._lock, source._lock:
        assert cache.get(ORDERS)
        assert cache.forget("u1") == 0


@pytest.mark.parametrize("number", [0, -1])
def test_a_cache_of_nothing_is_none(issuer: Issuer, number: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TokenCache(issuer.api(), max_tokens=number)


def test_one_audience_is_one_audience(issuer: Issuer, clock: Clock) -> None:
    TokenCache(issuer.api(), clock=clock).for_pod(a_pod(), "vault").get()
    assert issuer.requests[0]["spec"]["audiences"] == ["vault"]


def test_what_has_expired_unused_goes(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    for number in range(50):
        cache.get(TokenRequest("shop", f"a{number}", (), 600))
    clock.now += 300
    cache.get(CART)
    assert len(cache) == 51
    clock.now += 301
    cache.get(CART)  # of which there is one: that suffices
    assert len(cache) == 1


@pytest.mark.parametrize(
    ("spec", "account"), [({"serviceAccountName": "cart"}, "cart"), ({}, "default")]
)
def test_a_pods_token_is_bound_to_it(
    issuer: Issuer, clock: Clock, spec: dict[str, str], account: str
) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    source = cache.for_pod(a_pod(**spec), ["vault"], 900)
    assert source.bound_to == ObjectReference("Pod", "cart-0", "u1")
    assert (source.claims.account, source.audiences) == (account, ("vault",))
    assert issuer.requests[0]["spec"]["boundObjectRef"]["uid"] == "u1"
    assert issuer.requests[0]["spec"]["expirationSeconds"] == 900


def test_a_pod_may_be_an_object_of_the_kubernetes_package(issuer: Issuer, clock: Clock) -> None:
    pod = SimpleNamespace(
        metadata=SimpleNamespace(name="cart-0", namespace="shop", uid="u1"),
        spec=SimpleNamespace(service_account_name="cart"),
    )
    cache = TokenCache(issuer.api(), clock=clock)
    assert cache.for_pod(pod) is cache.for_pod(a_pod(serviceAccountName="cart"))


def test_a_pod_that_goes_is_forgotten(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    one, two = cache.for_pod(a_pod()), cache.for_pod(a_pod(), ["vault"])
    other = cache.for_pod(a_pod(uid="u2"))  # of the same name, made again
    for source in (one, two, other):
        source.get()
    cache.get(CART)
    assert cache.forget(a_pod()) == 2
    assert cache.forget("u1") == 0
    assert len(cache) == 2
    with pytest.raises(NoToken, match="closed"):
        one.get()
    assert other.get()


def test_what_is_no_pod_of_the_api_server_is_refused(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    for pod in ({}, {"metadata": {"name": "x", "namespace": "shop"}}, None, a_pod(uid="")):
        with pytest.raises(ValueError, match="with name, namespace and uid"):
            cache.for_pod(pod)
    assert cache.forget({}) == 0


def test_forgetting_nothing_forgets_no_unbound_token(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    cache.get(CART)
    assert (cache.forget(""), len(cache)) == (0, 1)


def test_closing_forgets_all(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    source = cache.source(CART)
    source.get()
    cache.close()
    assert len(cache) == 0
    with pytest.raises(NoToken, match="closed"):
        source.get()


def test_a_child_of_fork_has_a_lock_of_its_own(issuer: Issuer, clock: Clock) -> None:
    cache = TokenCache(issuer.api(), clock=clock)
    token = cache.get(CART)
    with ThreadPoolExecutor(1) as other:  # as a thread of the parent that is in the midst of it
        other.submit(cache._lock.acquire).result()
        cache.after_fork()
        assert cache.get(CART) == token
