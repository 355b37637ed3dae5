"""JwksVerifier: signatures, keys that come and go, and what a token cannot talk it into."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.claims import assembled, encoded
from tests.support.clocks import Clock
from tests.support.issuer import JWKS_PATH, Credentials, Key
from tests.support.processes import free_port
from tests.support.reviewing import EcKey, Reviewer, WeakKey, signed
from tests.support.timing import cpu_time_below
from tests.support.waiting import eventually, wait_for
from webhook.core.claims import ObjectReference
from webhook.tokens import ApiServer, Identity, InvalidToken, JwksVerifier, NotVerified
from webhook.tokens import keyring as module
from webhook.tokens.issuer import DISCOVERY_PATH
from webhook.tokens.keys import MAX_KEYS, MAX_TRIED, NoKeys, key_set
from webhook.tokens.workers import Workers

HEAD = encoded(b'{"kid":"one","alg":"RS256"}')


@pytest.fixture
def issuer(clock: Clock) -> Iterator[Reviewer]:
    with Reviewer(clock) as issuer:
        yield issuer


@pytest.fixture
def verifier(issuer: Reviewer, clock: Clock) -> JwksVerifier:
    return JwksVerifier(issuer.api(), clock=clock)


def reason(verifier: JwksVerifier, token: str, audience: str = "vault") -> str:
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(token, audience=audience)
    assert token not in str(refused.value)
    return refused.value.reason


def fetches(issuer: Reviewer) -> int:
    """How often the keys were fetched."""
    return [path for _, path, _ in issuer.seen].count(JWKS_PATH)


def test_a_signed_token_is_of_its_account_and_says_all_that_a_review_would(
    issuer: Reviewer, verifier: JwksVerifier
) -> None:
    private: dict[str, Any] = {
        "namespace": "shop",
        "node": {"name": "node-1", "uid": "n"},
        "pod": {"name": "cart-0", "uid": "p"},
        "serviceaccount": {"name": "cart", "uid": "a"},
    }
    changed: dict[str, Any] = {"aud": ["vault", "cart"], "kubernetes.io": private}
    token = issuer.token(jti="an-id", **changed)
    identity = verifier.verify(token, audience="vault")
    assert identity == Identity(
        namespace="shop",
        account="cart",
        uid="a",
        audiences=("vault", "cart"),
        expires_at=issuer.clock() + 3600,
        pod=ObjectReference("Pod", "cart-0", "p"),
        node=ObjectReference("Node", "node-1", "n"),
        credential_id="an-id",
        groups=("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
    )
    assert verifier.verify(token, audience="cart") == identity
    assert [path for _, path, _ in issuer.seen] == [DISCOVERY_PATH, JWKS_PATH]


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")],
)
def test_keys_on_curves_sign_too(
    issuer: Reviewer, verifier: JwksVerifier, curve: Any, algorithm: str
) -> None:
    issuer.keys.append(key := EcKey("curve", curve))
    token = signed(key, issuer.claims(aud=["vault"]), algorithm)
    assert verifier.verify(token, audience="vault")
    for other in {"ES256", "ES384", "ES512"} - {algorithm}:
        header = {"alg": other, "kid": "curve"}
        assert reason(verifier, assembled(header, issuer.claims(aud=["vault"]))) == "bad-algorithm"


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS384"])
def test_an_rsa_key_is_for_the_algorithm_that_its_entry_names(
    issuer: Reviewer, clock: Clock, algorithm: str
) -> None:
    class Unnamed(Key):
        def public(self) -> Any:
            entry = super().public()
            del entry["alg"]
            return entry

    issuer.keys.append(unnamed := Unnamed("two"))
    verifier = JwksVerifier(issuer.api(), clock=clock)
    claims = issuer.claims(aud=["vault"])
    assert verifier.verify(signed(unnamed, claims, algorithm), audience="vault")
    named = signed(issuer.keys[0], claims, algorithm)
    if algorithm == "RS256":
        assert verifier.verify(named, audience="vault")
    else:
        assert reason(verifier, named) == "bad-algorithm"


def test_a_forged_signature_is_refused(issuer: Reviewer, verifier: JwksVerifier) -> None:
    token = issuer.token(aud=["vault"])
    head, payload, signature = token.split(".")
    claims = encoded(json.dumps(issuer.claims(aud=["vault"], exp=2**33)).encode())
    other = signed(Key("one"), issuer.claims(aud=["vault"]))
    for forged in (
        f"{head}.{claims}.{signature}",
        f"{head}.{payload}.{encoded(b'x' * 256)}",
        f"{head}.{payload}.{encoded(b'x')}",
        f"{head}.{payload}.{signature}AAAA",
        f"{HEAD}.{payload}.{signature}",
        other,
    ):
        assert reason(verifier, forged) == "bad-signature"


def test_a_public_key_is_no_secret(issuer: Reviewer, verifier: JwksVerifier) -> None:
    """HS256 with the public key as the secret, in each text that a library may take it for."""
    public = issuer.keys[0].private.public_key()
    claims = issuer.claims(aud=["vault"])
    for encoding, form in [
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
    ]:
        secret = public.public_bytes(encoding, form)
        for algorithm in ("HS256", "RS256"):
            token = assembled({"alg": algorithm, "kid": "one"}, claims, b"")
            digest = hmac.digest(secret, token.rstrip(".").encode(), hashlib.sha256)
            forged = token + encoded(digest)
            expected = "bad-algorithm" if algorithm == "HS256" else "bad-signature"
            assert reason(verifier, forged) == expected


def test_a_key_that_a_token_brings_is_ignored(issuer: Reviewer, verifier: JwksVerifier) -> None:
    own = Key("one")
    with Reviewer(issuer.clock) as attacker:
        attacker.keys = [own]
        headers: list[dict[str, Any]] = [
            {"jwk": own.public()},
            {"jku": attacker.url + JWKS_PATH},
            {"x5u": attacker.url + "/certificate"},
            {"x5c": ["MIIB"]},
        ]
        for header in headers:
            token = signed(own, issuer.claims(aud=["vault"]), **header)
            assert reason(verifier, token) == "bad-signature"
            token = signed(own, issuer.claims(aud=["vault"]), **{**header, "kid": "mine"})
            assert reason(verifier, token) == "unknown-key"
        assert attacker.seen == []
    fine = signed(issuer.keys[0], issuer.claims(aud=["vault"]), **headers[0])
    assert verifier.verify(fine, audience="vault")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"iss": "https://other.example"}, "wrong-issuer"),
        ({"iss": ""}, "wrong-issuer"),
        ({"aud": ["other"]}, "wrong-audience"),
        ({"aud": []}, "wrong-audience"),
        ({"exp": 1_799_999_000}, "expired"),
        ({"nbf": 1_800_000_011}, "not-yet-valid"),
        ({"iat": 1_800_000_011}, "not-yet-valid"),
        ({"sub": "system:serviceaccount:kube-system:cart"}, "not-a-service-account"),
        ({"kubernetes.io": {}}, "not-a-service-account"),
        ({"jti": 7}, "malformed"),
        ({"exp": None}, "malformed"),
    ],
)
def test_what_is_signed_must_be_right_too(
    issuer: Reviewer, verifier: JwksVerifier, changed: dict[str, Any], expected: str
) -> None:
    assert reason(verifier, issuer.token(**{"aud": ["vault"], **changed})) == expected


def test_a_claim_that_stands_twice_is_refused(issuer: Reviewer, verifier: JwksVerifier) -> None:
    claims = json.dumps(issuer.claims(aud=["vault"]))
    for before, after in [
        ('{"aud"', '{"aud": "vault", "aud"'),
        ('"namespace": "shop"', '"namespace": "kube-system", "namespace": "shop"'),
    ]:
        assert before in claims
        twice = encoded(claims.replace(before, after, 1).encode())
        assert reason(verifier, signed_text(issuer.keys[0], f"{HEAD}.{twice}")) == "malformed"
    once = signed_text(issuer.keys[0], f"{HEAD}.{encoded(claims.encode())}")
    assert verifier.verify(once, audience="vault")


def signed_text(key: Key, text: str) -> str:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signature = key.private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{encoded(signature)}"


def test_a_token_may_name_no_key(issuer: Reviewer, verifier: JwksVerifier) -> None:
    issuer.keys.append(second := Key("two"))
    unnamed = signed(second, issuer.claims(aud=["vault"]), kid="")
    assert verifier.verify(unnamed, audience="vault")
    assert (
        reason(verifier, signed(Key("x"), issuer.claims(aud=["vault"]), kid="")) == "bad-signature"
    )
    assert fetches(issuer) == 1


def test_a_token_without_a_key_id_costs_few_signatures(
    issuer: Reviewer, verifier: JwksVerifier
) -> None:
    issuer.keys = [Key(str(n)) for n in range(3)] * 4
    last = Key("last")
    issuer.keys.append(last)
    assert len(issuer.keys) > MAX_TRIED
    assert reason(verifier, signed(last, issuer.claims(aud=["vault"]), kid="")) == "bad-signature"
    assert verifier.verify(signed(last, issuer.claims(aud=["vault"])), audience="vault")


def test_two_keys_may_have_one_id(issuer: Reviewer, verifier: JwksVerifier) -> None:
    issuer.keys = [Key("same"), Key("same")]
    for key in issuer.keys:
        assert verifier.verify(signed(key, issuer.claims(aud=["vault"])), audience="vault")


def test_a_key_that_is_not_known_is_fetched_once_and_not_again_at_once(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    verifier.verify(issuer.token(aud=["vault"]), audience="vault")
    clock.now += 10
    issuer.keys.append(new := Key("new"))
    token = signed(new, issuer.claims(aud=["vault"]))
    assert verifier.verify(token, audience="vault")
    assert fetches(issuer) == 2
    for number in range(1000):
        made_up = assembled({"alg": "RS256", "kid": f"k{number}"}, issuer.claims(aud=["vault"]))
        assert reason(verifier, made_up) == "unknown-key"
    assert fetches(issuer) == 2
    clock.now += 10
    assert reason(verifier, made_up) == "unknown-key"
    assert fetches(issuer) == 3
    issuer.keys.append(newer := Key("newer"))
    token = signed(newer, issuer.claims(aud=["vault"]))
    assert reason(verifier, token) == "unknown-key"
    clock.now += 10
    assert verifier.verify(token, audience="vault")


def test_tokens_of_another_issuer_do_not_hammer_it(
    issuer: Reviewer, verifier: JwksVerifier
) -> None:
    for number in range(100):
        claims = issuer.claims(aud=["vault"], iss=f"https://{number}.example")
        assert reason(verifier, assembled({"alg": "RS256", "kid": "one"}, claims)) == "wrong-issuer"
    assert fetches(issuer) == 1


def test_an_issuer_that_gets_another_name_is_learnt(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    verifier.verify(issuer.token(aud=["vault"]), audience="vault")
    clock.now += 10
    old, issuer.url = issuer.url, "https://new.example"
    assert verifier.verify(issuer.token(aud=["vault"]), audience="vault")
    assert reason(verifier, issuer.token(aud=["vault"], iss=old)) == "wrong-issuer"


def test_keys_are_fetched_every_hour_and_a_key_that_is_gone_signs_no_more(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    token = issuer.token(aud=["vault"], exp=int(clock.now) + 100_000)
    verifier.verify(token, audience="vault")
    issuer.keys = [Key("new")]
    clock.now += 3599
    verifier.verify(token, audience="vault")
    assert fetches(issuer) == 1
    clock.now += 1
    assert verifier.verify(token, audience="vault")  # by the old ones: nobody waits
    wait_for(lambda: verifier._keyring._since == clock.now)
    assert reason(verifier, token) == "unknown-key"


def test_old_keys_serve_for_a_day_while_the_issuer_is_away(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock, caplog: Any
) -> None:
    token = issuer.token(aud=["vault"], exp=int(clock.now) + 200_000)
    verifier.verify(token, audience="vault")
    issuer.broken = True
    start = clock.now
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        while clock.now < start + 84_000:
            clock.now += 3000
            assert verifier.verify(token, audience="vault")
            wait_for(lambda: verifier._keyring._in_flight is None, every=0.001)
    assert "keys of the API server: 503: away" in caplog.text
    unknown = signed(Key("new"), issuer.claims(aud=["vault"]))
    with pytest.raises(NotVerified, match="503: away") as failed:
        verifier.verify(unknown, audience="vault")
    assert 0 <= failed.value.retry_after <= 12.5
    clock.now = start + 86_400
    with pytest.raises(NotVerified, match="keys of the API server: 503: away"):
        verifier.verify(token, audience="vault")
    issuer.broken = False
    clock.now += 13
    assert verifier.verify(token, audience="vault")


def test_without_keys_it_is_tried_again_after_seconds(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    issuer.broken = True
    token = issuer.token(aud=["vault"])
    for _ in range(100):
        with pytest.raises(NotVerified) as failed:
            verifier.verify(token, audience="vault")
    assert 1 <= failed.value.retry_after <= 1.25
    assert len(issuer.seen) == 1
    issuer.broken = False
    clock.now += 1.3
    assert verifier.verify(token, audience="vault")
    unknown = signed(Key("new"), issuer.claims(aud=["vault"]))
    assert reason(verifier, unknown) == "unknown-key"  # it is back: what it does not know is none


@pytest.mark.parametrize("jump", [-86_400.0, -800_000_000.0])
def test_a_clock_that_is_set_back_fetches_and_waits_for_no_day(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock, jump: float
) -> None:
    times: dict[str, Any] = {"iat": 0, "nbf": 0, "exp": 2_000_000_000}
    known = issuer.token(aud=["vault"], **times)
    verifier.verify(known, audience="vault")
    clock.now += jump
    verifier.verify(known, audience="vault")
    clock.now += 3600
    verifier.verify(known, audience="vault")
    wait_for(lambda: fetches(issuer) == 2 and verifier._keyring._in_flight is None)
    clock.now += jump
    issuer.keys.append(new := Key("new"))
    token = signed(new, issuer.claims(aud=["vault"], **times))
    assert verifier.verify(token, audience="vault")
    clock.now += 3600
    before = fetches(issuer)
    verifier.verify(token, audience="vault")
    wait_for(lambda: fetches(issuer) == before + 1)


def test_a_clock_that_leaps_a_year_fetches_first(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    token = issuer.token(aud=["vault"], exp=int(clock.now) + 100_000_000)
    verifier.verify(token, audience="vault")
    issuer.keys = [Key("new")]
    clock.now += 31_536_000
    assert reason(verifier, token) == "unknown-key"


async def test_one_fetch_for_all(issuer: Reviewer, verifier: JwksVerifier) -> None:
    issuer.page_lag = 0.2
    token = issuer.token(aud=["vault"])
    found = await asyncio.gather(
        *(verifier.averify(token, audience="vault") for _ in range(2000)),
        *(asyncio.to_thread(verifier.verify, token, audience="vault") for _ in range(5)),
    )
    assert (len(found), fetches(issuer)) == (2005, 1)


async def test_a_slow_issuer_keeps_nobody_whose_key_is_known(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    token = issuer.token(aud=["vault"])
    verifier.verify(token, audience="vault")
    issuer.page_lag = 2.0
    clock.now += 10
    unknown = assembled({"alg": "RS256", "kid": "x"}, issuer.claims(aud=["vault"]))
    before = threading.active_count()
    waiting = [
        asyncio.create_task(verifier.averify(unknown, audience="vault")) for _ in range(1000)
    ]
    await asyncio.sleep(0.05)
    start = time.monotonic()
    for _ in range(100):
        verifier.verify(token, audience="vault")
    assert time.monotonic() - start < 1.5
    assert threading.active_count() <= before + 3
    for problem in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(problem, InvalidToken)
    assert fetches(issuer) == 2


async def test_nobody_waits_for_ever(
    issuer: Reviewer, verifier: JwksVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    issuer.page_lag = 0.3
    token = issuer.token(aud=["vault"])
    with pytest.raises(NotVerified, match="keys of the API server: no answer within 0 s"):
        verifier.verify(token, audience="vault")
    with pytest.raises(NotVerified, match="no answer within"):
        await verifier.averify(token, audience="vault")
    await eventually(lambda: verifier._keyring._in_flight is None)
    assert await verifier.averify(token, audience="vault")


def test_who_may_not_read_the_keys_is_told_what_it_needs(
    issuer: Reviewer, verifier: JwksVerifier
) -> None:
    issuer.pages[DISCOVERY_PATH] = lambda: issuer.refuse(403, "forbidden: cannot get path")
    with pytest.raises(NotVerified, match="needs a ClusterRoleBinding to system:service-account-i"):
        verifier.verify(issuer.token(aud=["vault"]), audience="vault")


def test_nobody_there_is_said_so(clock: Clock, issuer: Reviewer) -> None:
    nobody = ApiServer(Credentials(f"http://127.0.0.1:{free_port()}"), 0.5)
    with pytest.raises(NotVerified, match="keys of the API server: GET .* refused"):
        JwksVerifier(nobody, clock=clock).verify(issuer.token(aud=["vault"]), audience="vault")


NO_DOCUMENTS: dict[str, tuple[Any, Any, str]] = {
    "a list": ([], None, "no discovery document"),
    "no issuer": ({}, None, "no discovery document"),
    "an empty issuer": ({"issuer": ""}, None, "has no issuer"),
    "a long issuer": ({"issuer": "x" * 3000}, None, "has no issuer"),
    "no keys": (None, {"keys": []}, "a key set without a key"),
    "keys that are no list": (None, {"keys": 1}, "no key set"),
    "no key set": (None, [], "no key set"),
    "too many keys": (None, {"keys": [{}] * (MAX_KEYS + 1)}, "101 keys"),
    "keys of other kinds": (
        None,
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}, {"kty": "OKP"}, 7, None, "x"]},
        "a key set without a key",
    ),
}


@pytest.mark.parametrize(("document", "keys", "text"), NO_DOCUMENTS.values(), ids=NO_DOCUMENTS)
def test_an_issuer_that_answers_nonsense_verifies_nothing(
    issuer: Reviewer, verifier: JwksVerifier, document: Any, keys: Any, text: str
) -> None:
    if document is not None:
        issuer.pages[DISCOVERY_PATH] = lambda: (200, document, {})
    if keys is not None:
        issuer.pages[JWKS_PATH] = lambda: (200, keys, {})
    with pytest.raises(NotVerified, match=text):
        verifier.verify(issuer.token(aud=["vault"]), audience="vault")


def test_nonsense_does_not_replace_good_keys(
    issuer: Reviewer, verifier: JwksVerifier, clock: Clock
) -> None:
    token = issuer.token(aud=["vault"], exp=int(clock.now) + 100_000)
    verifier.verify(token, audience="vault")
    issuer.pages[JWKS_PATH] = lambda: (200, {"keys": []}, {})
    clock.now += 3600
    verifier.verify(token, audience="vault")
    wait_for(lambda: verifier._keyring._failure)
    assert verifier.verify(token, audience="vault")


def test_one_bad_entry_does_not_take_the_good_ones_with_it(issuer: Reviewer) -> None:
    good = issuer.keys[0].public()
    entries: list[Any] = [
        {**good, "kid": "encrypts", "use": "enc"},
        {**good, "kid": "symmetric", "kty": "oct"},
        {**good, "kid": "secret", "alg": "HS256"},
        {**good, "kid": "none", "alg": "none"},
        {**good, "kid": "other", "alg": "ES256"},
        {**good, "kid": "broken", "n": "!"},
        {**good, "kid": "huge", "n": "A" * 100_000},
        {**good, "kid": "slow", "e": "A" * 300 + "AQAB"},
        {**good, "kid": 7},
        {**good, "kid": "no-number", "n": 1},
        {**WeakKey("weak").public()},
        {**EcKey("off-curve").public(), "y": encoded(b"\x01" * 32)},
        {**EcKey("koblitz").public(), "crv": "secp256k1"},
        [],
        good,
    ]
    keys = key_set("x", json.dumps({"keys": entries}).encode())
    assert list(keys.by_id) == ["one"]
    assert keys.by_id["one"][0].algorithms == {"RS256"}


def test_a_private_key_in_a_key_set_stays_unread(issuer: Reviewer) -> None:
    entry = {**issuer.keys[0].public(), "d": "AQAB", "p": "AQAB", "q": "AQAB"}
    (key,) = key_set("x", json.dumps({"keys": [entry]}).encode()).by_id["one"]
    assert key.public == issuer.keys[0].private.public_key()


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"keys":' + b"[" * 5000])
def test_bytes_that_are_no_key_set(body: bytes) -> None:
    with pytest.raises(NoKeys, match="no key set"):
        key_set("x", body)


@pytest.mark.parametrize("seconds", [-1, 3601, float("nan")])
def test_how_far_clocks_may_differ_has_a_bound(issuer: Reviewer, seconds: float) -> None:
    with pytest.raises(ValueError, match="leeway: .* must be 0 to 3600 seconds"):
        JwksVerifier(issuer.api(), leeway=seconds)


def test_without_pyjwt_the_extra_is_named(
    issuer: Reviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'boundtoken\[jwks\]'"):
        JwksVerifier(issuer.api())


@pytest.mark.parametrize("audience", ["", None, ["vault"]])
def test_an_empty_audience_is_a_mistake_of_the_program(
    verifier: JwksVerifier, audience: Any
) -> None:
    with pytest.raises(ValueError, match="audience: .* must be a text of 1 to 4096 bytes"):
        verifier.verify("a.b.c", audience=audience)


async def test_garbage_is_refused_without_a_call(issuer: Reviewer, verifier: JwksVerifier) -> None:
    garbage: list[Any] = ["", "x", "a.b.c", None, b"a.b.c", "A" * 1_000_000, "\u00e9.b.c"]
    for token in garbage:
        with pytest.raises(InvalidToken, match="malformed"):
            verifier.verify(token, audience="vault")
        with pytest.raises(InvalidToken, match="malformed"):
            await verifier.averify(token, audience="vault")
    assert issuer.seen == []


def test_ten_thousand_forged_tokens_cost_a_signature_each(
    issuer: Reviewer, verifier: JwksVerifier
) -> None:
    header = {"alg": "RS256", "kid": "one"}
    tokens = [assembled(header, issuer.claims(aud=["vault"]), b"x" * 256) for _ in range(10_000)]
    with cpu_time_below(5):
        for token in tokens:
            with contextlib.suppress(InvalidToken):
                verifier.verify(token, audience="vault")
                raise AssertionError("accepted")
    assert len(issuer.seen) == 2


def test_a_child_of_fork_goes_on_with_the_keys_and_a_lock_of_its_own(
    issuer: Reviewer, clock: Clock
) -> None:
    verifier = JwksVerifier(issuer.api(), clock=clock, pool=Workers())
    token = issuer.token(aud=["vault"])
    verifier.verify(token, audience="vault")
    clock.now += 10
    issuer.page_lag = 0.5
    unknown = assembled({"alg": "RS256", "kid": "x"}, issuer.claims(aud=["vault"]))
    busy = threading.Thread(target=lambda: reason(verifier, unknown))
    busy.start()
    wait_for(lambda: verifier._keyring._in_flight is not None)
    verifier._keyring._lock.acquire()
    try:
        with warnings.catch_warnings():  # of Python 3.12 and newer: it warns of just this
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            signal.alarm(10)
            code = 1
            with contextlib.suppress(BaseException):
                verifier.verify(token, audience="vault")
                code = 0 if reason(verifier, unknown) == "unknown-key" else 2
            os._exit(code)
    finally:
        verifier._keyring._lock.release()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    busy.join()


def test_without_threads_it_cannot_be_verified(issuer: Reviewer, clock: Clock) -> None:
    class NoThreads(Workers):
        def submit(self, job: Any) -> None:  # noqa: ARG002
            raise RuntimeError("can't start new thread")

    verifier = JwksVerifier(issuer.api(), clock=clock, pool=NoThreads())
    with pytest.raises(NotVerified, match="no thread can be started"):
        verifier.verify(issuer.token(aud=["vault"]), audience="vault")
