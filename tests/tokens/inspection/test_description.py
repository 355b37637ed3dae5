"""What a token says of itself, in words and as an object."""

import base64
import json
from typing import Any

import pytest

from tests.support.claims import a_token
from webhook.tokens import NotAToken
from webhook.tokens.inspection.description import MAX_DEPTH, inspect, lines, report

NOW = 1_800_000_000.0
ABOUT = {
    "namespace": "shop",
    "serviceaccount": {"name": "cart", "uid": "u-1"},
    "pod": {"name": "cart-0", "uid": "u-2"},
    "node": {"name": "node-1", "uid": "u-3"},
}
CLAIMS: dict[str, Any] = {
    "aud": ["https://a", "b"],
    "iss": "https://issuer",
    "sub": "system:serviceaccount:shop:cart",
    "iat": NOW - 600,
    "nbf": NOW - 600,
    "exp": NOW + 3000,
    "jti": "id-1",
    "kubernetes.io": ABOUT,
}
HEADER = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"k1"}').decode().rstrip("=")


def token(**changed: Any) -> str:
    return HEADER + a_token(CLAIMS | changed)[len("e30") :]


def words(**changed: Any) -> dict[str, str]:
    return dict(lines(inspect(token(**changed), NOW), NOW))


def findings(**changed: Any) -> dict[str, str]:
    found = inspect(token(**changed), NOW).findings
    return {finding.reason: finding.message for finding in found}


def test_a_good_token_in_words() -> None:
    assert words() == {
        "account": "shop/cart (uid u-1)",
        "bound to": "Pod cart-0 (uid u-2) on Node node-1 (uid u-3)",
        "audiences": "https://a, b",
        "issuer": "https://issuer",
        "issued": "2027-01-15T07:50:00Z, 10m ago",
        "expires": "2027-01-15T08:50:00Z, in 50m; its whole life is 60m",
        "credential": "id-1",
        "signed": "RS256 by key k1",
    }


def test_a_good_token_as_an_object() -> None:
    assert report(inspect(token(), NOW), NOW) == {
        "serviceAccount": {"namespace": "shop", "name": "cart", "uid": "u-1"},
        "subject": "system:serviceaccount:shop:cart",
        "issuer": "https://issuer",
        "audiences": ["https://a", "b"],
        "boundTo": {"kind": "Pod", "name": "cart-0", "uid": "u-2"},
        "node": {"kind": "Node", "name": "node-1", "uid": "u-3"},
        "issuedAt": "2027-01-15T07:50:00Z",
        "notBefore": "2027-01-15T07:50:00Z",
        "expiresAt": "2027-01-15T08:50:00Z",
        "warnAfter": None,
        "lifetimeSeconds": 3600,
        "remainingSeconds": 3000,
        "credentialID": "id-1",
        "algorithm": "RS256",
        "keyID": "k1",
        "findings": [],
        "claims": CLAIMS,
    }


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({}, "nothing: it ends when it expires, or with its account"),
        ({"secret": {"name": "s", "uid": "u"}}, "Secret s (uid u)"),
        ({"node": {"name": "n"}}, "Node n"),
        ({"pod": {"name": "p", "uid": "u"}}, "Pod p (uid u)"),
    ],
)
def test_what_it_is_bound_to(about: dict[str, Any], text: str) -> None:
    account = {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "u-1"}}
    assert words(**{"kubernetes.io": account | about})["bound to"] == text


def test_the_year_of_3607_seconds_is_named() -> None:
    year = {"exp": NOW - 600 + 31_536_000, "kubernetes.io": ABOUT | {"warnafter": NOW + 3007}}
    assert findings(**year) == {
        "extended": "3607 s were requested, which the API server extends: it lives 365d. "
        "From 2027-01-15T08:50:07Z on, its use is audited as stale. Request 3600 s"
    }
    assert report(inspect(token(**year), NOW), NOW)["warnAfter"] == "2027-01-15T08:50:07Z"


LEGACY = {
    "iss": "kubernetes/serviceaccount",
    "kubernetes.io/serviceaccount/namespace": "shop",
    "kubernetes.io/serviceaccount/secret.name": "cart-token",
    "kubernetes.io/serviceaccount/service-account.name": "cart",
    "kubernetes.io/serviceaccount/service-account.uid": "u-1",
    "sub": "system:serviceaccount:shop:cart",
}


def test_a_legacy_token_is_named() -> None:
    found = inspect(a_token(LEGACY), NOW)
    assert [finding.reason for finding in found.findings] == ["legacy"]
    shown = dict(lines(found, NOW))
    assert shown["account"] == "shop/cart (uid u-1)"
    assert shown["bound to"] == "Secret cart-token"
    assert shown["audiences"] == "none"
    assert shown["issued"] == "unknown"
    assert shown["expires"] == "never"
    assert shown["finding"].startswith("a legacy token, of Secret cart-token: it never")


@pytest.mark.parametrize(
    ("changed", "reason", "message"),
    [
        ({"exp": NOW}, "expired", "it has expired, 0s ago"),
        ({"exp": NOW - 7200}, "expired", "it has expired, 120m ago"),
        ({"nbf": NOW + 11}, "not-yet-valid", "it is valid only in 11s"),
        ({"exp": None}, "no-expiry", "it never expires"),
        ({"kubernetes.io": {}}, "not-a-service-account", "it is not of a service account"),
    ],
)
def test_findings(changed: dict[str, Any], reason: str, message: str) -> None:
    assert findings(**changed) == {reason: message}


def test_a_clock_that_is_a_little_behind_finds_nothing() -> None:
    assert findings(iat=NOW + 5, nbf=NOW + 5) == {}
    assert words(iat=NOW + 5)["issued"] == "2027-01-15T08:00:05Z, in 5s"


def test_an_expired_token_says_when() -> None:
    assert words(exp=NOW - 60)["expires"] == ("2027-01-15T07:59:00Z, 60s ago; its whole life is 9m")


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.b.c", "e30.e30", "e30.W10.x", f"x.{a_token({}).split('.')[1]}.x", "x" * 70_000],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(NotAToken):
        inspect(text, NOW)


def test_claims_of_any_shape_can_be_shown() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert report(inspect(token(x=deep), NOW), NOW)["claims"] is None
    odd = {"exp": 253402300799, "iat": 0, "x": "\u202e\x1b[31m", "aud": ["\n"]}
    shown = report(inspect(token(**odd), NOW), NOW)
    assert shown["expiresAt"] == "9999-12-31T23:59:59Z"
    json.dumps(shown)
    assert lines(inspect(token(**odd), NOW), NOW)


def test_no_part_of_the_signature_is_in_what_is_returned() -> None:
    signed = token().rpartition(".")[0] + ".c2VjcmV0LXNpZ25hdHVyZQ"
    found = inspect(signed, NOW)
    for text in (repr(found), json.dumps(report(found, NOW)), repr(lines(found, NOW))):
        assert "c2VjcmV0" not in text
        assert "secret-signature" not in text
