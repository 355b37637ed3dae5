"""Bytes to request and response to bytes."""

import base64
import itertools
import json
from typing import Any

import msgspec
import pytest

from tests.support.builders import a_pod, a_request, a_review
from webhook.core import patch, review
from webhook.core.decision import Decision
from webhook.core.views import CronJob, Pod, Workload
from webhook.errors import MalformedReview


def decoded(document: Any) -> review.Request:
    return review.decode(msgspec.json.encode(document))


def test_a_pod_review_becomes_a_request() -> None:
    request = a_request(a_pod(), name="web", dryRun=True)
    assert isinstance(request.object, Pod)
    assert (request.uid[:8], request.operation, request.namespace, request.name, request.dry_run) == (
        "705ab4f5", "CREATE", "shop", "web", True,
    )  # fmt: skip


@pytest.mark.parametrize("decode", [review.decode, review.decode_full])
def test_both_passes_read_the_same_fields_of_a_request(decode: Any) -> None:
    """The one pass and the slow one. A field that only one of them fills would have its default
    for every other review.
    """
    document = a_review(a_pod(), name="web", dryRun=True, userInfo={"username": "alice"})
    document["request"]["subResource"] = "any"
    quick = decode(json.dumps(document, separators=(",", ":")).encode())
    # Blanks where Go writes none keep a longer body out of the one pass.
    slow = decode(json.dumps(document).encode() + b" " * review.MEDIUM_BYTES)
    assert type(quick) is not type(slow)
    for field in msgspec.structs.fields(type(slow)):
        read = getattr(quick, field.name)
        assert getattr(slow, field.name) == read, field.name
        # The one pass takes no review with an old object. All else must be there to be compared.
        assert field.name == "old_object" or read != field.default, field.name


@pytest.mark.parametrize(
    ("group", "kind", "view"),
    [
        ("apps", "Deployment", Workload),
        ("batch", "Job", Workload),
        ("batch", "CronJob", CronJob),
        ("apps", "ReplicaSet", Workload),
    ],
)
def test_each_workload_has_its_view(group: str, kind: str, view: type) -> None:
    request = a_request(
        {"metadata": {"name": "x"}, "spec": {}},
        kind=kind,
        group=group,
        operation="UPDATE",
        oldObject={},
    )
    assert isinstance(request.object, view)
    assert isinstance(request.old_object, view)


@pytest.mark.parametrize("object_", [None, {"spec": {"containers": "many", "volumes": 5}}])
def test_a_kind_that_we_do_not_know_has_no_object(object_: Any) -> None:
    assert a_request(object_, kind="Gadget", group="example.com").object is None


def test_a_kind_of_another_group_that_is_called_pod_is_no_pod() -> None:
    assert a_request(a_pod(), group="metrics.example").object is None


def test_a_delete_has_no_object() -> None:
    assert a_request(None, operation="DELETE", oldObject=a_pod()).object is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b"", "the body is empty", id="empty"),
        pytest.param(b"{", "truncated", id="half a document"),
        pytest.param(b"[]", "Expected `object`, got `array`", id="an array"),
        pytest.param(b"\xff\xfe", "malformed", id="no text"),
        pytest.param(b"[" * 100_000, "Expected `object`", id="deep"),
        pytest.param(b'{"x":' + b"[" * 100_000, "recursion", id="deep inside"),
        pytest.param(
            msgspec.json.encode({**a_review(None), "request": None}),
            "request must be there",
            id="no request",
        ),
        pytest.param(
            msgspec.json.encode(a_review(None, uid="")), "request.uid must be there", id="no uid"
        ),
        pytest.param(
            msgspec.json.encode(a_review(None, uid=5)), "$.request.uid", id="a number for a uid"
        ),
        pytest.param(
            msgspec.json.encode({**a_review(a_pod()), "apiVersion": "admission.k8s.io/v1beta1"}),
            "apiVersion and kind must be 'admission.k8s.io/v1' 'AdmissionReview', not 'admission.k8s.io/v1beta1'",
            id="an old version",
        ),
        pytest.param(
            msgspec.json.encode({**a_review(a_pod()), "kind": "Pod"}),
            "not 'admission.k8s.io/v1' 'Pod'",
            id="a pod",
        ),
        pytest.param(
            msgspec.json.encode(a_review({"metadata": {"annotations": {"a": 1}}})),
            "$.metadata.annotations[...]",
            id="bad pod",
        ),
    ],
)
def test_bytes_that_are_no_review_name_what_is_wrong(body: bytes, problem: str) -> None:
    with pytest.raises(MalformedReview) as caught:
        review.decode(body)
    assert problem in str(caught.value)


def test_numbers_that_no_type_holds_do_not_matter() -> None:
    body = msgspec.json.encode(a_review(a_pod())).replace(
        b'"image"', b'"huge":1e400,"long":123456789012345678901234567890,"image"'
    )
    assert isinstance(review.decode(body).object, Pod)


def test_a_reply_without_a_patch_has_neither_patch_nor_type() -> None:
    assert msgspec.json.decode(review.respond("1", Decision("not-requested"))) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": "1",
            "allowed": True,
            "auditAnnotations": {"reason": "not-requested"},
        },
    }


def test_a_reply_with_a_patch_has_both() -> None:
    operations = (patch.add("/a", 1),)
    reply = msgspec.json.decode(
        review.respond("1", Decision("injected", "patched", operations, ("w",)))
    )
    assert reply["response"] == {
        "uid": "1",
        "allowed": True,
        "warnings": ["w"],
        "auditAnnotations": {"reason": "injected"},
        "patch": base64.b64encode(b'[{"op":"add","path":"/a","value":1}]').decode(),
        "patchType": "JSONPatch",
    }


REPLIES = [
    Decision("injected", "patched", (patch.add("/a", 1),), audit={"policy": "p"}),
    Decision("injected", "patched", (patch.add("/a", 2),), audit={"policy": "p"}),
    Decision("injected", "patched", (patch.add("/a", {"b": 1}),), audit={"policy": "p"}),
    Decision("rewritten", "patched", (patch.add("/a", 1),), audit={"policy": "p"}),
    Decision("injected", "patched", (patch.add("/a", 1),), audit={"policy": "q"}),
    Decision("injected", "patched", (patch.add("/a", 1),), audit={"policy": "p", "faults": "f"}),
    Decision("injected", "patched", (patch.add("/a", 1),), ("w",), audit={"policy": "p"}),
    Decision("injected", "unchanged", audit={"policy": "p"}),
    Decision("injected", "denied", denial="why", audit={"policy": "p"}),
    Decision("exempt", audit={"exempt": "one"}),
    Decision("exempt", audit={"exempt": "two"}),
]


def test_a_reply_that_is_kept_is_the_one_that_was_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each twice, so that every second one may be made of what the first one left."""
    monkeypatch.setattr(review, "_kept_replies", {})
    uids = "7f2c", 'quote" and \\ and \n', "ü, €, 😀", "u" * 256
    for uid, decision in itertools.product(uids, REPLIES * 2):
        assert review.respond(uid, decision) == review._encoded(uid, decision)
    assert len(review._kept_replies) == 5


def test_a_reply_with_a_denial_has_its_text() -> None:
    reply = msgspec.json.decode(
        review.respond("1", Decision("violates", "denied", denial="why", audit={"policy": "p"}))
    )
    assert reply["response"] == {
        "uid": "1",
        "allowed": False,
        "auditAnnotations": {"reason": "violates", "policy": "p"},
        "status": {"message": "why", "code": 403, "reason": "Forbidden"},
    }
