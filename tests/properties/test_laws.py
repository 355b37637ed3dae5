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
from tests.support.strategies import annotations, anything, pods, wanted
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


def settled(given_: dict[str, str]) -> NamespacePolicy:
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
    spec["volumes"] = [each for each in spec.get("volumes") or [] if not _can_be_ours(each["name"])]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        held = container.get("volumeMounts") or []
        container["volumeMounts"] = [mount for mount in held if not _can_be_ours(mount["name"])]
    return pod


def _can_be_ours(name: str) -> bool:
    return name.startswith((names.VOLUME, names.AUTOMOUNTED_PREFIX))


@given(pods(), wanted)
def test_operations_apply_and_change_only_what_the_contract_names(
    pod: Json, given_: dict[str, str]
) -> None:
    assert without_our_places(after(pod, settled(given_))) == without_our_places(pod)


@given(pods(), annotations | wanted)
def test_judging_our_own_output_gives_nothing(pod: Json, given_: dict[str, str]) -> None:
    namespace = settled(given_)
    once = after(pod, namespace)
    second = decision_on(once, namespace)
    assert second.operations == ()


@given(pods(), wanted)
def test_the_plugin_finds_nothing_to_add_to_what_we_injected(
    pod: Json, given_: dict[str, str]
) -> None:
    """Reinvocation: the ServiceAccount plugin runs again on our output, and we run again on its."""
    namespace = settled(given_)
    once = after(automounted(pod), namespace)
    again = after(automounted(once, "kube-api-access-again"), namespace)
    assert volume_names(again) == volume_names(once)


@given(pods(), wanted)
def test_a_container_added_to_our_result_gets_its_mount_and_nothing_else_changes(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = settled(given_)
    once = after(pod, namespace)
    held = policy_of(once, namespace)
    view: Any = a_request(once).object
    assume(held.inject and any(map(views.is_ours, view.spec.volumes or ())))
    late = copy.deepcopy(once)
    late["spec"]["containers"].append(a_container("late"))
    assume(not is_too_big(late, namespace))
    result = after(late, namespace)
    added = mounts(result).pop("late")
    assert [path for _, path in added] == [held.mount_path] + [names.TOKENS_PATH] * bool(
        held.tokens
    )
    del result["spec"]["containers"][-1]
    assert {**result, "spec": {**result["spec"], "volumes": None}} == {
        **once,
        "spec": {**once["spec"], "volumes": None},
    }


@given(pods(), wanted)
def test_no_operation_but_three_and_no_list_replaced_whole(
    pod: Json, given_: dict[str, str]
) -> None:
    for operation in decision_on(pod, settled(given_)).operations:
        assert operation.op in ("add", "replace", "remove")
        if operation.op == "replace":
            assert not isinstance(operation.value, list)
        if operation.op == "add" and isinstance(operation.value, list):
            *parents, last = operation.path.strip("/").split("/")
            held: Any = pod
            for step in parents:
                held = held[int(step)] if isinstance(held, list) else held[step]
            assert held.get(last) is None


@given(pods(), wanted)
def test_every_mount_has_its_volume_and_no_two_mounts_of_ours_share_a_path(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = settled(given_)
    missing = {name for held in mounts(pod).values() for name, _ in held} - set(volume_names(pod))
    result = after(pod, namespace)
    assert len(set(volume_names(result))) == len(volume_names(result))
    for name, held in mounts(result).items():
        assert {volume for volume, _ in held} - set(volume_names(result)) <= missing
        paths = [directory(path) for _, path in held]
        before = [directory(path) for _, path in mounts(pod)[name]]
        assert len(paths) - len(set(paths)) <= len(before) - len(set(before))


@given(pods(), wanted)
def test_no_year_is_left_where_injection_holds(pod: Json, given_: dict[str, str]) -> None:
    """Of the volumes that the plugin made and that no skipped container uses."""
    namespace = settled(given_)
    held = policy_of(pod, namespace)
    verdict = decision_on(pod, namespace)
    assume(verdict.reason in ("injected", "rewritten") and not is_too_big(pod, namespace))
    result = applied(pod, verdict)
    skipped = {
        name
        for each, pairs in mounts(result).items()
        if each in held.skip_containers
        for name, _ in pairs
    }
    view: Any = a_request(result).object
    for volume in view.spec.volumes or ():
        if (is_automounted(volume) or views.is_ours(volume)) and volume.name not in skipped:
            tokens = [
                each.service_account_token
                for each in volume.sources
                if each.service_account_token is not None
            ]
            assert {each.expiration_seconds for each in tokens if each.path == "token"} == {
                held.expiration_seconds
            }


@given(pods(), wanted)
def test_skipped_containers_come_out_as_they_went_in(pod: Json, given_: dict[str, str]) -> None:
    namespace = settled(given_)
    skipped = policy_of(pod, namespace).skip_containers
    before = [
        each
        for each in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        if each["name"] in skipped
    ]
    result = after(pod, namespace)["spec"]
    assert [
        each
        for each in [*(result.get("initContainers") or []), *result["containers"]]
        if each["name"] in skipped
    ] == before


@given(pods(), wanted)
def test_fields_that_the_view_does_not_know_change_no_decision(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = settled(given_)
    richer = copy.deepcopy(pod)
    richer["spec"] |= {"schedulingGates": [{"name": "x"}], "huge": 10**30}
    for container in richer["spec"]["containers"]:
        container["env"] = [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "b"}}}]
    assert decision_on(richer, namespace) == decision_on(pod, namespace)


@given(annotations, annotations)
def test_any_annotations_give_a_policy_that_kubernetes_accepts(
    namespace: dict[str, str], pod: dict[str, str]
) -> None:
    layer = settled(namespace)
    resolution = policy.resolve(layer, pod)
    held = resolution.policy
    for seconds in (held.expiration_seconds, *(token.expiration_seconds for token in held.tokens)):
        assert seconds is not None
        assert 600 <= seconds <= layer.locks.max_expiration_seconds <= 1 << 32
        assert seconds != 3607
    assert held.mount_path.startswith("/")
    assert not same_path(held.mount_path, names.TOKENS_PATH)
    for audience in (held.audience, *(token.audience for token in held.tokens)):
        assert layer.locks.allows(audience)
    for fault in resolution.faults:
        assert (pod if fault.layer == "pod" else namespace)[fault.annotation] == fault.value


@given(annotations, annotations)
def test_a_pod_can_only_tighten_where_overrides_are_denied(
    namespace: dict[str, str], pod: dict[str, str]
) -> None:
    layer = settled({**namespace, names.POD_OVERRIDES: "denied"})
    base, held = layer.resolution.policy, policy.resolve(layer, pod).policy
    assert held.expiration_seconds <= base.expiration_seconds
    assert not (held.automount and not base.automount)
    assert (held.audience, held.mount_path, held.skip_containers) == (
        base.audience,
        base.mount_path,
        base.skip_containers,
    )
    if base.inject and not held.inject:
        assert not held.automount
    if held.inject and not base.inject:
        assert base.automount


@given(st.binary(max_size=300) | anything.map(msgspec.json.encode))
def test_decode_raises_nothing_but_malformed_review(body: bytes) -> None:
    try:
        review.decode(body)
    except MalformedReview as problem:
        assert str(problem)


@given(anything, st.sampled_from(["Pod", "Deployment", "CronJob", "Gadget"]))
def test_any_object_at_all_is_judged_or_refused_with_words(held: Any, kind: str) -> None:
    body = msgspec.json.encode(
        a_review(
            held, kind=kind, group="" if kind == "Pod" else "batch" if kind == "CronJob" else "apps"
        )
    )
    try:
        request = review.decode(body)
    except MalformedReview as problem:
        assert str(problem)
    else:
        namespace = settled({names.INJECT: "enabled", names.AUTOMOUNT: "disabled"})
        assert mutation_of(request, CLUSTER, namespace).reason in REASONS


@given(pods(), annotations)
def test_no_fault_is_lost_between_policy_and_reply(pod: Json, given_: dict[str, str]) -> None:
    namespace = settled(given_)
    expected = policy.resolve(namespace, pod["metadata"].get("annotations") or {}).faults
    verdict = decision_on(pod, namespace)
    assert verdict.faults[: len(expected)] == expected
    said = response_to(verdict)["auditAnnotations"]
    for fault in expected:
        assert str(fault) in said["faults"]
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
    return {(each.rule, each.field, each.problem) for each in found}


def without_our_volumes(pod: Json) -> Json:
    """The pod without volumes of our names or the plugin's, and without mounts of what is not
    there.
    """
    spec = pod["spec"]
    spec["volumes"] = [each for each in spec.get("volumes") or [] if not _can_be_ours(each["name"])]
    there = {each["name"] for each in spec["volumes"]}
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        container["volumeMounts"] = [
            each for each in container.get("volumeMounts") or [] if each["name"] in there
        ]
    return pod


@given(pods().map(without_our_volumes), annotations | wanted)
def test_a_template_is_expected_to_become_what_its_pods_become(
    pod: Json, given_: dict[str, str]
) -> None:
    namespace = settled(given_)
    assume(not is_too_big(automounted(pod), namespace))
    template = msgspec.convert(pod, full_views.FullTemplate)
    own = pod["metadata"].get("annotations") or {}
    spec, _ = templates.as_admitted(template, policy.resolve(namespace, own, layer="workload"))
    became = msgspec.convert(after(automounted(pod), namespace), FullPod)
    assert _findings(spec) == _findings(became.spec)


@given(pods(), annotations | wanted)
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
    namespace = settled(
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
    held: Any, operation: str, kind: str
) -> None:
    group = {"Deployment": "apps", "TokenRequest": "authentication.k8s.io"}.get(kind, "")
    namespace = settled({names.ENFORCE: "strict"})
    for made in (
        held,
        {"metadata": held, "spec": held},
        {"spec": {"volumes": held, "containers": held}},
    ):
        body = msgspec.json.encode(a_review(made, kind=kind, group=group, operation=operation))
        try:
            request = review.decode_full(body)
        except MalformedReview:
            continue
        if not isinstance(request.object, full_views.Namespace):
            validation_of(request, CLUSTER, namespace)
