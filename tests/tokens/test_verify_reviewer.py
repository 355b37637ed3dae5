"""TokenReviewVerifier: what is asked, what is kept and for how long, and what a flood costs."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import threading
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.claims import assembled
from tests.support.clocks import Clock
from tests.support.issuer import Credentials, Issuer, Key
from tests.support.processes import free_port
from tests.support.reviewing import Reviewer, accepted, reviewed, signed
from tests.support.waiting import eventually, wait_for
from webhook.tokens import (
    ApiServer,
    Identity,
    InvalidToken,
    JwksVerifier,
    NotVerified,
    TokenReviewVerifier,
    averify,
    verify,
)
from webhook.tokens import reviewer as module
from webhook.tokens import verifier as by_default
from webhook.tokens.workers import MAX_THREADS, Workers


@pytest.fixture
def api(clock: Clock) -> Iterator[Reviewer]:
    with Reviewer(clock) as reviewer:
        yield reviewer


@pytest.fixture
def verifier(api: Reviewer, clock: Clock) -> TokenReviewVerifier:
    return TokenReviewVerifier(api.api(), clock=clock, pool=Workers())


def reason(verifier: TokenReviewVerifier, token: str, audience: str = "vault") -> str:
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(token, audience=audience)
    assert not token or token not in str(refused.value)
    return refused.value.reason


def forged(api: Reviewer, count: int) -> list[str]:
    """Tokens that nothing speaks against, but the signature."""
    header = {"alg": "RS256", "kid": "one"}
    return [assembled(header, api.claims(aud=["vault"]), b"forged") for _ in range(count)]


def test_it_asks_once_and_says_whose_token_it_is(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    token = api.token(aud=["vault", "cart"])
    identity = verifier.verify(token, audience="vault")
    assert identity is verifier.verify(token, audience="vault")
    assert (str(identity), identity.uid) == ("shop/cart", "uid-of-cart")
    assert identity.audiences == ("vault", "cart")
    assert api.reviews == [{"token": token, "audiences": ["vault"]}]


def test_each_audience_is_asked_for_itself(api: Reviewer, verifier: TokenReviewVerifier) -> None:
    token = api.token(aud=["vault", "cart"])
    assert verifier.verify(token, audience="vault") == verifier.verify(token, audience="cart")
    assert reason(verifier, token, "other") == "wrong-audience"
    assert [spec["audiences"] for spec in api.reviews] == [["vault"], ["cart"]]


def test_audience_and_token_cannot_be_shifted_into_one_another(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    token = api.token(aud=["v", "v" + "e"])
    assert module._key(token, "ve") != module._key("e" + token, "v")
    assert module._key(token, "1 v") != module._key(token, "v")


def test_a_yes_is_kept_for_a_minute(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    token = api.token(aud=["vault"], jti="cart-0")
    verifier.verify(token, audience="vault")
    api.gone.add("cart-0")
    clock.now += 59.9
    verifier.verify(token, audience="vault")
    assert len(api.reviews) == 1
    clock.now += 0.1
    assert reason(verifier, token) == "revoked"
    assert len(api.reviews) == 2


def test_the_minute_begins_when_it_is_asked_not_when_the_answer_comes(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    def late(spec: Any) -> Any:
        clock.now += 50
        return reviewed(api.review(spec))

    api.answers.append(late)
    token = api.token(aud=["vault"])
    verifier.verify(token, audience="vault")
    clock.now += 11
    verifier.verify(token, audience="vault")
    assert len(api.reviews) == 2


def test_a_yes_is_not_kept_beyond_the_expiry(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    token = api.token(aud=["vault"], exp=int(clock.now) + 30)
    verifier.verify(token, audience="vault")
    clock.now += 29.9
    verifier.verify(token, audience="vault")
    assert len(api.reviews) == 1
    clock.now += 0.2
    verifier.verify(token, audience="vault")  # in the leeway: the API server decides, each time
    verifier.verify(token, audience="vault")
    assert len(api.reviews) == 3
    assert len(verifier._accepted) == 0
    clock.now += 10
    assert reason(verifier, token) == "expired"
    assert len(api.reviews) == 3


def test_a_no_is_kept_for_a_second(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    (token,) = forged(api, 1)
    for _ in range(100):
        assert reason(verifier, token) == "bad-signature"
    assert len(api.reviews) == 1
    clock.now += 1
    assert reason(verifier, token) == "bad-signature"
    assert len(api.reviews) == 2


def test_what_was_refused_may_be_accepted_a_second_later(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    token = api.token(aud=["vault"], jti="cart-0")
    api.gone.add("cart-0")
    assert reason(verifier, token) == "revoked"
    api.gone.clear()
    clock.now += 1
    assert verifier.verify(token, audience="vault")


@pytest.mark.parametrize("jump", [-86_400.0, -30.0, 86_400.0])
def test_a_clock_that_jumps_keeps_nothing_for_longer(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock, jump: float
) -> None:
    token = api.token(aud=["vault"], exp=int(clock.now) + 200_000, iat=0, nbf=0, jti="cart-0")
    verifier.verify(token, audience="vault")
    api.gone.add("cart-0")
    clock.now += jump
    assert reason(verifier, token) == "revoked"


def test_garbage_is_refused_without_a_call(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    header = {"alg": "RS256", "kid": "one"}
    now = int(clock.now)
    for token, expected in [
        ("", "malformed"),
        ("x", "malformed"),
        ("\u00e9", "malformed"),
        ("A" * 1_000_000, "malformed"),
        (assembled({"alg": "none"}, api.claims(aud=["vault"]), b""), "bad-algorithm"),
        (api.token(aud=["other"]), "wrong-audience"),
        (api.token(aud=["vault"], exp=now - 11), "expired"),
        (api.token(aud=["vault"], nbf=now + 11), "not-yet-valid"),
        (assembled(header, {"aud": "vault", "exp": now + 60}), "not-a-service-account"),
    ]:
        assert reason(verifier, token) == expected
    with pytest.raises(InvalidToken):
        verifier.verify(None, audience="vault")  # type: ignore[arg-type]
    assert api.reviews == []


@pytest.mark.parametrize("audience", ["", None, ["vault"]])
def test_an_empty_audience_is_a_mistake_of_the_program(
    verifier: TokenReviewVerifier, audience: Any
) -> None:
    with pytest.raises(ValueError, match="audience: .* must be a text of 1 to 4096 bytes"):
        verifier.verify("a.b.c", audience=audience)


def test_a_legacy_token_is_for_no_audience(api: Reviewer, verifier: TokenReviewVerifier) -> None:
    legacy = {
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/secret.name": "cart-token",
        "kubernetes.io/serviceaccount/service-account.name": "cart",
        "kubernetes.io/serviceaccount/service-account.uid": "a",
        "sub": "system:serviceaccount:shop:cart",
    }
    token = signed(api.keys[0], legacy)
    assert reason(verifier, token) == "wrong-audience"
    assert api.reviews == []


def test_a_thousand_threads_make_one_request(api: Reviewer, verifier: TokenReviewVerifier) -> None:
    api.review_lag = 0.2
    token = api.token(aud=["vault"])
    start = threading.Barrier(1000)

    def ask() -> Identity:
        start.wait(60)
        return verifier.verify(token, audience="vault")

    with ThreadPoolExecutor(1000) as threads:
        found = {id(future.result(60)) for future in [threads.submit(ask) for _ in range(1000)]}
    assert (len(found), len(api.reviews)) == (1, 1)


async def test_ten_thousand_coroutines_make_one_request(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    api.review_lag = 0.2
    token = api.token(aud=["vault"])
    found = await asyncio.gather(
        *(verifier.averify(token, audience="vault") for _ in range(10_000))
    )
    assert (len({id(identity) for identity in found}), len(api.reviews)) == (1, 1)
    assert await verifier.averify(token, audience="vault") is found[0]


async def test_waiters_get_an_exception_of_their_own(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    api.review_lag = 0.1
    (token,) = forged(api, 1)
    found = await asyncio.gather(
        *(verifier.averify(token, audience="vault") for _ in range(20)), return_exceptions=True
    )
    assert {type(problem) for problem in found} == {InvalidToken}
    assert len({id(problem) for problem in found}) == 20
    assert len(api.reviews) == 1


async def test_a_waiter_that_gives_up_cancels_it_for_no_other(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    api.review_lag = 0.2
    token = api.token(aud=["vault"])
    first, second = (
        asyncio.create_task(verifier.averify(token, audience="vault")) for _ in range(2)
    )
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(api.reviews) == 1


async def test_the_loop_goes_on_while_it_is_asked(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    may_answer = threading.Event()

    def waiting(spec: Any) -> Any:
        assert may_answer.wait(20)
        return reviewed(api.review(spec))

    api.answers.append(waiting)
    task = asyncio.create_task(verifier.averify(api.token(aud=["vault"]), audience="vault"))
    await eventually(lambda: api.reviews)
    assert not task.done()
    may_answer.set()
    assert await task


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503, 504])
def test_a_failure_of_the_api_server_is_no_refusal_and_no_flood(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock, status: int, caplog: Any
) -> None:
    api.answers.append(status)
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        for _ in range(50):
            token = api.token(aud=["vault"])
            with pytest.raises(NotVerified, match=f"TokenReview: {status}: refused with") as failed:
                verifier.verify(token, audience="vault")
            assert token not in str(failed.value) + caplog.text
            assert 1 <= failed.value.retry_after <= 1.25
    assert len(api.reviews) == 1
    assert [record.message for record in caplog.records] == [
        f"tokens cannot be verified: {failed.value}"
    ]
    clock.now += 1.3
    assert verifier.verify(token, audience="vault")
    assert verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert len(api.reviews) == 3


def test_what_is_kept_is_accepted_while_the_api_server_fails(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    kept = api.token(aud=["vault"])
    verifier.verify(kept, audience="vault")
    api.answers.append(503)
    with pytest.raises(NotVerified):
        verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert verifier.verify(kept, audience="vault")


@pytest.mark.parametrize(("given", "least"), [("5", 5.0), ("600", 10.0)])
def test_retry_after_is_heeded_up_to_a_bound(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock, given: str, least: float
) -> None:
    api.answers.append(429)
    api.retry_after = given
    with pytest.raises(NotVerified) as failed:
        verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert least <= failed.value.retry_after <= least * 1.25
    clock.now += least - 0.1
    with pytest.raises(NotVerified):
        verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert len(api.reviews) == 1
    clock.now += least * 0.25 + 0.2
    assert verifier.verify(api.token(aud=["vault"]), audience="vault")


def test_a_clock_that_is_set_back_ends_the_pause(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    api.answers.append(503)
    token = api.token(aud=["vault"], iat=0, nbf=0)
    with pytest.raises(NotVerified):
        verifier.verify(token, audience="vault")
    clock.now -= 86_400
    assert verifier.verify(token, audience="vault")


def test_the_log_is_not_flooded(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock, caplog: Any
) -> None:
    api.answers.extend([500] * 12)
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        for _ in range(12):
            with pytest.raises(NotVerified, match="500"):
                verifier.verify(api.token(aud=["vault"]), audience="vault")
            clock.now += 1
    assert len(api.reviews) == 12
    assert len(caplog.records) == 2


def test_a_failure_because_of_one_token_is_no_failure_for_others(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    bad = api.token(aud=["vault"])
    api.answers.append(500)
    for _ in range(10):
        with pytest.raises(NotVerified, match="500") as failed:
            verifier.verify(bad, audience="vault")
        assert failed.value.retry_after == 1
    assert verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert len(api.reviews) == 2
    clock.now += 1
    assert verifier.verify(bad, audience="vault")


def test_after_a_failure_one_request_finds_out_whether_it_is_back(
    api: Reviewer, verifier: TokenReviewVerifier, clock: Clock
) -> None:
    api.answers.append(503)
    with pytest.raises(NotVerified):
        verifier.verify(api.token(aud=["vault"]), audience="vault")
    clock.now += 2
    api.review_lag = 0.3
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(verifier.verify, api.token(aud=["vault"]), audience="vault")
        wait_for(lambda: len(api.reviews) == 2)
        with pytest.raises(NotVerified):
            verifier.verify(api.token(aud=["vault"]), audience="vault")
        assert first.result()
    with ThreadPoolExecutor(4) as threads:
        tokens = [api.token(aud=["vault"]) for _ in range(4)]
        assert all(threads.map(lambda token: verifier.verify(token, audience="vault"), tokens))
    assert api.busiest > 1


def test_nobody_waits_for_a_thread_while_it_is_paused(api: Reviewer, clock: Clock) -> None:
    class Counting(Workers):
        jobs = 0

        def submit(self, job: Any) -> None:
            self.jobs += 1
            super().submit(job)

    pool = Counting()
    verifier = TokenReviewVerifier(api.api(), clock=clock, pool=pool)
    api.answers.append(503)
    for _ in range(10):
        with pytest.raises(NotVerified):
            verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert pool.jobs == 1


def test_an_answer_that_came_meanwhile_is_not_asked_for_again(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    token = api.token(aud=["vault"])
    question = verifier._question(module._key(token, "vault"), token, "vault")
    identity = verifier.verify(token, audience="vault")  # by another thread, as it were
    assert verifier._coming(question).result() is identity
    assert len(api.reviews) == 1


def test_nobody_there_is_said_so(clock: Clock, api: Reviewer) -> None:
    nobody = ApiServer(Credentials(f"http://127.0.0.1:{free_port()}"), 0.5)
    verifier = TokenReviewVerifier(nobody, clock=clock)
    with pytest.raises(NotVerified, match="no usable answer of the API server: POST .* refused"):
        verifier.verify(api.token(aud=["vault"]), audience="vault")


def test_a_server_that_does_not_answer_costs_its_timeout_once(api: Reviewer, clock: Clock) -> None:
    api.review_lag = 30
    verifier = TokenReviewVerifier(api.api(0.3), clock=clock, pool=Workers())
    start = time.monotonic()
    with ThreadPoolExecutor(100) as threads:
        futures = [
            threads.submit(verifier.verify, api.token(aud=["vault"]), audience="vault")
            for _ in range(100)
        ]
        problems = [future.exception() for future in futures]
    assert {type(problem) for problem in problems} == {NotVerified}
    assert time.monotonic() - start < 10
    assert api.busiest <= MAX_THREADS


async def test_nobody_waits_for_ever(
    api: Reviewer, verifier: TokenReviewVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    api.review_lag = 0.5
    token = api.token(aud=["vault"])
    with pytest.raises(NotVerified, match="no answer within 0 s"):
        verifier.verify(token, audience="vault")
    with pytest.raises(NotVerified, match="no answer within"):
        await verifier.averify(token, audience="vault")
    await eventually(lambda: not verifier._in_flight)
    assert await verifier.averify(token, audience="vault")
    assert len(api.reviews) == 1


async def test_ten_thousand_forged_tokens_exhaust_neither_threads_nor_memory(
    api: Reviewer, verifier: TokenReviewVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 120)  # nobody gives up before the answer
    good = [api.token(aud=["vault"]) for _ in range(20)]
    for token in good:
        verifier.verify(token, audience="vault")
    tokens = forged(api, 10_000)
    tracemalloc.start()
    results = await asyncio.gather(
        *(verifier.averify(token, audience="vault") for token in tokens), return_exceptions=True
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kinds = [type(problem) for problem in results]
    assert set(kinds) <= {InvalidToken, NotVerified}
    assert kinds.count(InvalidToken) >= module.MAX_PENDING
    assert len(api.reviews) - 20 == kinds.count(InvalidToken)
    assert api.busiest <= MAX_THREADS
    assert len(verifier._refused) <= module.MAX_REFUSED
    assert peak < 100e6  # of which most is the test's own 10,000 coroutines
    before = len(api.reviews)
    for token in good:
        assert verifier.verify(token, audience="vault")
    assert len(api.reviews) == before
    assert not verifier._in_flight


async def test_with_signatures_forged_tokens_never_reach_the_api_server(
    api: Reviewer, clock: Clock
) -> None:
    server = api.api()
    verifier = TokenReviewVerifier(
        server, signatures=JwksVerifier(server, clock=clock), clock=clock, pool=Workers()
    )
    good = api.token(aud=["vault"], jti="cart-0")
    assert await verifier.averify(good, audience="vault")
    for token in forged(api, 100):
        with pytest.raises(InvalidToken, match="bad-signature"):
            verifier.verify(token, audience="vault")
        with pytest.raises(InvalidToken, match="bad-signature"):
            await verifier.averify(token, audience="vault")
    assert len(api.reviews) == 1
    api.gone.add("cart-0")
    clock.now += 60
    assert reason(verifier, good) == "revoked"  # the signature alone accepts nothing


async def test_without_keys_the_api_server_is_asked(api: Reviewer, clock: Clock) -> None:
    nobody = ApiServer(Credentials(f"http://127.0.0.1:{free_port()}"), 0.5)
    verifier = TokenReviewVerifier(
        api.api(), signatures=JwksVerifier(nobody, clock=clock), clock=clock
    )
    assert verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert await verifier.averify(api.token(aud=["vault"]), audience="vault")


def test_what_is_kept_is_bounded_and_the_unused_goes_first(
    api: Reviewer, verifier: TokenReviewVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier._accepted, "_limit", 3)
    tokens = [api.token(aud=["vault"]) for _ in range(3)]
    for token in (*tokens, tokens[0], api.token(aud=["vault"])):
        verifier.verify(token, audience="vault")
    assert len(verifier._accepted) == 3
    assert len(api.reviews) == 4
    verifier.verify(tokens[0], audience="vault")
    assert len(api.reviews) == 4
    verifier.verify(tokens[1], audience="vault")
    assert len(api.reviews) == 5


def test_no_token_stays_in_memory(api: Reviewer, verifier: TokenReviewVerifier) -> None:
    tokens = [api.token(aud=["vault"]), *forged(api, 1)]
    for token in tokens:
        with contextlib.suppress(InvalidToken):
            verifier.verify(token, audience="vault")
    wait_for(lambda: not verifier._in_flight)
    signatures = {token.rpartition(".")[2] for token in tokens}
    seen, todo = set(), [verifier]
    while todo:
        found: Any = todo.pop()
        if id(found) in seen or isinstance(found, type | type(os)):
            continue
        seen.add(id(found))
        if isinstance(found, str | bytes):
            text = found if isinstance(found, str) else found.decode("latin-1")
            assert not any(signature in text for signature in signatures)
        if found is not api and not isinstance(found, Issuer):
            todo.extend(
                other
                for other in gc.get_referents(found)
                if type(other).__module__.startswith(("webhook", "builtins", "collections"))
                and not callable(other)
            )
    assert len(seen) > 20


def test_nothing_is_kept_where_nothing_shall_be(api: Reviewer, clock: Clock) -> None:
    verifier = TokenReviewVerifier(api.api(), cache_seconds=0, clock=clock)
    token = api.token(aud=["vault"])
    for _ in range(3):
        verifier.verify(token, audience="vault")
    assert len(api.reviews) == 3


@pytest.mark.parametrize("seconds", [-1, 3601, float("nan")])
def test_how_long_it_is_kept_has_a_bound(api: Reviewer, seconds: float) -> None:
    with pytest.raises(ValueError, match="cache_seconds: .* must be 0 to 3600"):
        TokenReviewVerifier(api.api(), cache_seconds=seconds)
    with pytest.raises(ValueError, match="leeway: .* must be 0 to 3600 seconds"):
        TokenReviewVerifier(api.api(), leeway=seconds)


def test_an_answer_of_a_proxy_decides_nothing(api: Reviewer, verifier: TokenReviewVerifier) -> None:
    api.answers.append(lambda _: (200, {"login": "please"}, {}))
    with pytest.raises(NotVerified, match="its answer is no TokenReview"):
        verifier.verify(api.token(aud=["vault"]), audience="vault")


def test_an_audience_that_is_not_given_back_is_refused(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    def unaware(spec: Any) -> Any:
        claims = api.claims(aud=["vault"])
        return reviewed({**accepted(claims, ["vault"]), "audiences": []})

    api.answers.append(unaware)
    assert reason(verifier, api.token(aud=["vault"])) == "wrong-audience"


def test_a_child_of_fork_goes_on_with_what_is_kept_and_a_lock_of_its_own(
    api: Reviewer, clock: Clock
) -> None:
    verifier = TokenReviewVerifier(api.api(), clock=clock)
    kept, other = api.token(aud=["vault"]), api.token(aud=["vault"])
    verifier.verify(kept, audience="vault")
    api.review_lag = 1.0
    busy = threading.Thread(target=verifier.verify, args=(other,), kwargs={"audience": "vault"})
    busy.start()
    wait_for(lambda: verifier._in_flight)
    verifier._lock.acquire()
    try:
        with warnings.catch_warnings():  # of Python 3.12 and newer: it warns of just this
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            signal.alarm(10)
            code = 1
            with contextlib.suppress(BaseException):
                verifier.verify(kept, audience="vault")
                verifier.verify(other, audience="vault")
                code = 0
            os._exit(code)
    finally:
        verifier._lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    busy.join()


def test_without_threads_it_cannot_be_verified(api: Reviewer, clock: Clock) -> None:
    class NoThreads(Workers):
        def submit(self, job: Any) -> None:  # noqa: ARG002
            raise RuntimeError("can't start new thread")

    verifier = TokenReviewVerifier(api.api(), clock=clock, pool=NoThreads())
    with pytest.raises(NotVerified, match="no thread can be started"):
        verifier.verify(api.token(aud=["vault"]), audience="vault")
    assert not verifier._in_flight


async def test_verify_needs_a_token_and_an_audience_only(monkeypatch: pytest.MonkeyPatch) -> None:
    by_default._in_cluster.cache_clear()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NotVerified, match="not in a cluster"):
        verify("a.b.c", audience="vault")
    with pytest.raises(NotVerified, match="not in a cluster"):
        await averify("a.b.c", audience="vault")
    with Reviewer() as api:
        monkeypatch.setattr(ApiServer, "in_cluster", api.api)
        token = api.token(aud=["vault"])
        try:
            assert str(verify(token, audience="vault")) == "shop/cart"
            assert await averify(token, audience="vault") == verify(token, audience="vault")
        finally:
            by_default._in_cluster.cache_clear()
        assert len(api.reviews) == 1


def test_another_key_with_the_same_id_signs_nothing(
    api: Reviewer, verifier: TokenReviewVerifier
) -> None:
    token = signed(Key("one"), api.claims(aud=["vault"]))
    assert reason(verifier, token) == "bad-signature"
    assert json.loads(json.dumps(api.reviews))[0]["token"] == token
