"""The label of namespaces that enforce: what is patched, and that the patch applies."""

import pytest

from tests.pods import Json, a_namespace, a_request, applied
from webhook.core import admission, names
from webhook.core.policy import ClusterLayer


def judged(metadata: Json, operation: str = "UPDATE", name: str = "shop") -> admission.Verdict:
    asked = a_request({"metadata": {"name": name, **metadata}}, kind="Namespace", operation=operation, namespace=name)
    return admission.judge(asked, ClusterLayer(), a_namespace())


@pytest.mark.parametrize(
    ("enforce", "labels", "after"),
    [
        (None, None, None),
        (None, {"a": "b"}, {"a": "b"}),
        ("off", {names.ENFORCED: "true"}, {}),
        (None, {names.ENFORCED: "true", "a": "b"}, {"a": "b"}),
        ("bound", None, {names.ENFORCED: "true"}),
        ("bound", {"a": "b"}, {"a": "b", names.ENFORCED: "true"}),
        ("strict", {names.ENFORCED: "false"}, {names.ENFORCED: "true"}),
        ("bound", {names.ENFORCED: "true"}, {names.ENFORCED: "true"}),
        ("Bound", None, {names.ENFORCED: "true"}),
        ("nonsense", {}, {names.ENFORCED: "true"}),
        ("OFF", None, None),
    ],
)
def test_the_label_follows_the_annotation(
    enforce: str | None, labels: dict[str, str] | None, after: dict[str, str] | None
) -> None:
    metadata: Json = {"annotations": {names.ENFORCE: enforce}} if enforce is not None else {}
    if labels is not None:
        metadata["labels"] = labels
    verdict = judged(metadata)
    assert applied({"metadata": metadata}, verdict)["metadata"].get("labels") == after
    assert (verdict.outcome == "patched") is (after != labels)


def test_namespaces_that_are_never_touched_get_no_label() -> None:
    asked: Json = {"annotations": {names.ENFORCE: "strict"}}
    for name in ("kube-system", names.NAMESPACE):
        assert judged(asked, name=name).operations == ()
    assert judged(asked, "CREATE").operations != ()
