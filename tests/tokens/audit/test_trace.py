"""One token in an audit log, with what others wrote into it."""

import json
import tracemalloc
from typing import Any

import pytest

from tests.support.audit import CONTROLLERS, JANE, NODE, a_request, a_use, an_event, lines
from tests.support.builders import Json
from tests.support.claims import a_token
from webhook.core.claims import LEGACY_ISSUER
from webhook.errors import BadInput
from webhook.tokens.audit import trace as module
from webhook.tokens.audit.events import MAX_FIELD_BYTES, SHORT_BYTES, NoEvent, event, wish
from webhook.tokens.audit.lines import Tally
from webhook.tokens.audit.trace import MAX_CHARS, Record, Request, Token, Trace, Use, token_of

JTI = "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"
OTHER = "ffffffff-4b5c-4d6e-8f70-8192a3b4c5d6"
TOKEN = Token(f"JTI={JTI}")
LEGACY = Token("", "shop", "cart", "old")
ANNOTATION = "authentication.k8s.io/"


def found(*events: Json, token: Token = TOKEN, tally: Tally | None = None) -> list[Record]:
    trace = Trace(token, tally or Tally())
    return [*trace.records(lines(*events)), *trace.rest()]


def legacy_use(account: str = "shop/cart", secret: str = "old", **fields: Any) -> Json:
    annotations = {
        f"{ANNOTATION}legacy-token": f"system:serviceaccount:{account.replace('/', ':')}",
        f"{ANNOTATION}legacy-token-manual-secret": secret,
    }
    return a_use(1, account, annotations=annotations, **fields)


def test_who_requested_it() -> None:
    (request,) = found(
        a_request(jti=OTHER, user=JANE),
        a_request(2, jti=JTI, user=NODE, audiences=["a", "b"], expiration=600, pod="p1"),
        a_request(user=CONTROLLERS),
    )
    assert isinstance(request, Request)
    assert (request.time, request.user) == ("2026-01-31T08:00:02.000Z", "system:node:node-1")
    assert (request.namespace, request.account) == ("shop", "cart")
    assert (request.audiences, request.expiration_seconds) == (("a", "b"), 600)
    assert request.bound_to == {"kind": "Pod", "name": "p1", "uid": "u"}
    assert (request.code, request.source_ips) == (201, ("10.0.0.9",))


@pytest.mark.parametrize(
    "body",
    [{}, {"spec": None}, {"spec": {"audiences": 1}}, "x"],
    ids=["empty", "null", "bad", "text"],
)
def test_a_request_without_a_readable_body_says_that_it_is_not_recorded(body: Any) -> None:
    (request,) = found(a_request(jti=JTI, requestObject=body))
    assert isinstance(request, Request)
    assert (request.audiences, request.expiration_seconds, request.bound_to) == (None, None, None)


def test_a_request_at_level_metadata() -> None:
    recorded = a_request(jti=JTI)
    del recorded["requestObject"]
    (request,) = found(recorded)
    assert isinstance(request, Request)
    assert request.audiences is None


def test_who_impersonated_and_with_which_credential() -> None:
    extra = {"authentication.kubernetes.io/credential-id": ["X509SHA256=abc"]}
    (request,) = found(
        a_request(jti=JTI, user={**JANE, "extra": extra}, impersonatedUser={"username": "system:admin"})
    )  # fmt: skip
    assert isinstance(request, Request)
    assert (request.user, request.impersonated_user) == ("jane", "system:admin")
    assert request.user_credential_id == "X509SHA256=abc"


def test_each_use_of_it() -> None:
    (use,) = found(
        a_use(1, jti=OTHER),
        a_use(2, jti=JTI, pod="p1", requestURI="/api/v1/x?token=secret", sourceIPs=["10.1.2.3", "10.0.0.1"]),
        an_event(3),
    )  # fmt: skip
    assert isinstance(use, Use)
    assert (use.user, use.verb, use.resource) == ("system:serviceaccount:shop:cart", "get", "pods")
    assert (use.namespace, use.name, use.code, use.pod) == ("shop", "p1", 200, "p1")
    assert (use.path, use.source_ips) == ("/api/v1/x", ("10.1.2.3", "10.0.0.1"))
    assert use.user_agent.startswith("kubectl/v1.37.2")


def test_a_stale_use_and_a_token_that_was_requested_with_it() -> None:
    text = "subject: system:serviceaccount:shop:cart, seconds after warning threshold: 4423"
    stale, issued = found(
        a_use(1, jti=JTI, annotations={f"{ANNOTATION}stale-token": text}),
        a_request(2, jti=OTHER, user=a_use(jti=JTI)["user"]),
    )
    assert isinstance(stale, Use)
    assert isinstance(issued, Use)
    assert stale.stale_seconds == 4423
    assert (issued.resource, issued.issued_credential_id) == (
        "serviceaccounts/token",
        f"JTI={OTHER}",
    )


@pytest.mark.parametrize(
    "text", ["", "x", "threshold: -1", "threshold: " + "9" * 400, "threshold: ٣"]
)
def test_a_stale_use_whose_seconds_cannot_be_read_is_stale(text: str) -> None:
    (use,) = found(a_use(1, jti=JTI, annotations={f"{ANNOTATION}stale-token": text}))
    assert isinstance(use, Use)
    assert use.stale_seconds == 0


def test_all_stages_of_a_request_are_one_use() -> None:
    stages = ("RequestReceived", "ResponseStarted", "ResponseComplete")
    watch = [a_use(n, jti=JTI, verb="watch", auditID="a", stage=s) for n, s in enumerate(stages)]
    unfinished = [{**event, "auditID": "b"} for event in watch[:2]]
    first, second = found(*watch, *unfinished)
    assert isinstance(first, Use)
    assert isinstance(second, Use)
    assert (first.audit_id, first.is_open) == ("a", False)
    assert (second.audit_id, second.is_open) == ("b", True)


def test_a_panic_of_the_api_server_ends_a_request() -> None:
    (use,) = found(a_use(jti=JTI, stage="RequestReceived", auditID="a"), a_use(jti=JTI, stage="Panic", auditID="a"))  # fmt: skip
    assert isinstance(use, Use)
    assert not use.is_open


def test_more_open_requests_than_are_remembered_are_told_at_once() -> None:
    events = [
        a_use(jti=JTI, auditID=str(number), stage="ResponseStarted")
        for number in range(module.MAX_OPEN + 3)
    ]
    trace = Trace(TOKEN, Tally())
    at_once = list(trace.records(lines(*events)))
    rest = list(trace.rest())
    ids = [use.audit_id for use in (*at_once, *rest)]
    assert (len(at_once), ids) == (3, [event["auditID"] for event in events])


IDS = {
    "user agent": a_use(jti=OTHER, userAgent=f"JTI={JTI}"),
    "URI": a_use(jti=OTHER, requestURI=f"/JTI={JTI}"),
    "name": a_use(jti=OTHER, objectRef={"resource": "pods", "name": f"JTI={JTI}"}),
    "another extra": an_event(user={"username": "x", "extra": {"scopes": [f"JTI={JTI}"]}}),
    "impersonated": an_event(
        impersonatedUser={
            "username": "x",
            "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={JTI}"]},
        }
    ),
    "a longer id": a_use(jti=f"{JTI}0"),
    "the body": a_request(jti=OTHER, requestObject={"x": f"JTI={JTI}"}),
}


@pytest.mark.parametrize("place", IDS)
def test_an_id_that_somebody_wrote_elsewhere_is_no_use(place: str) -> None:
    assert found(IDS[place]) == []


def test_a_legacy_token_is_found_by_account_and_secret() -> None:
    events = [
        legacy_use("shop/cart", "old"),
        legacy_use("shop/cart", "other"),
        legacy_use("other/cart", "old"),
        an_event(userAgent='"old"'),
    ]
    (use,) = found(*events, token=LEGACY)
    assert isinstance(use, Use)
    assert (use.user, use.legacy_secret) == ("system:serviceaccount:shop:cart", "old")


@pytest.mark.parametrize(
    "line",
    [
        b'{"user": {"extra": {"x": ["JTI=%s"]}}}',
        b'{"kind":"Event","user":"JTI=%s"}',
        b'{"kind":"EventList","auditID":"JTI=%s","stage":"","user":{},"stageTimestamp":"2026-01-31T08:00:00Z","requestReceivedTimestamp":"2026-01-31T08:00:00Z"}',
        b'{"kind":"Event","auditID":"JTI=%s","stage":"","user":{},"stageTimestamp":"2026-01-31T08:00:00","requestReceivedTimestamp":"2026-01-31T08:00:00Z"}',
        b'{"kind":"Event","auditID":"JTI=%s\xff"}',
        b'{"a":' + b"[" * 100_000 + b'"JTI=%s"' + b"]" * 100_000 + b"}",
    ],
    ids=["no event", "a text for a user", "a list", "no time zone", "no UTF-8", "deep"],
)
def test_a_line_that_names_it_and_is_no_event_is_counted(line: bytes) -> None:
    tally = Tally()
    trace = Trace(TOKEN, tally)
    assert list(trace.records(line % JTI.encode())) == []
    assert tally.broken == 1


def test_texts_of_others_are_cut() -> None:
    addresses = [*(["::"] * 10_000), "10.6.6.6"]
    (use,) = found(a_use(jti=JTI, userAgent="x" * 1_000_000, sourceIPs=addresses))
    assert isinstance(use, Use)
    assert len(use.user_agent) == MAX_CHARS
    assert use.source_ips == (*(["::"] * 63), "10.6.6.6")  # the last one is not the client's


def test_a_long_line_with_a_large_object_is_an_event() -> None:
    large = a_request(jti=JTI, requestObject={"spec": {"audiences": ["a"]}, "x": "y" * (2 * SHORT_BYTES)})  # fmt: skip
    (request,) = found(large)
    assert isinstance(request, Request)
    assert request.audiences == ("a",)


def test_a_long_line_with_a_user_of_millions_of_small_things_is_none() -> None:
    line = lines(a_use(jti=JTI, user={"groups": ["a"] * 400_000}))
    assert len(line) > SHORT_BYTES > MAX_FIELD_BYTES
    with pytest.raises(NoEvent):
        event(line)


CHOSEN: dict[str, dict[str, Any]] = {
    "X-Forwarded-For": {"sourceIPs": [*(["::"] * 400_000), "10.6.6.6"]},
    "Impersonate-Extra": {"impersonatedUser": {"username": "x", "extra": {"a": ["<"] * 400_000}}},
    "the path": {"objectRef": {"resource": "pods", "name": "<" * SHORT_BYTES}},
    "a message of the path": {"responseStatus": {"code": 404, "message": "<" * SHORT_BYTES}},
    "annotations": {"annotations": {str(number): "" for number in range(200_000)}},
    "User-Agent": {"userAgent": "<" * SHORT_BYTES},
}


@pytest.mark.parametrize("place", CHOSEN)
def test_nothing_that_a_client_chooses_hides_what_it_did(place: str) -> None:
    event_of = a_use(jti=JTI, **CHOSEN[place])
    assert len(lines(event_of)) > SHORT_BYTES
    tracemalloc.start()
    try:
        (use,) = found(event_of)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(use, Use)
    assert use.source_ips[-1] == event_of["sourceIPs"][-1]
    assert peak < 24 << 20


def deep(levels: int) -> bytes:
    """A TokenRequest as the API server takes it and writes it: up to 10,000 levels."""
    nested = b'{"a":' * levels + b"1" + b"}" * levels
    line = lines(a_request(jti=JTI, audiences=["a"]))
    return line.replace(b'"metadata":{},"spec"', b'"metadata":{"x":' + nested + b'},"spec"')


@pytest.mark.parametrize("levels", [100, 9_000])
def test_a_deep_body_does_not_hide_a_request(levels: int) -> None:
    line = deep(levels)
    assert len(line) > 6 * levels
    (request,) = Trace(Token(f"JTI={JTI}"), Tally()).records(line)
    assert isinstance(request, Request)
    assert (request.user, request.account) == ("jane", "cart")
    # How deep msgspec decodes depends on the interpreter's recursion limit.
    assert request.audiences in ([("a",)] if levels < 1000 else [("a",), None])


def test_what_is_wanted_of_a_body_has_a_bound_and_the_rest_of_it_has_none() -> None:
    body = {"spec": {"audiences": ["a"] * 2_000_000}}
    found_event = event(lines(a_request(requestObject=body)))
    assert found_event.has_body
    assert wish(found_event) is None
    padded = {"metadata": {"annotations": {"a": "<" * (8 << 20)}}, "spec": {"expirationSeconds": 9}}
    wished = wish(event(lines(a_request(requestObject=padded))))
    assert wished is not None
    assert wished.seconds == 9


def test_what_to_search_for_is_in_the_token() -> None:
    assert token_of(a_token({"jti": JTI}) + "\n") == TOKEN
    legacy = {
        "iss": LEGACY_ISSUER,
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/service-account.name": "cart",
        "kubernetes.io/serviceaccount/secret.name": "old",
    }
    assert token_of(a_token(legacy)) == LEGACY
    assert str(LEGACY) == "the legacy token of shop/cart in secret/old"


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "a.b", "a.b.c", "eyJ.x.\xff", "a" * 100_000),
        *(a_token({}), a_token({"jti": ""}), a_token({"jti": "short"}), a_token({"jti": JTI + '"'})),
        *(a_token({"jti": "x" * 1000}), a_token({"jti": 1}), a_token([]), a_token(b"no JSON")),
        a_token({"iss": LEGACY_ISSUER}),
    ],
)  # fmt: skip
def test_what_is_no_token_or_has_no_id_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        token_of(text)
    assert not text or text not in json.dumps(str(refused.value)) or len(text) < 4
