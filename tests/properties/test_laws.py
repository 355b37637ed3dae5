"""The laws of this program, as properties over generated pods and annotations; an applier that is
not ours applies.
"""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.builders import (
    Json,
    a_container,
    a_request,
    a_review,
    applied,
    automounted,
    directory,
    mounts,
    mutation_of,
    response_to,
    validation_of,
    volume_names,
)
from tests.support.strategies import annotations, anything, namespace_annotations, pods
from webhook.core import full_views, names, policy, review, views
from webhook.core.decision import REASONS, Decision
from webhook.core.full_views import FullPod
from webhook.core.levels import LevelVersion
from webhook.core.limits import Limits
from webhook.core.policy import ClusterPolicy, NamespacePolicy, TokenPolicy
from webhook.core.views import is_automounted, same_path
from webhook.enforcement import rules, templates
from webhook.enforcement.facts import Facts
from webhook.errors import MalformedReview
from webhook.mutation import injection

settings.register_profile("laws", deadline=None, max_examples=100)
settings.load_profile("laws")
CLUSTER = ClusterPolicy()
pytestmark = pytest.mark.filterwarnings(
    "ignore::hypothesis.errors.HypothesisWarning"
)  # a big pod that fails has a long repr


def decision_on(pod: Json, namespace: NamespacePolicy) -> Decision:
    return mutation_of(a_request(pod), CLUSTER, namespace)


def namespace_policy(given_: dict[str, str]) -> NamespacePolicy:
    return policy.resolve_namespace(CLUSTER, policy.own_annotations(given_))


def after(pod: Json, namespace: NamespacePolicy) -> Json:
    return applied(pod, decision_on(pod, namespace))


def policy_of(pod: Json, namespace: NamespacePolicy) -> TokenPolicy:
    return policy.resolve(namespace, pod["metadata"].get("annotations") or {}).policy


def is_too_big(pod: Json, namespace: NamespacePolicy) -> bool:
    """Whether its mounts stay as they are, because they are too many. Not asked of the warnings,
    which have no room for all.
    """
    view: Any = a_request(pod).object
    _, _, remarks = injection.plan(view, policy_of(pod, namespace), namespace.locks)
    return any("would need more than" in remark for remark in remarks)


def without_our_places(pod: Json) -> Json:
    """The pod less everything that docs/contract.md lets us change."""
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    spec.pop("automountServiceAccountToken", None)
    kept = (pod["metadata"].get("annotations") or {}).items()
    pod["metadata"]["annotations"] = {name: value for name, value in kept if name != names.STATUS}
    spec["volumes"] = [
        volume for volume in spec.get("volumes") or [] if not _can_be_ours(volume["name"])
    ]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        volume_mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [
            mount for mount in volume_mounts if not _can_be_ours(mount["name"])
        ]
    return pod


def _can_be_ours(name: str) -> bool:
    return name.startswith((names.VOLUME, names.AUTOMOUNTED_PREFIX))


@given(pods(), namespace_annotations)
def test_operations_apply_and_change_only_what_the_contract_names(
    pod: Json, given_: dict[str, str]
) -> None:
    assert without_our_places(after(pod, namespace_policy(given_))) == without_our_places(pod)


@given(pods(), annotations | namespace_annotations)
def test_judging_our_own_output_gives_nothing(pod: Json, given_: dict[str, str]) -> None:
    namespace = namespace_policy(given_)
    once = after(pod, namespace)
    second = decision_on(once, namespace)
    assert second.operations == ()


@given(pods(), namespace_annotations)
def test_the_plugin_finds_nothing_to_add_to_what_we_injected(
    pod: Json, given_: dict[str, str]
) -> None:
    """Reinvocation: the ServiceAccount plugin runs again on our output, and we run again on its."""
    namespace = namespace_policy(given_)
    once = after(automounted(pod), namespace)
    again = after(automounted(once, "kube-api-access-again"), namespace)
    assert volume_names(again) == volume_names(once)


@given(pods(), namespace_annotations)
def test_a_container_added_to_our_result_gets_its_mount_and_nothing_else_changes(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = namespace_policy(given_)
    # `replace` injects only what the plugin has given a token.
    replaces = policy_of(pod, namespace).inject == "replace"
    once = after(automounted(pod) if replaces else pod, namespace)
    token_policy = policy_of(once, namespace)
    view: Any = a_request(once).object
    assume(token_policy.inject != "disabled" and any(map(views.is_ours, view.spec.volumes or ())))
    late = copy.deepcopy(once)
    late["spec"]["containers"].append(a_container("late"))
    assume(not is_too_big(late, namespace))
    result = after(late, namespace)
    added = mounts(result).pop("late")
    assert [path for _, path in added] == [token_policy.mount_path] + [names.TOKENS_PATH] * bool(
        token_policy.tokens
    )
    del result["spec"]["containers"][-1]
    assert {**result, "spec": {**result["spec"], "volumes": None}} == {
        **once,
        "spec": {**once["spec"], "volumes": None},
    }


@given(pods(), namespace_annotations)
def test_no_operation_but_three_and_no_list_replaced_whole(
    pod: Json, given_: dict[str, str]
) -> None:
    for operation in decision_on(pod, namespace_policy(given_)).operations:
        assert operation.op in ("add", "replace", "remove")
        if operation.op == "replace":
            assert not isinstance(operation.value, list)
        if operation.op == "add" and isinstance(operation.value, list):
            *parents, last = operation.path.strip("/").split("/")
            parent: Any = pod
            for step in parents:
                parent = parent[int(step)] if isinstance(parent, list) else parent[step]
            assert parent.get(last) is None


@given(pods(), namespace_annotations)
def test_every_mount_has_its_volume_and_no_two_mounts_of_ours_share_a_path(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = namespace_policy(given_)
    missing = {name for pairs in mounts(pod).values() for name, _ in pairs} - set(volume_names(pod))
    result = after(pod, namespace)
    assert len(set(volume_names(result))) == len(volume_names(result))
    for name, pairs in mounts(result).items():
        assert {volume for volume, _ in pairs} - set(volume_names(result)) <= missing
        paths = [directory(path) for _, path in pairs]
        before = [directory(path) for _, path in mounts(pod)[name]]
        assert len(paths) - len(set(paths)) <= len(before) - len(set(before))


@given(pods(), namespace_annotations)
def test_no_year_is_left_where_injection_holds(pod: Json, given_: dict[str, str]) -> None:
    """Of the volumes that the plugin made and that no skipped container uses."""
    namespace = namespace_policy(given_)
    token_policy = policy_of(pod, namespace)
    verdict = decision_on(pod, namespace)
    assume(verdict.reason in ("injected", "rewritten") and not is_too_big(pod, namespace))
    result = applied(pod, verdict)
    skipped = {
        name
        for container, pairs in mounts(result).items()
        if container in token_policy.skip_containers
        for name, _ in pairs
    }
    view: Any = a_request(result).object
    for volume in view.spec.volumes or ():
        if (is_automounted(volume) or views.is_ours(volume)) and volume.name not in skipped:
            tokens = [
                source.service_account_token
                for source in volume.sources
                if source.service_account_token is not None
            ]
            assert {token.expiration_seconds for token in tokens if token.path == "token"} == {
                token_policy.expiration_seconds
            }


@given(pods(), namespace_annotations)
def test_skipped_containers_come_out_as_they_went_in(pod: Json, given_: dict[str, str]) -> None:
    namespace = namespace_policy(given_)
    skipped = policy_of(pod, namespace).skip_containers
    before = [
        container
        for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        if container["name"] in skipped
    ]
    result = after(pod, namespace)["spec"]
    assert [
        container
        for container in [*(result.get("initContainers") or []), *result["containers"]]
        if container["name"] in skipped
    ] == before


@given(pods(), namespace_annotations)
def test_fields_that_the_view_does_not_know_change_no_decision(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = namespace_policy(given_)
    richer = copy.deepcopy(pod)
    richer["spec"] |= {"schedulingGates": [{"name": "x"}], "huge": 10**30}
    for container in richer["spec"]["containers"]:
        container["env"] = [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "b"}}}]
    assert decision_on(richer, namespace) == decision_on(pod, namespace)


@given(annotations, annotations)
def test_any_annotations_give_a_policy_that_kubernetes_accepts(
    namespace: dict[str, str], pod: dict[str, str]
) -> None:
    layer = namespace_policy(namespace)
    resolution = policy.resolve(layer, pod)
    token_policy = resolution.policy
    for seconds in (
        token_policy.expiration_seconds,
        *(token.expiration_seconds for token in token_policy.tokens),
    ):
        assert seconds is not None
        assert 600 <= seconds <= layer.locks.max_expiration_seconds <= 1 << 32
        assert seconds != 3607
    assert token_policy.mount_path.startswith("/")
    assert not same_path(token_policy.mount_path, names.TOKENS_PATH)
    for audience in (token_policy.audience, *(token.audience for token in token_policy.tokens)):
        assert layer.locks.allows(audience)
    for fault in resolution.faults:
        assert (pod if fault.layer == "pod" else namespace)[fault.annotation] == fault.value


@given(annotations, annotations)
def test_a_pod_can_only_tighten_where_overrides_are_denied(
    namespace: dict[str, str], pod: dict[str, str]
) -> None:
    layer = namespace_policy({**namespace, names.POD_OVERRIDES: "denied"})
    base, token_policy = layer.resolution.policy, policy.resolve(layer, pod).policy
    assert token_policy.expiration_seconds <= base.expiration_seconds
    assert not (token_policy.automount and not base.automount)
    assert (token_policy.audience, token_policy.mount_path, token_policy.skip_containers) == (
        base.audience,
        base.mount_path,
        base.skip_containers,
    )
    match base.inject, token_policy.inject:
        case (("enabled" | "replace"), "disabled"):
            assert not token_policy.automount
        case "disabled", ("enabled" | "replace"):
            assert base.automount
        case before, now:
            assert now in (before, "replace")


@given(st.binary(max_size=300) | anything.map(msgspec.json.encode))
def test_decode_raises_nothing_but_malformed_review(body: bytes) -> None:
    try:
        review.decode(body)
    except MalformedReview as problem:
        assert str(problem)


@given(anything, st.sampled_from(["Pod", "Deployment", "CronJob", "Gadget"]))
def test_any_object_at_all_is_judged_or_refused_with_words(object_: Any, kind: str) -> None:
    body = msgspec.json.encode(
        a_review(
            object_,
            kind=kind,
            group="" if kind == "Pod" else "batch" if kind == "CronJob" else "apps",
        )
    )
    try:
        request = review.decode(body)
    except MalformedReview as problem:
        assert str(problem)
    else:
        namespace = namespace_policy({names.INJECT: "enabled", names.AUTOMOUNT: "disabled"})
        assert mutation_of(request, CLUSTER, namespace).reason in REASONS


@given(pods(), annotations)
def test_no_fault_is_lost_between_policy_and_reply(pod: Json, given_: dict[str, str]) -> None:
    namespace = namespace_policy(given_)
    expected = policy.resolve(namespace, pod["metadata"].get("annotations") or {}).faults
    verdict = decision_on(pod, namespace)
    assert verdict.faults[: len(expected)] == expected
    audit_annotations = response_to(verdict)["auditAnnotations"]
    for fault in expected:
        assert str(fault) in audit_annotations["faults"]
    for warning in verdict.warnings:
        assert len(warning) <= names.MAX_WARNING_CHARS
        assert warning.isprintable()
        assert warning.startswith((names.DOMAIN, '"' + names.DOMAIN))


def _findings(spec: full_views.FullSpec) -> set[tuple[str, str, str]]:
    found = rules.evaluate(
        Facts(FullPod(spec=spec)),
        LevelVersion("strict", "v1"),
        Limits(maximum=3600, api_audiences=("api",)),
    )
    return {(violation.rule, violation.field, violation.problem) for violation in found}


def without_our_volumes(pod: Json) -> Json:
    """The pod without volumes of our names or the plugin's, and without mounts of what is not
    there.
    """
    spec = pod["spec"]
    spec["volumes"] = [
        volume for volume in spec.get("volumes") or [] if not _can_be_ours(volume["name"])
    ]
    there = {volume["name"] for volume in spec["volumes"]}
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        container["volumeMounts"] = [
            mount for mount in container.get("volumeMounts") or [] if mount["name"] in there
        ]
    return pod


@given(pods().map(without_our_volumes), annotations | namespace_annotations)
def test_a_template_is_expected_to_become_what_its_pods_become(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = namespace_policy(given_)
    assume(not is_too_big(automounted(pod), namespace))
    template = msgspec.convert(pod, full_views.FullTemplate)
    own = pod["metadata"].get("annotations") or {}
    spec, _ = templates.as_admitted(template, policy.resolve(namespace, own, layer="workload"))
    became = msgspec.convert(after(automounted(pod), namespace), FullPod)
    assert _findings(spec) == _findings(became.spec)


@given(pods(), annotations | namespace_annotations)
def test_what_we_inject_complies_where_nothing_else_has_a_token(
    pod: Json, given_: dict[str, str]
) -> None:
    """With the default lifetime, automount disabled, and no token or skipped container of the pod's
    author.
    """
    pod["spec"]["volumes"] = []
    pod["metadata"]["annotations"] = {}
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        container["volumeMounts"] = []
    namespace = namespace_policy(
        {
            names.INJECT: "enabled",
            names.AUTOMOUNT: "disabled",
            **{
                name: value
                for name, value in given_.items()
                if name in (names.MOUNT_PATH, names.AUDIENCE)
            },
        }
    )
    assume(not is_too_big(automounted(pod), namespace))
    became = msgspec.convert(after(automounted(pod), namespace), FullPod)
    assert _findings(became.spec) == set()


@given(
    anything,
    st.sampled_from(["CREATE", "UPDATE"]),
    st.sampled_from(["Pod", "Deployment", "Secret", "Namespace", "TokenRequest"]),
)
def test_a_judgement_of_any_object_is_given_or_the_review_is_malformed(
    object_: Any, operation: str, kind: str
) -> None:
    group = {"Deployment": "apps", "TokenRequest": "authentication.k8s.io"}.get(kind, "")
    namespace = namespace_policy({names.ENFORCE: "strict"})
    for made in (
        object_,
        {"metadata": object_, "spec": object_},
        {"spec": {"volumes": object_, "containers": object_}},
    ):
        body = msgspec.json.encode(a_review(made, kind=kind, group=group, operation=operation))
        try:
            request = review.decode_full(body)
        except MalformedReview:
            continue
        if not isinstance(request.object, full_views.Namespace):
            validation_of(request, CLUSTER, namespace)
