"""One TokenReview: what its answer says, and what a failure means."""

import json
from typing import Any

import pytest

from tests.support.claims import assembled
from tests.support.reviewing import accepted, refused
from webhook.core.claims import ObjectReference
from webhook.tokens import Identity
from webhook.tokens.review import body, failure, reason_of, reviewed
from webhook.tokens.screening import screen
from webhook.tokens.server import Refusal

NOW = 1_800_000_000
CLAIMS: dict[str, Any] = {
    "aud": ["vault", "cart"],
    "exp": NOW + 3600,
    "jti": "an-id",
    "kubernetes.io": {
        "namespace": "shop",
        "node": {"name": "node-1", "uid": "n"},
        "pod": {"name": "cart-0", "uid": "p"},
        "serviceaccount": {"name": "cart", "uid": "a"},
    },
    "sub": "system:serviceaccount:shop:cart",
}


def outcome(status: Any, claims: dict[str, Any] = CLAIMS, audience: str = "vault") -> Any:
    screened = screen(assembled({"alg": "RS256"}, claims), audience, NOW)
    return reviewed(json.dumps({"status": status}).encode(), screened, audience)


def test_what_is_accepted_is_an_identity() -> None:
    identity = outcome(accepted(CLAIMS, ["vault"]))
    assert identity == Identity(
        namespace="shop",
        account="cart",
        uid="a",
        audiences=("vault", "cart"),
        expires_at=NOW + 3600,
        pod=ObjectReference("Pod", "cart-0", "p"),
        node=ObjectReference("Node", "node-1", "n"),
        credential_id="an-id",
        groups=("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
    )
    assert identity.username == "system:serviceaccount:shop:cart"
    assert (str(identity), identity.bound_to) == ("shop/cart", identity.pod)
    with pytest.raises(AttributeError):
        identity.account = "other"


@pytest.mark.parametrize("kind", ["secret", "node"])
def test_it_may_be_bound_to_a_secret_or_a_node(kind: str) -> None:
    private = {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "a"}}
    claims = {**CLAIMS, "kubernetes.io": {**private, kind: {"name": "x", "uid": "u"}}}
    identity = outcome(accepted(claims, ["vault"]), claims)
    assert identity.bound_to == ObjectReference(kind.title(), "x", "u")


def test_pod_and_node_are_the_api_servers_words_not_the_tokens() -> None:
    status = accepted(CLAIMS, ["vault"])
    status["user"]["extra"] = {}
    identity = outcome(status)
    assert (identity.pod, identity.node, identity.credential_id) == (None, None, "")


@pytest.mark.parametrize("audiences", [None, [], ["cart"], ["vault2"]])
def test_an_authenticator_that_knows_no_audience_is_not_believed(audiences: Any) -> None:
    status = {**accepted(CLAIMS, ["vault"]), "audiences": audiences}
    if audiences is None:
        del status["audiences"]
    assert outcome(status) == "wrong-audience"


@pytest.mark.parametrize(
    "user",
    [
        {"username": "jane"},
        {"username": "system:serviceaccount:shop:other"},
        {"username": ""},
        {"uid": ""},
    ],
)
def test_the_user_must_be_the_account_that_the_token_names(user: dict[str, Any]) -> None:
    status = accepted(CLAIMS, ["vault"])
    status["user"].update(user)
    assert outcome(status) == "not-a-service-account"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("service account token has expired", "expired"),
        ("service account token is not valid yet", "not-yet-valid"),
        ("service account token is issued in the future", "not-yet-valid"),
        ('token audiences ["a"] is invalid for the target audiences ["b"]', "wrong-audience"),
        ("invalid signature, no keys found", "unknown-key"),
        ("go-jose/go-jose: error in cryptographic primitive", "bad-signature"),
        ("service account token has been invalidated", "revoked"),
        ("service account UID (a) does not match claim (b)", "revoked"),
        ('serviceaccounts "cart" not found', "revoked"),
        ("service account shop/cart has been deleted", "revoked"),
        ("something new", "unauthenticated"),
    ],
)
def test_why_it_is_refused_is_read_from_the_error(error: str, reason: str) -> None:
    assert outcome(refused(error)) == reason
    assert outcome({"authenticated": False, "error": error}) == reason_of(error)


def test_without_an_error_it_is_refused_too() -> None:
    assert outcome({}) == "unauthenticated"
    assert outcome({"authenticated": False}) == "unauthenticated"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"status":null}',
        b'{"status":{"authenticated":"true"}}',
        b'{"status":{"authenticated":1}}',
        b'{"status":{"authenticated":true,"audiences":"vault"}}',
        b"<html>",
        b"[" * 100_000,
        b'{"status":{"authenticated":true,"user":{"username":"\xff"}}}',
    ],
)
def test_an_answer_that_is_none_decides_nothing(answer: bytes) -> None:
    screened = screen(assembled({"alg": "RS256"}, CLAIMS), "vault", NOW)
    with pytest.raises(Refusal, match="its answer is no TokenReview"):
        reviewed(answer, screened, "vault")


def test_the_body_names_the_audience() -> None:
    assert json.loads(body("a.b.c", "vault")) == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": "a.b.c", "audiences": ["vault"]},
    }


@pytest.mark.parametrize(
    ("status", "text", "is_general"),
    [
        (0, "TokenReview: no usable answer of the API server: oh", True),
        (401, "TokenReview: 401: oh; this program's own credentials are not accepted", True),
        (403, "TokenReview: 403: oh; needs a ClusterRoleBinding to system:auth-delegator", True),
        (429, "TokenReview: 429: oh", True),
        (503, "TokenReview: 503: oh", True),
        (500, "TokenReview: 500: oh", False),
        (400, "TokenReview: 400: oh", False),
    ],
)
def test_a_failure_says_what_to_do(status: int, text: str, is_general: bool) -> None:
    found = failure(Refusal(status, "oh"), "a.b.c")
    assert (found.text, found.is_general) == (text, is_general)


def test_no_failure_quotes_the_token() -> None:
    text = failure(Refusal(422, "denied: a.b.c is bad" + "x" * 1000), "a.b.c").text
    assert "a.b.c" not in text
    assert len(text) < 400
