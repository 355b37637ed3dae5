"""What a living pod has beside what it would get, and why it differs."""

from typing import Any

import msgspec
import pytest

from tests.support.builders import (
    Json,
    a_container,
    a_namespace_policy,
    a_pod,
    api_access,
    automounted,
)
from webhook.core import names
from webhook.core.full_views import FullPod
from webhook.core.policy import ClusterPolicy
from webhook.simulation import living
from webhook.simulation.admission import Admission
from webhook.simulation.explanation import Explained, explain
from webhook.simulation.living import Change, Owner, Past, Token, Tokens, restart

MADE, EARLIER, LATER = "2026-02-01T00:00:05Z", "2026-02-01T00:00:01Z", "2026-02-01T00:00:09Z"
YEARLY = Token(
    "automounted", "kube-api-access-*", "token", "", 3607, (("app", names.DEFAULT_PATH),)
)


def view(pod: Json) -> FullPod:
    return msgspec.convert(pod, FullPod)


def again(pod: Json, **annotations: str) -> Explained:
    """The pod of a bare manifest, as it would be made now."""
    cluster = ClusterPolicy()
    admission = Admission("shop", cluster, a_namespace_policy(cluster, **annotations))
    return explain(living.as_created(pod), admission)


def made(pod: Json, **annotations: str) -> Json:
    """The pod as a cluster with these annotations has made it."""
    found = again(automounted(pod), **annotations).pod
    assert found is not None
    return found.object


def seen(pod: Json, past: Past | None = None, **annotations: str) -> tuple[bool, list[str]]:
    """Whether a living pod differs from what it would get now, and why."""
    found = again(pod, **annotations)
    assert found.pod is not None
    has, would = living.tokens_of(view(pod)), living.tokens_of(view(found.pod.object))
    differs = living.differ(has, would, living.container_names(view(pod)))
    codes = living.causes(has, would, found.mutation.reason, past or Past(MADE))
    return differs, [cause.code for cause in codes] if differs else []


ON: Any = {"inject": "enabled", "automount": "disabled"}


def test_the_tokens_of_a_pod_are_told_by_who_added_them() -> None:
    pod = a_pod(a_container("app", ("own", "/own")), volumes=[
        {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "aws"}}]}}
    ])  # fmt: skip
    found = living.tokens_of(view(made(pod, **ON, tokens="v=vault;900")))
    assert found.status.startswith("injected: ")
    path = names.DEFAULT_PATH
    assert found.tokens == (
        Token("", "own", "t", "aws", 3600, (("app", "/own"),)),
        Token("boundtoken", "boundtoken", "token", "", 3600, (("app", path),)),
        Token("further tokens", "boundtoken-tokens", "v", "vault", 900, (("app", names.TOKENS_PATH),)),
    )  # fmt: skip
    assert living.tokens_of(view(automounted(a_pod()))) == Tokens("", (YEARLY,))


@pytest.mark.parametrize(
    ("sub_path", "frozen"),
    [({}, False), ({"subPath": "t"}, True), ({"subPath": "other"}, False), ({"subPathExpr": "$(X)"}, True)],
)  # fmt: skip
def test_what_is_mounted_by_sub_path_stays_as_it_was(sub_path: Any, *, frozen: bool) -> None:
    pod = a_pod(a_container("app", ("own", "/own")), volumes=[
        {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
    ])  # fmt: skip
    pod["spec"]["containers"][0]["volumeMounts"][0] |= sub_path
    (token,) = living.tokens_of(view(pod)).tokens
    assert token.frozen == ((("app", "/own"),) if frozen else ())


@pytest.mark.parametrize("annotations", [{}, ON, {"inject": "replace"}, {"automount": "disabled"}])
def test_a_pod_that_was_made_under_the_same_annotations_does_not_differ(annotations: Any) -> None:
    assert seen(made(a_pod(), **annotations), **annotations) == (False, [])


def test_another_policy_with_the_same_tokens_is_no_difference() -> None:
    pod = made(a_pod(), **ON)
    assert seen(pod, inject="replace", automount="disabled") == (False, [])
    assert seen(pod, **ON, mount_path="/bound") == (True, ["older-policy"])
    assert seen(pod, **ON, expiration_seconds="900") == (True, ["older-policy"])


def test_a_pod_made_before_the_annotation_was_written() -> None:
    change = Change("namespace/shop", LATER, "kubectl-annotate")
    past = Past(MADE, EARLIER, (change,), called=True)
    assert seen(automounted(a_pod()), past, **ON) == (True, ["before-annotation"])
    has = living.tokens_of(view(automounted(a_pod())))
    would = Tokens("injected: … policy=12345678", ())
    (cause,) = living.causes(has, would, "injected", past)
    assert cause.text == (
        "it was made before the last write by kubectl-annotate of annotations of namespace/shop, "
        f"or of other fields with them, at {LATER}"
    )


@pytest.mark.parametrize(
    ("past", "code"),
    [
        (Past(MADE, EARLIER, called=False), "not-called"),
        (Past(MADE, LATER, called=True), "before-installation"),
        (Past(MADE, MADE, called=True), "maybe-away"),
        (Past(MADE, EARLIER, (Change("namespace/shop", EARLIER, ""),), None, True), "maybe-away"),
        (Past(MADE, EARLIER, (Change("namespace/shop", MADE, ""),), None, True), "maybe-away"),
        (Past(MADE, EARLIER, (Change("namespace/shop", LATER, ""),), True, True), "webhook-away"),
        (Past(MADE, EARLIER, (), False, True, ("mesh/a",)), "taken-off"),
        (
            Past(
                MADE,
                EARLIER,
                (Change("namespace/shop", LATER, ""),),
                False,
                True,
                (),
                "namespace-unknown",
            ),
            "could-not-decide",
        ),
        (Past(MADE, EARLIER, (), False, True, (), "internal-error"), "could-not-decide"),
        (Past(MADE, EARLIER, (), False, True, (), "not-requested"), "changed"),
        (Past(MADE, EARLIER, (), False, True, (), "excluded-namespace"), "changed"),
        (Past(MADE, EARLIER, (), False, True, (), "rewritten"), "taken-off"),
        (Past("", EARLIER, (Change("namespace/shop", LATER, ""),)), "maybe-away"),
    ],
)
def test_why_a_pod_without_our_status_differs(past: Past, code: str) -> None:
    assert seen(automounted(a_pod()), past, **ON) == (True, [code])


def test_a_pod_whose_status_says_otherwise_was_changed_afterwards() -> None:
    pod = made(a_pod(), **ON)
    pod["spec"]["volumes"] = [api_access()]
    pod["spec"]["containers"] = [a_container("app", (api_access()["name"], names.DEFAULT_PATH))]
    has = living.tokens_of(view(pod))
    found = again(pod, **ON)
    assert found.pod is not None
    would = living.tokens_of(view(found.pod.object))
    (cause,) = living.causes(has, would, "injected", Past(MADE, others=("mesh/a",)))
    assert cause.code == "taken-off"
    assert cause.text == "its status says injected, and another webhook changed it afterwards; after boundtoken come mesh/a"  # fmt: skip


def test_a_pod_with_which_something_else_was_done_was_changed_by_no_webhook_afterwards() -> None:
    has = Tokens("stripped: automount=disabled policy=12345678", ())
    would = Tokens("injected: audience=x policy=12345678", ())
    (cause,) = living.causes(has, would, "injected", Past(MADE, others=("mesh/a",)))
    assert cause.code == "changed"


def test_a_pod_that_had_nothing_to_replace_has_nothing_to_replace_again() -> None:
    pod = a_pod(annotations={names.INJECT: "replace"}, automountServiceAccountToken=False)
    after = made(pod, automount="disabled")
    assert after["metadata"]["annotations"][names.STATUS].startswith("nothing-to-replace")
    assert seen(after, automount="disabled") == (False, [])


def test_a_pod_that_opts_out_now_says_so() -> None:
    pod = made(a_pod(annotations={names.INJECT: "enabled"}))
    pod["metadata"]["annotations"][names.INJECT] = "disabled"
    assert seen(pod) == (True, ["opted-out", "older-policy"])


def test_a_pod_that_would_not_be_changed_any_more() -> None:
    assert seen(made(a_pod(), **ON)) == (True, ["older-policy"])
    copied = a_pod(volumes=[api_access("boundtoken", seconds=900)])
    has, would = living.tokens_of(view(copied)), living.tokens_of(view(a_pod()))
    assert [c.code for c in living.causes(has, would, "not-requested", Past(MADE))] == ["changed"]


def test_a_container_that_only_one_of_them_has_is_not_compared() -> None:
    pod = made(a_pod(a_container("app"), a_container("mesh")), **ON)
    has = living.tokens_of(view(pod))
    would = living.tokens_of(view(made(a_pod(), **ON)))
    assert not living.differ(has, would, {"app"})
    pod["spec"]["containers"][0]["volumeMounts"] = []
    assert living.differ(living.tokens_of(view(pod)), would, {"app"})


def test_a_token_of_the_pods_author_is_not_compared() -> None:
    has = Tokens("", (YEARLY, Token("", "own", "t", "aws", 600)))
    assert not living.differ(has, Tokens("", (YEARLY,)), {"app"})
    assert living.differ(has, Tokens("", ()), {"app"})


def entry(path: tuple[str, ...], name: str, time: str, manager: str = "kubectl") -> Json:
    fields: Json = {f"f:{name}": {}}
    for step in reversed((*path, "f:metadata", "f:annotations")):
        fields = {step: fields}
    return {"manager": manager, "time": time, "fieldsV1": fields}


@pytest.mark.parametrize("path", [(), ("f:spec", "f:template"), ("f:spec", "f:jobTemplate", "f:spec", "f:template")])  # fmt: skip
def test_the_last_write_of_an_annotation_of_ours_is_found(path: tuple[str, ...]) -> None:
    managed = [
        entry(path, names.INJECT, EARLIER, "a"),
        entry(path, names.SKIP_CONTAINERS, MADE, "b"),
        entry(path, "team", LATER, "c"),
        entry(path, names.STATUS, LATER, "d"),
    ]
    document = {"metadata": {"managedFields": managed}}
    assert living.last_change("x", document) == Change("x", MADE, "b")


@pytest.mark.parametrize("metadata", [None, [], {}, {"managedFields": 7}, {"managedFields": [7, {}, {"fieldsV1": {"f:metadata": 1}}]}])  # fmt: skip
def test_no_write_is_found_where_there_is_none(metadata: Any) -> None:
    assert living.last_change("x", {"metadata": metadata}) is None


@pytest.mark.parametrize(
    ("owner", "command", "remark"),
    [
        (Owner("Deployment", "web"), "kubectl rollout restart deployment/web -n shop", ""),
        (Owner("StatefulSet", "db"), "kubectl rollout restart statefulset/db -n shop", ""),
        (Owner("DaemonSet", "log"), "kubectl rollout restart daemonset/log -n shop", ""),
        (living.owner("Deployment", "web", {"spec": {"paused": True}}), "kubectl rollout resume deployment/web -n shop && kubectl rollout restart deployment/web -n shop", "it is paused: what was changed meanwhile is rolled out too"),
        (living.owner("StatefulSet", "db", {"spec": {"updateStrategy": {"type": "OnDelete"}}}), "kubectl rollout restart statefulset/db -n shop", "then delete its pods: its updateStrategy is OnDelete"),
        (living.owner("StatefulSet", "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}), "kubectl rollout restart statefulset/db -n shop", "its pods below 2 stay as they are: rollingUpdate.partition is 2"),
        (living.owner("StatefulSet", "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}), "kubectl rollout restart statefulset/db -n shop", ""),
        (living.owner("StatefulSet", "db", {"spec": {"updateStrategy": 7}}), "kubectl rollout restart statefulset/db -n shop", ""),
        (living.owner("DaemonSet", "log", {"spec": 7}), "kubectl rollout restart daemonset/log -n shop", ""),
        (Owner("ReplicaSet", "rs"), "kubectl delete pod/web-1 -n shop", "its ReplicaSet makes it again"),
        (Owner("Rollout", "r"), "kubectl delete pod/web-1 -n shop", "its Rollout makes it again"),
        (Owner("Job", "once"), "kubectl delete job/once -n shop", "delete the Job and create it again"),
        (Owner("CronJob", "daily"), "", "from its next Job on"),
        (Owner("Deployment", "x; reboot #"), "", "no Deployment has the name of its owner"),
        (Owner("Job", "$(reboot)"), "", "no Job has the name of its owner"),
        (Owner("Node", "n"), "", "a static pod: its node makes it"),
        (None, "kubectl replace --force -n shop -f FILE", "nobody makes it again: FILE is its own manifest"),
    ],
)  # fmt: skip
def test_what_makes_a_pod_again(owner: Owner | None, command: str, remark: str) -> None:
    assert restart(owner, "web-1", "shop") == (command, remark)
