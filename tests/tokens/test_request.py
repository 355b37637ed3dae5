"""What a TokenRequest may ask for, what it posts, and what a refusal is told to mean."""

import json
from typing import Any

import pytest

from webhook.tokens import ObjectReference, RequestRefused, TokenRequest
from webhook.tokens.request import MAX_AUDIENCES, explained, is_gone, issued, remembered
from webhook.tokens.server import Refusal

POD = ObjectReference("Pod", "cart-0", "uid-1")


def test_it_posts_what_the_api_server_reads() -> None:
    request = TokenRequest("shop", "cart", ("vault",), 900, POD)
    assert request.path == "/api/v1/namespaces/shop/serviceaccounts/cart/token"
    assert json.loads(request.body()) == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": ["vault"],
            "expirationSeconds": 900,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": "cart-0",
                "uid": "uid-1",
            },
        },
    }
    plain = json.loads(TokenRequest("shop", "cart").body())["spec"]
    assert plain == {"audiences": None, "expirationSeconds": 3600, "boundObjectRef": None}


@pytest.mark.parametrize("audiences", ["vault", ["vault"], ("vault",)])
def test_audiences_are_one_or_many_and_equal_requests_are_one_key(audiences: Any) -> None:
    assert {TokenRequest("shop", "cart", audiences): 1} == {
        TokenRequest("shop", "cart", ("vault",)): 1
    }


WRONG: dict[str, tuple[tuple[Any, ...], str]] = {
    "a path": (("shop", "../x"), "account: '../x' must be a name"),
    "upper case": (("Shop", "cart"), "namespace: 'Shop'"),
    "no text": ((None, "cart"), "namespace: None"),
    "a long name": (("shop", "c" * 254), "account: 'ccc"),
    "an empty audience": (("shop", "cart", ("",)), "audiences: ''"),
    "an audience that is no text": (("shop", "cart", (7,)), "audiences: 7"),
    "too many": (("shop", "cart", ("a",) * (MAX_AUDIENCES + 1)), "at most 64"),
    "too short": (("shop", "cart", (), 599), "expiration_seconds: 599"),
    "too long": (("shop", "cart", (), 2**32 + 1), "600 to 4294967296"),
    "no number": (("shop", "cart", (), "3600"), "expiration_seconds: '3600'"),
    "no audiences": (("shop", "cart", None), "audiences: None"),
    "half a character": (("shop", "cart", ("\ud800",)), "must be a printable text"),
    "a bound dict": (("shop", "cart", (), 600, {"kind": "Pod"}), "must be an ObjectReference"),
    "a truth": (("shop", "cart", (), True), "expiration_seconds: True"),
    "another kind": (
        ("shop", "cart", (), 600, ObjectReference("Job", "x", "u")),
        "Pod, Secret, Node",
    ),
    "a bad bound name": (
        ("shop", "cart", (), 600, ObjectReference("Pod", "/", "u")),
        "bound_to: '/'",
    ),
}


@pytest.mark.parametrize(("given", "text"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_names_place_value_and_what_is_right(
    given: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        TokenRequest(*given)
    assert text in str(refused.value)
    assert len(str(refused.value)) < 250


RBAC = 'serviceaccounts "cart" is forbidden: User "x" cannot create resource "serviceaccounts/token" in API group "" in the namespace "shop"'
MEANINGS = [
    (Refusal(403, RBAC), "resourceNames: [cart], verbs: [create]"),
    (
        Refusal(403, RBAC.replace('"x"', '"system:anonymous"')),
        'in the namespace "shop"; the request came without credentials',
    ),
    (Refusal(403, "denied by policy: 7200 is too long"), "403: denied by policy: 7200 is too long"),
    (
        Refusal(404, 'serviceaccounts "cart" not found', "serviceaccounts"),
        "kubectl create serviceaccount cart -n shop",
    ),
    (Refusal(404, 'pods "cart-0" not found', "pods"), "Pod/cart-0 is gone"),
    (Refusal(401, "Unauthorized"), "own credentials"),
    (Refusal(422, "may not specify a duration less than 10 minutes"), "422: may not specify"),
    (Refusal(500, "x" * 10_000), "500: xxx"),
]


@pytest.mark.parametrize(("refusal", "text"), MEANINGS, ids=lambda value: str(value)[:20])
def test_a_refusal_says_what_to_do(refusal: Refusal, text: str) -> None:
    problem = explained(TokenRequest("shop", "cart", (), 600, POD), remembered(refusal), 7.0)
    assert isinstance(problem, RequestRefused)
    assert text in str(problem)
    assert str(problem).startswith("token of shop/cart: ")
    assert (problem.status, problem.retry_after) == (refusal.status, 7.0)
    assert len(str(problem)) < 1000


def test_no_answer_is_no_refusal() -> None:
    problem = explained(TokenRequest("shop", "cart"), Refusal(0, "ConnectionRefusedError"), 1.0)
    assert not isinstance(problem, RequestRefused)
    assert "no answer of the API server: ConnectionRefusedError" in str(problem)


@pytest.mark.parametrize(
    ("status", "kind", "bound", "gone"),
    [
        (404, "serviceaccounts", None, True),
        (404, "pods", POD, True),
        (409, "pods", POD, True),
        (409, "serviceaccounts", None, False),
        (404, "", POD, False),  # of a proxy
        (403, "serviceaccounts", POD, False),
        (500, "", POD, False),
    ],
)
def test_what_is_gone(status: int, kind: str, bound: Any, gone: bool) -> None:
    request = TokenRequest("shop", "cart", (), 600, bound)
    assert is_gone(request, Refusal(status, "", kind)) is gone


UNREADABLE = [
    b"",
    b"[]",
    b"{}",
    b'{"status":{"token":"a.b","expirationTimestamp":"2026-01-01T00:00:00Z"}}',
    b'{"status":{"token":7,"expirationTimestamp":"2026-01-01T00:00:00Z"}}',
    b'{"status":{"token":"e30.e30.c2ln","expirationTimestamp":"2026-01-01T00:00:00Z"}}',
    b'{"status":{"token":"e30.e30.c2ln","expirationTimestamp":"now"}}',
    b"\xff" * 100,
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_an_answer_without_a_token_is_no_answer(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        issued(body)
    assert refused.value.status == 0
