"""What a token says of itself: of a pod, of a node, of a Secret, a legacy one, and none at all."""

import pytest

from tests.support.claims import a_token
from webhook.core.claims import (
    MAX_AUDIENCES,
    MAX_TOKEN_BYTES,
    NotAToken,
    ObjectReference,
    audiences_of,
    claims_of,
)

POD = {
    "aud": ["https://kubernetes.default.svc"],
    "exp": 1_800_031_536,
    "iat": 1_800_000_000,
    "iss": "https://kubernetes.default.svc",
    "jti": "7b1fd1ab",
    "kubernetes.io": {
        "namespace": "shop",
        "node": {"name": "node-1", "uid": "n"},
        "pod": {"name": "cart-0", "uid": "p"},
        "serviceaccount": {"name": "cart", "uid": "a"},
        "warnafter": 1_800_003_607,
    },
    "nbf": 1_800_000_000,
    "sub": "system:serviceaccount:shop:cart",
}


def test_a_token_of_a_pod_is_bound_to_the_pod_and_names_its_node() -> None:
    claims = claims_of(a_token(POD))
    assert (claims.namespace, claims.account, claims.account_uid) == ("shop", "cart", "a")
    assert claims.bound_to == claims.pod == ObjectReference("Pod", "cart-0", "p")
    assert claims.node == ObjectReference("Node", "node-1", "n")
    assert (claims.lifetime_seconds, claims.warn_after) == (31_536, 1_800_003_607)
    assert (claims.audiences, claims.credential_id) == (tuple(POD["aud"]), "7b1fd1ab")  # type: ignore[arg-type]
    assert not claims.is_legacy
    assert str(claims.pod) == "Pod/cart-0"


@pytest.mark.parametrize("kind", ["Secret", "Node"])
def test_a_token_can_be_bound_to_a_secret_or_a_node(kind: str) -> None:
    private = {"namespace": "shop", kind.lower(): {"name": "x", "uid": "u"}}
    claims = claims_of(a_token({"kubernetes.io": private}))
    assert claims.bound_to == ObjectReference(kind, "x", "u")


def test_a_legacy_token_never_expires() -> None:
    claims = claims_of(
        a_token(
            {
                "iss": "kubernetes/serviceaccount",
                "kubernetes.io/serviceaccount/namespace": "shop",
                "kubernetes.io/serviceaccount/secret.name": "cart-token",
                "kubernetes.io/serviceaccount/service-account.name": "cart",
                "kubernetes.io/serviceaccount/service-account.uid": "a",
                "sub": "system:serviceaccount:shop:cart",
            }
        )
    )
    assert claims.is_legacy
    assert (claims.namespace, claims.account, claims.account_uid) == ("shop", "cart", "a")
    assert claims.bound_to == ObjectReference("Secret", "cart-token", "")
    assert (claims.expires_at, claims.lifetime_seconds, claims.audiences) == (None, None, ())


@pytest.mark.parametrize(
    ("audience", "expected"), [("one", ("one",)), (["a", "b"], ("a", "b")), ([], ())]
)
def test_an_audience_may_be_a_text_or_a_list(audience: object, expected: tuple[str, ...]) -> None:
    assert audiences_of(a_token({"aud": audience})) == expected


NO_TOKENS = {
    "empty": "",
    "one part": "abc",
    "four parts": "a.b.c.d",
    "a blank": a_token(POD) + " ",
    "no base64": "e30.!!!!.c2ln",
    "no JSON": a_token(b"{"),
    "no object": a_token([1]),
    "an audience that is a number": a_token({"aud": 7}),
    "an expiry that is a text": a_token({"exp": "tomorrow"}),
    "no UTF-8": a_token(b'{"iss":"\xff"}'),
    "nested": a_token(b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    "too long": "e30." + "A" * MAX_TOKEN_BYTES + ".c2ln",
    "too many audiences": a_token({"aud": ["a"] * (MAX_AUDIENCES + 1)}),
    "a line break in it": "e30.\n.c2ln",
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_said_so_without_quoting_it(text: str) -> None:
    with pytest.raises(NotAToken) as refused:
        claims_of(text)
    assert not text or text not in str(refused.value)
    assert audiences_of(text) == ()
