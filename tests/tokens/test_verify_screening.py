"""The local check: what is refused before anybody is asked, and that it accepts nothing."""

import json
import string
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.claims import assembled
from tests.support.paths import ROOT
from tests.support.timing import cpu_time_below
from webhook.tokens import InvalidToken
from webhook.tokens.errors import EXPLANATIONS, REASONS
from webhook.tokens.screening import (
    ALGORITHMS,
    MAX_HEADER_CHARS,
    MAX_TOKEN_CHARS,
    Screened,
    check_audience,
    screen,
)

NOW = 1_800_000_000
HEADER = {"alg": "RS256", "kid": "one"}
CLAIMS: dict[str, Any] = {
    "aud": ["vault", "cart"],
    "exp": NOW + 3600,
    "iat": NOW,
    "iss": "https://issuer.example",
    "jti": "an-id",
    "kubernetes.io": {
        "namespace": "shop",
        "node": {"name": "node-1", "uid": "n"},
        "pod": {"name": "cart-0", "uid": "p"},
        "serviceaccount": {"name": "cart", "uid": "a"},
    },
    "nbf": NOW,
    "sub": "system:serviceaccount:shop:cart",
}


def checked(
    header: Any = HEADER, *, audience: str = "vault", now: float = NOW, **claims: Any
) -> Screened:
    whole = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return screen(assembled(header, whole), audience, now)


def reason(token: Any, audience: str = "vault", now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as refused:
        screen(token, audience, now)
    assert refused.value.reason in REASONS
    if isinstance(token, str) and len(token) > 10:
        assert token not in str(refused.value)
    return refused.value.reason


def test_a_token_against_which_nothing_speaks_is_told_in_parts() -> None:
    screened = checked()
    assert (screened.algorithm, screened.key_id, screened.expires_at) == (
        "RS256",
        "one",
        NOW + 3600,
    )
    assert screened.claims.namespace == "shop"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_with_a_private_key_passes(algorithm: str) -> None:
    assert checked({"alg": algorithm}).key_id == ""


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS512", "EdDSA", "ES256K", "", "rs256"]
)
def test_no_other_algorithm_does(algorithm: str) -> None:
    assert reason(assembled({"alg": algorithm}, CLAIMS)) == "bad-algorithm"


def test_alg_none_without_a_signature_is_told_as_such() -> None:
    assert reason(assembled({"alg": "none"}, CLAIMS, b"")) == "bad-algorithm"


MALFORMED = {
    "nothing": "",
    "no JWT": "abc",
    "a static token": "74685659a2e1ace0671e50b0bcbec7f9",
    "no text": None,
    "bytes": assembled(HEADER, CLAIMS).encode(),
    "two parts": assembled(HEADER, CLAIMS).rpartition(".")[0],
    "four parts": assembled(HEADER, CLAIMS) + ".x",
    "five parts, encrypted": "e30.e30.e30.e30.e30",
    "no signature": assembled(HEADER, CLAIMS, b""),
    "padded": assembled(HEADER, CLAIMS) + "==",
    "a blank": assembled(HEADER, CLAIMS) + " ",
    "a line break": assembled(HEADER, CLAIMS) + "\n",
    "other letters": assembled(HEADER, CLAIMS) + "\u00e9",
    "characters that Python's base64 passes over": assembled(HEADER, CLAIMS).replace(".", ".!", 1),
    "a header that is no JSON": assembled(b"{", CLAIMS),
    "a header that is a list": assembled([1], CLAIMS),
    "no algorithm": assembled({"kid": "one"}, CLAIMS),
    "an algorithm that is a list": assembled({"alg": ["RS256"]}, CLAIMS),
    "a key id that is a number": assembled({"alg": "RS256", "kid": 1}, CLAIMS),
    "a key id that is long": assembled({"alg": "RS256", "kid": "k" * 257}, CLAIMS),
    "an extension": assembled({**HEADER, "crit": ["x"], "x": 1}, CLAIMS),
    "an empty list of extensions": assembled({**HEADER, "crit": []}, CLAIMS),
    "a detached payload": assembled({**HEADER, "b64": False}, CLAIMS),
    "a nested header": assembled(b'{"alg":"RS256","x":' + b"[" * 1400 + b"]" * 1400 + b"}", CLAIMS),
    "a huge header": assembled({**HEADER, "x5c": "x" * MAX_HEADER_CHARS}, CLAIMS),
    "a huge token": assembled(HEADER, {**CLAIMS, "x": "x" * MAX_TOKEN_CHARS}),
    "ten megabytes": "e30." + "A" * 10_000_000 + ".c2ln",
    "claims that are no JSON": assembled(HEADER, b"{"),
    "nested claims": assembled(HEADER, b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "an expiry that is a text": assembled(HEADER, {**CLAIMS, "exp": str(NOW + 3600)}),
    "an expiry that is true": assembled(HEADER, {**CLAIMS, "exp": True}),
    "an expiry beyond numbers": assembled(HEADER, b'{"exp":1e999}'),
    "an audience that is a number": assembled(HEADER, {**CLAIMS, "aud": 1}),
    "an audience in an object": assembled(HEADER, {**CLAIMS, "aud": {"vault": 1}}),
    "a thousand and one audiences": assembled(HEADER, {**CLAIMS, "aud": ["vault"] * 1001}),
    "no expiry": assembled(HEADER, {**CLAIMS, "exp": None}),
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED)
def test_what_no_api_server_writes_is_malformed(token: Any) -> None:
    limit = sys.getrecursionlimit()  # Hypothesis raises it
    sys.setrecursionlimit(1000)
    try:
        assert reason(token) == "malformed"
    finally:
        sys.setrecursionlimit(limit)


def test_a_signature_has_one_text_only() -> None:
    token = assembled(HEADER, CLAIMS, b"\x00" * 256)
    assert token.endswith("A")
    assert reason(token[:-1] + "B") == "malformed"


def test_a_key_that_a_token_brings_itself_is_not_looked_at() -> None:
    own: dict[str, Any] = {"jwk": {"kty": "oct"}, "jku": 1, "x5u": [], "x5c": {}, "x5t": None}
    assert checked({**HEADER, **own}) == checked()


NOT_OF_AN_ACCOUNT = {
    "no claim": {"kubernetes.io": None},
    "no namespace": {"kubernetes.io": {"serviceaccount": {"name": "cart", "uid": "a"}}},
    "no account": {"kubernetes.io": {"namespace": "shop"}},
    "another subject": {"sub": "system:serviceaccount:shop:other"},
    "a person": {"sub": "jane"},
    "no subject": {"sub": None},
    "a namespace that is none": {
        "sub": "system:serviceaccount:a/b:cart",
        "kubernetes.io": {"namespace": "a/b", "serviceaccount": {"name": "cart"}},
    },
    "an account with a colon": {
        "sub": "system:serviceaccount:shop:a:b",
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "a:b"}},
    },
    "a long account": {
        "sub": f"system:serviceaccount:shop:{'a' * 254}",
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "a" * 254}},
    },
}


@pytest.mark.parametrize("claims", NOT_OF_AN_ACCOUNT.values(), ids=NOT_OF_AN_ACCOUNT)
def test_a_token_must_be_of_a_service_account(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken) as refused:
        checked(**claims)
    assert refused.value.reason == "not-a-service-account"


@pytest.mark.parametrize(
    ("audiences", "passes"),
    [
        ("vault", True),
        (["vault"], True),
        (["other", "vault"], True),
        ("vaul", False),
        ("vault ", False),
        ("xvaultx", False),
        (["Vault"], False),
        ([], False),
        ("", False),
        ([""], False),
        (None, False),
    ],
)
def test_the_audience_must_be_among_those_of_the_token(audiences: Any, passes: bool) -> None:
    if passes:
        assert "vault" in checked(aud=audiences).claims.audiences
    else:
        with pytest.raises(InvalidToken) as refused:
            checked(aud=audiences)
        assert refused.value.reason == "wrong-audience"


@pytest.mark.parametrize(
    ("claims", "seconds", "reason"),
    [
        pytest.param({}, 3609, None, id="within the leeway after its end"),
        pytest.param({}, 3610, "expired", id="after the leeway"),
        pytest.param({}, -10, None, id="within the leeway before its start"),
        pytest.param({}, -11, "not-yet-valid", id="before it"),
        pytest.param({"nbf": None}, -11, "not-yet-valid", id="issued in the future"),
        pytest.param({"nbf": None, "iat": None}, -9999, None, id="it does not say since when"),
        pytest.param({"exp": NOW + 0.5}, 10.4, None, id="a fraction of a second"),
        pytest.param({"exp": -1}, 0, "malformed", id="before 1970"),
        pytest.param({"exp": 1e300}, 0, "malformed", id="an expiry after all clocks"),
        pytest.param({"exp": 0}, 0, "expired", id="zero is a time"),
    ],
)
def test_its_times_are_judged_with_a_leeway(
    claims: dict[str, Any], seconds: float, reason: str | None
) -> None:
    if reason is None:
        assert checked(now=NOW + seconds, **claims)
    else:
        with pytest.raises(InvalidToken) as refused:
            checked(now=NOW + seconds, **claims)
        assert refused.value.reason == reason


@pytest.mark.parametrize("audience", ["", None, ["vault"], b"vault", "x" * 4097, "\ud800"])
def test_an_audience_of_a_service_is_a_text(audience: Any) -> None:
    with pytest.raises(ValueError, match="audience|surrogates"):
        check_audience(audience)


def test_the_longest_names_pass() -> None:
    name = "a" * 253
    private = {
        "namespace": "n" * 63,
        **{kind: {"name": name, "uid": "u" * 36} for kind in ("serviceaccount", "pod", "node")},
    }
    claims: dict[str, Any] = {
        "sub": f"system:serviceaccount:{'n' * 63}:{name}",
        "kubernetes.io": private,
    }
    assert checked(**claims).claims.account == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
PARTS = st.one_of(
    st.binary(), JSON, st.fixed_dictionaries({}, optional=dict.fromkeys(CLAIMS, JSON))
)


@given(PARTS, PARTS, st.binary(min_size=1))
def test_whatever_is_sent_is_refused_or_told_in_parts(header: Any, claims: Any, end: bytes) -> None:
    for given_header in (header, HEADER):
        try:
            screen(assembled(given_header, claims, end), "vault", NOW)
        except InvalidToken as problem:
            assert problem.reason in REASONS


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    assert reason(text) in ("malformed", "bad-algorithm")


def test_garbage_costs_microseconds() -> None:
    tokens = [assembled(HEADER, {**CLAIMS, "jti": str(n), "aud": "other"}) for n in range(2000)]
    with cpu_time_below(0.5):
        for token in tokens:
            assert reason(token) == "wrong-audience"


def test_explanations_may_stand_in_a_header() -> None:
    assert tuple(EXPLANATIONS) == REASONS
    for text in EXPLANATIONS.values():
        assert text.isascii()
        assert text.isprintable()
        assert not set('"\\,') & set(text)


def test_the_page_has_every_reason_in_its_order() -> None:
    page = (ROOT / "docs/tokens.md").read_text()
    rows = [f"| `{reason}` | {EXPLANATIONS[reason]} |" for reason in REASONS]
    assert "\n".join(rows) in page


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("blanks", range(3))
def test_a_header_and_claims_have_one_text_only(part: int, blanks: int) -> None:
    """Unused bits of a last character: the API server reads the same, a cache another token."""
    both = [json.dumps(given).encode() + b" " * blanks for given in (HEADER, CLAIMS)]
    parts = assembled(*both).split(".")
    screen(".".join(parts), "vault", NOW)
    if len(parts[part]) % 4:
        alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
        parts[part] = parts[part][:-1] + alphabet[alphabet.index(parts[part][-1]) + 1]
        assert reason(".".join(parts)) == "malformed"
