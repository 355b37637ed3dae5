"""TokenRequestSource: one request for all, renewed in time, the old token while renewing fails."""

import asyncio
import contextlib
import gc
import logging
import os
import pickle
import signal
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.clocks import Clock
from tests.support.issuer import Issuer
from tests.support.processes import free_port
from tests.support.waiting import eventually, wait_for
from webhook.tokens import (
    ApiServer,
    NoToken,
    ObjectReference,
    RequestRefused,
    TokenRequest,
    TokenRequestSource,
)
from webhook.tokens import requested as module
from webhook.tokens.workers import MAX_THREADS, Workers

CART = TokenRequest("shop", "cart", ("vault",))


@pytest.fixture
def source(issuer: Issuer, clock: Clock) -> TokenRequestSource:
    return TokenRequestSource(issuer.api(), CART, clock=clock)


def renewed(source: TokenRequestSource, before: str) -> str:
    """The first call that finds a renewal due gets the old one, and a later one the new one."""
    assert source.get() == before
    return str(wait_for(lambda: (token := source.get()) != before and token))


def test_it_is_requested_once_and_says_what_it_is(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    assert source.get() == source.get()
    assert len(issuer.requests) == 1
    assert issuer.requests[0]["spec"]["audiences"] == ["vault"]
    assert (source.audiences, source.bound_to, source.claims.account) == (("vault",), None, "cart")
    assert source.expires_at == datetime.fromtimestamp(issuer.clock() + 3600, UTC)


def test_it_is_renewed_after_four_fifths_of_its_life_twice(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    token = source.get()
    for count in (2, 3):
        clock.now += 2869
        assert source.get() == token
        assert len(issuer.requests) == count - 1
        clock.now += 11
        token = renewed(source, token)
        assert len(issuer.requests) == count


def test_a_long_life_is_renewed_after_a_day(issuer: Issuer, clock: Clock) -> None:
    source = TokenRequestSource(
        issuer.api(), TokenRequest("shop", "cart", (), 7 * 86_400), clock=clock
    )
    token = source.get()
    clock.now += 86_400 - 11
    assert source.get() == token
    clock.now += 11
    renewed(source, token)


def test_a_thousand_threads_make_one_request(issuer: Issuer, source: TokenRequestSource) -> None:
    issuer.lag = 0.2
    start = threading.Barrier(1000)

    def ask() -> str:
        start.wait(60)
        return source.get()

    with ThreadPoolExecutor(1000) as threads:
        tokens = {future.result(60) for future in [threads.submit(ask) for _ in range(1000)]}
    assert (len(tokens), len(issuer.requests)) == (1, 1)


def test_a_call_that_was_kept_waiting_does_not_take_a_new_token_for_one_of_the_future(
    issuer: Issuer, clock: Clock
) -> None:
    """It has read the clock, and then the token was renewed by another thread."""
    renewed_by_another = threading.Event()

    def slow() -> float:
        before = clock.now
        if threading.current_thread().name == "late":
            renewed_by_another.wait(10)
        return before

    source = TokenRequestSource(issuer.api(), CART, clock=slow)
    late = threading.Thread(target=source.get, name="late")
    late.start()
    clock.now += 1
    source.get()
    renewed_by_another.set()
    late.join()
    settle(source)
    assert len(issuer.requests) == 1


async def test_ten_thousand_coroutines_make_one_request(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    issuer.lag = 0.2
    tokens = await asyncio.gather(*(source.aget() for _ in range(10_000)))
    assert (len(set(tokens)), len(issuer.requests)) == (1, 1)


async def test_the_loop_goes_on_while_a_token_is_requested(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    issuer.lag = 1
    task = asyncio.create_task(source.aget())
    start = time.monotonic()
    await asyncio.sleep(0.01)
    assert time.monotonic() - start < 0.8
    assert not task.done()
    await task


async def test_a_waiter_that_gives_up_cancels_it_for_no_other(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    issuer.lag = 0.2
    first, second = (asyncio.create_task(source.aget()) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(issuer.requests) == 1


def test_nobody_waits_while_the_old_one_is_valid(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    token = source.get()
    issuer.lag = 1.5
    clock.now += 3000
    start = time.monotonic()
    assert [source.get() for _ in range(100)] == [token] * 100
    assert time.monotonic() - start < 1
    renewed(source, token)
    assert len(issuer.requests) == 2


def test_the_old_one_is_used_while_renewing_fails_and_it_is_valid(
    issuer: Issuer, source: TokenRequestSource, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    token = source.get()
    clock.now += 2880
    issuer.script.extend([500] * 1000)
    tries = []
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        while clock.now < 1_800_000_000 + 3589:
            assert source.get() == token
            settle(source)
            tries.append(len(issuer.requests))
            clock.now += 1
    assert 12 <= len(issuer.requests) - 1 <= 17  # 1, 2, 4, 8, 16, 32, then each minute
    assert tries[1] == tries[2] - 1 or tries[1] == tries[2]
    assert "500: refused with 500; the old one is used on" in caplog.text
    assert token not in caplog.text
    clock.now += 2
    with pytest.raises(RequestRefused, match="500: refused with 500"):
        source.get()
    issuer.script.clear()
    clock.now += 75
    assert source.get() != token


def settle(source: TokenRequestSource) -> None:
    """Until no request is in flight."""
    wait_for(lambda: source._in_flight is None)


def test_retry_after_is_heeded(issuer: Issuer, source: TokenRequestSource, clock: Clock) -> None:
    issuer.script.extend([429])
    issuer.retry_after = "100"
    with pytest.raises(RequestRefused, match="429: refused with 429") as refused:
        source.get()
    assert 100 <= refused.value.retry_after <= 125
    clock.now += 99
    with pytest.raises(RequestRefused):
        source.get()
    assert len(issuer.requests) == 1
    clock.now += 27
    assert source.get()


def test_a_failure_is_remembered_so_that_many_callers_are_no_burst(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    issuer.script.extend([503] * 100)
    for _ in range(50):
        with pytest.raises(RequestRefused):
            source.get()
    assert len(issuer.requests) == 1
    clock.now += 1.3
    with pytest.raises(RequestRefused):
        source.get()
    assert len(issuer.requests) == 2


def test_waiters_get_an_exception_of_their_own(issuer: Issuer, source: TokenRequestSource) -> None:
    issuer.script.append(403)
    issuer.lag = 0.2
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            source.get()
        except NoToken as problem:
            problems.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(problem) for problem in problems}) == 20


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (600, "it lives 600 s: the API server or an admission webhook shortened it"),
        (7200, "it lives 7200 s: an admission webhook or policy extended it"),
    ],
)
def test_another_lifetime_than_requested_is_believed_and_logged_once(
    issuer: Issuer, source: TokenRequestSource, given: int, text: str, caplog: Any
) -> None:
    issuer.lifetime = given
    clock: Any = issuer.clock
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        token = source.get()
        assert source.expires_at.timestamp() == clock.now + given
        clock.now += given * 0.8
        renewed(source, token)
    (record,) = caplog.records
    assert record.getMessage() == f"token of shop/cart: 3600 s were requested, {text}"


def test_a_token_of_a_year_is_replaced_when_the_api_server_wants_it_to_be(
    issuer: Issuer, clock: Clock, caplog: Any
) -> None:
    def extended(body: Any) -> Any:
        status, answer, headers = issuer.issue(
            "/api/v1/namespaces/shop/serviceaccounts/cart/token", body
        )
        now = int(clock.now)
        answer["status"]["token"] = issuer.token(iat=now, exp=now + 31_536_000)
        return status, answer, headers

    issuer.script.append(extended)
    source = TokenRequestSource(
        issuer.api(),
        TokenRequest("shop", "cart", (), 3607, ObjectReference("Pod", "x", "u")),
        clock=clock,
    )
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        token = source.get()
    assert "the API server extends 3607 s; request 3600" in caplog.text
    assert source.expires_at.timestamp() == clock.now + 31_536_000
    clock.now += 3607 * 0.8
    renewed(source, token)


@pytest.mark.parametrize("offset", [-7200.0, 7200.0])
def test_a_wrong_clock_of_this_machine_does_no_harm(
    issuer: Issuer, clock: Clock, offset: float
) -> None:
    wrong = Clock(clock.now + offset)
    source = TokenRequestSource(issuer.api(), CART, clock=wrong)
    token = source.get()
    wrong.now += 2869
    assert source.get() == token
    wrong.now += 11
    renewed(source, token)
    assert len(issuer.requests) == 2


@pytest.mark.parametrize("back", [1, 250, 86_400])
def test_a_clock_that_is_set_back_renews_at_once(
    issuer: Issuer, source: TokenRequestSource, clock: Clock, back: float
) -> None:
    token = source.get()
    clock.now -= back  # how long the token has lived is not known any more
    assert source.get() != token
    assert len(issuer.requests) == 2


def test_a_clock_that_is_set_back_makes_nobody_wait(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    issuer.script.extend([500] * 7)
    for _ in range(7):
        with pytest.raises(RequestRefused):
            source.get()
        clock.now += 75
    assert len(issuer.requests) == 7
    clock.now -= 200
    assert source.get()


@pytest.mark.parametrize(("lifetime", "until"), [(3600, 3590), (600, 590), (20, 17)])
def test_a_token_is_not_used_to_its_last_second(
    issuer: Issuer, source: TokenRequestSource, clock: Clock, lifetime: int, until: int
) -> None:
    """`iat` has whole seconds, so it may have begun to live almost a second before."""
    clock.now += 0.9
    issuer.lifetime = lifetime
    token = source.get()
    issuer.script.extend([500] * 100)
    clock.now += until - 0.1
    assert source.get() == token
    settle(source)
    clock.now += 0.2
    with pytest.raises(RequestRefused):
        source.get()
    with pytest.raises(RequestRefused):
        source.renew(token)
    with pytest.raises(RequestRefused):
        source.renew("of somebody else")


def test_an_answer_that_comes_after_its_tokens_end_is_none(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    def late(body: Any) -> Any:
        answer = issuer.issue("/api/v1/namespaces/shop/serviceaccounts/cart/token", body)
        clock.now += 3600
        return answer

    issuer.script.append(late)
    with pytest.raises(NoToken, match="has expired meanwhile"):
        source.get()


async def test_a_cancelled_waiter_is_cancelled(issuer: Issuer, clock: Clock) -> None:
    """Also where the token comes in the same moment (asyncio.wait_for swallows it in 3.11)."""
    api, survivors = issuer.api(), []

    async def ask(number: int) -> None:
        await TokenRequestSource(api, TokenRequest("shop", f"a{number}"), clock=clock).aget()
        await asyncio.sleep(0)
        survivors.append(number)
        await asyncio.sleep(60)

    for number in range(60):
        task = asyncio.create_task(ask(number))
        loop = asyncio.get_running_loop()
        source_done = loop.time() + 0.002 + number % 20 / 4000
        loop.call_at(source_done, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)


def test_a_server_that_hangs_stops_no_other(clock: Clock) -> None:
    answers = threading.Event()

    def hanging(_: Any) -> Any:
        answers.wait(60)
        return dead.refuse(500)

    with Issuer(clock) as dead, Issuer(clock) as healthy, ThreadPoolExecutor(20) as threads:
        dead.script.extend([hanging] * 2 * MAX_THREADS)
        api = dead.api(60)
        waiting = [
            threads.submit(TokenRequestSource(api, TokenRequest("shop", f"a{n}"), clock=clock).get)
            for n in range(2 * MAX_THREADS)
        ]
        wait_for(lambda: len(dead.requests) == MAX_THREADS)
        assert TokenRequestSource(healthy.api(), CART, clock=clock).get()
        assert len(dead.requests) == MAX_THREADS
        answers.set()
        assert all(isinstance(future.exception(), RequestRefused) for future in waiting)


def test_a_log_handler_that_raises_ends_no_thread(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    class Broken(logging.Filter):
        def filter(self, _: logging.LogRecord) -> bool:
            raise ValueError("broken")

    logger, broken = logging.getLogger("boundtoken.tokens"), Broken()
    pool = Workers()
    source = TokenRequestSource(issuer.api(), CART, clock=clock, pool=pool)
    issuer.lifetime = 600
    logger.addFilter(broken)
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        assert source.get()
        wait_for(lambda: pool._threads == 0)
    finally:
        logger.removeFilter(broken)
        threading.excepthook = hook
    clock.now += 595
    assert source.get()


def test_what_a_failure_leaves_is_small_and_has_no_credentials(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    issuer.script.append(
        lambda _: issuer.refuse(403, f"no\n\x1b[31m {issuer.token()} " + "x" * 9999)
    )
    with pytest.raises(RequestRefused) as refused:
        source.get()
    assert len(str(refused.value)) < 700
    assert str(refused.value).isprintable()
    assert "(a token)" in str(refused.value)
    assert source._refusal is not None
    assert source._refusal.__traceback__ is None
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.status, again.retry_after) == (
        str(refused.value),
        403,
        refused.value.retry_after,
    )


def test_a_401_renews_once_for_all_and_not_again_at_once(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    rejected = source.get()
    with ThreadPoolExecutor(20) as threads:
        tokens = set(threads.map(source.renew, [rejected] * 200))
    (token,) = tokens
    assert token != rejected
    assert len(issuer.requests) == 2
    assert source.renew(rejected) == token  # of one that was already replaced
    assert source.renew(token) == token  # too early
    clock.now += module.RENEWAL_SECONDS
    assert source.renew(token) != token
    assert len(issuer.requests) == 3


async def test_a_401_in_a_coroutine_and_a_renewal_that_fails(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    rejected = await source.aget()
    issuer.script.append(500)
    assert await source.arenew(rejected) == rejected  # it is valid by its exp
    assert await source.arenew(rejected) == rejected  # and nobody asks again at once
    assert len(issuer.requests) == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(404, "serviceaccounts"), (404, "pods"), (409, "pods")]
)
def test_a_token_whose_object_is_gone_is_forgotten(
    issuer: Issuer, clock: Clock, status: int, kind: str
) -> None:
    request = TokenRequest("shop", "cart", (), 3600, ObjectReference("Pod", "cart-0", "u"))
    source = TokenRequestSource(issuer.api(), request, clock=clock)
    source.get()
    clock.now += 2880
    issuer.script.append(lambda _: issuer.refuse(status, "not found", kind))
    source.get()
    settle(source)
    with pytest.raises(RequestRefused, match=str(status)):
        source.get()


def test_no_server_no_token_and_it_says_so(clock: Clock) -> None:
    source = TokenRequestSource(api_at(f"http://127.0.0.1:{free_port()}"), CART, clock=clock)
    with pytest.raises(NoToken, match="no answer of the API server: POST .* Connection refused"):
        source.get()


def api_at(url: str) -> ApiServer:
    class NoCredentials:
        server = url

        def tls(self) -> bool:
            return True

        def header(self) -> None:
            return None

    return ApiServer(NoCredentials(), 0.5)


def test_a_server_that_does_not_answer_costs_its_timeout(issuer: Issuer, clock: Clock) -> None:
    issuer.lag = 4
    source = TokenRequestSource(issuer.api(0.3), CART, clock=clock)
    start = time.monotonic()
    with pytest.raises(NoToken, match="timed out"):
        source.get()
    assert time.monotonic() - start < 3


async def test_nobody_waits_for_ever(
    issuer: Issuer, source: TokenRequestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    issuer.lag = 0.5
    with pytest.raises(NoToken, match="no answer within 0 s"):
        source.get()
    with pytest.raises(NoToken, match="no answer within"):
        await source.aget()
    await eventually(lambda: source._in_flight is None)
    assert await source.aget()


@pytest.mark.parametrize("body", [{}, {"status": {"token": "x", "expirationTimestamp": "y"}}])
def test_an_answer_without_a_token_is_a_failure(
    issuer: Issuer, source: TokenRequestSource, body: Any
) -> None:
    issuer.script.append(lambda _: (201, body, {}))
    with pytest.raises(NoToken, match="its answer has no token"):
        source.get()


def test_after_close_there_is_no_token(issuer: Issuer, source: TokenRequestSource) -> None:
    source.get()
    source.close()
    with pytest.raises(NoToken, match="is closed"):
        source.get()
    with pytest.raises(NoToken, match="is closed"):
        source.renew("x")


def test_an_answer_that_comes_after_close_is_thrown_away(
    issuer: Issuer, source: TokenRequestSource
) -> None:
    issuer.lag = 0.2
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(source.get)
        wait_for(lambda: issuer.requests)
        source.close()
        assert waiting.result()
    assert source._current is None


def test_a_source_that_nobody_has_is_collected(issuer: Issuer, clock: Clock) -> None:
    source = TokenRequestSource(issuer.api(), CART, clock=clock, pool=(pool := Workers()))
    source.get()
    gone = weakref.ref(source)
    del source

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    wait_for(is_gone, 5)
    del pool


def test_many_keys_need_few_threads(issuer: Issuer, clock: Clock) -> None:
    api, pool, before = issuer.api(), Workers(), threading.active_count()
    issuer.lag = 0.02
    sources = [
        TokenRequestSource(api, TokenRequest("shop", f"a{n}"), clock=clock, pool=pool)
        for n in range(200)
    ]
    with ThreadPoolExecutor(50) as threads:
        futures = [threads.submit(source.get) for source in sources]
        own = sum(thread.name == "boundtoken-tokens" for thread in threading.enumerate())
        assert len({future.result() for future in futures}) == 200
    assert own <= MAX_THREADS + before
    assert len(api._idle) <= 4


def test_a_child_of_fork_goes_on_with_the_token_and_with_a_lock_of_its_own(
    issuer: Issuer, source: TokenRequestSource, clock: Clock
) -> None:
    token = source.get()
    clock.now += 4000
    issuer.lag = 1.0
    busy = threading.Thread(target=source.get)
    busy.start()
    wait_for(lambda: source._in_flight is not None)
    source._lock.acquire()
    try:
        with warnings.catch_warnings():  # of Python 3.12 and newer: it warns of just this
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            signal.alarm(10)
            code = 1
            with contextlib.suppress(BaseException):
                issuer.lag = 0.0
                code = 0 if source.get() != token else 2
            os._exit(code)
    finally:
        source._lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    busy.join()


def test_no_token_is_in_a_text_of_a_source(source: TokenRequestSource) -> None:
    token = source.get()
    assert token not in repr(source) + str(source.__class__) + repr(source.request)


def test_a_child_of_fork_renews_at_another_time_than_its_parent(
    source: TokenRequestSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.get()
    monkeypatch.setattr(module, "_jitter", lambda: 7.0)
    before = source._current
    source.after_fork()
    after = source._current
    assert before is not None
    assert after is not None
    assert before.refresh_at - after.refresh_at == pytest.approx(7.0)
