"""Annotations on workloads: copied into the template, kept, changed and undone."""

import copy
import json
from typing import Any

import jsonpatch
import pytest

from tests.support.builders import (
    Json,
    a_namespace_policy,
    a_request,
    memory,
    mutation_of,
    patch_of,
    with_memory,
)
from webhook.core import names
from webhook.core.decision import Decision
from webhook.core.policy import ClusterPolicy

AUDIENCE, SECONDS, FROM = names.AUDIENCE, names.EXPIRATION_SECONDS, names.FROM_WORKLOAD


def a_workload(
    own: dict[str, str] | None = None, template: dict[str, str] | None = None, **metadata: Any
) -> Json:
    labels: Json = {"labels": {"app": "cart"}}
    return {
        "metadata": {
            "name": "cart",
            **({"annotations": own} if own is not None else {}),
            **metadata,
        },
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {
                    **labels,
                    **({"annotations": template} if template is not None else {}),
                },
                "spec": {"containers": [{"name": "app"}]},
            },
        },
    }


def decision_on_workload(
    workload: Json, old: Json | None = None, kind: str = "Deployment", group: str = "apps"
) -> Decision:
    operation = "CREATE" if old is None else "UPDATE"
    request = a_request(workload, kind=kind, group=group, operation=operation, oldObject=old)
    return mutation_of(request, ClusterPolicy(), a_namespace_policy(inject="enabled"))


def after(workload: Json, old: Json | None = None, **kind: str) -> Json:
    operations = patch_of(decision_on_workload(workload, old, **kind))
    return dict(jsonpatch.apply_patch(workload, operations))


def annotations(workload: Json) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"].get("annotations") or {})


def test_an_annotation_of_the_workload_is_copied_and_remembered() -> None:
    workload = a_workload({AUDIENCE: "vault", SECONDS: "1800", "team": "shop"})
    assert annotations(after(workload)) == with_memory({AUDIENCE: "vault", SECONDS: "1800"})
    assert (decision_on_workload(workload).reason, decision_on_workload(workload).outcome) == (
        "copied",
        "patched",
    )
    assert decision_on_workload(after(workload), after(workload)).operations == ()


@pytest.mark.parametrize("template", [None, {}, {"team": "shop"}])
def test_the_templates_other_annotations_survive(template: dict[str, str] | None) -> None:
    assert annotations(after(a_workload({AUDIENCE: "vault"}, template))) == {
        **(template or {}),
        **with_memory({AUDIENCE: "vault"}),
    }


def test_the_templates_own_value_wins_and_is_not_remembered() -> None:
    workload = a_workload({AUDIENCE: "vault", SECONDS: "1800"}, {AUDIENCE: "own"})
    assert annotations(after(workload)) == {AUDIENCE: "own"} | with_memory({SECONDS: "1800"})


def test_taking_it_off_the_workload_takes_it_off_the_template() -> None:
    old = after(a_workload({AUDIENCE: "vault", SECONDS: "1800"}, {"team": "shop"}))
    less = {**old, "metadata": {"name": "cart", "annotations": {SECONDS: "1800"}}}
    assert annotations(after(less, old)) == {"team": "shop"} | with_memory({SECONDS: "1800"})
    none = {**old, "metadata": {"name": "cart"}}
    assert annotations(after(none, old)) == {"team": "shop"}
    assert decision_on_workload(none, old).reason == "not-requested"


def test_a_changed_value_follows() -> None:
    old = after(a_workload({AUDIENCE: "vault"}))
    changed = {**old, "metadata": {"name": "cart", "annotations": {AUDIENCE: "other"}}}
    assert annotations(after(changed, old)) == with_memory({AUDIENCE: "other"})


def test_a_put_without_the_copies_gets_them_again() -> None:
    old = after(a_workload({AUDIENCE: "vault"}))
    assert annotations(after(a_workload({AUDIENCE: "vault"}), old)) == with_memory(
        {AUDIENCE: "vault"}
    )


def test_a_copied_value_that_is_edited_in_the_template_becomes_its_authors() -> None:
    old = after(a_workload({AUDIENCE: "vault"}))
    edited = a_workload({AUDIENCE: "vault"}, {AUDIENCE: "mine", FROM: memory({AUDIENCE: "vault"})})
    assert annotations(after(edited, old)) == {AUDIENCE: "mine"}


@pytest.mark.parametrize(
    "own", [{SECONDS: "1800"}, {SECONDS: "900"}], ids=["with the annotations", "as a StatefulSet"]
)
def test_a_copy_follows_its_workload_after_a_rollback(own: dict[str, str]) -> None:
    first = after(a_workload({SECONDS: "1800"}))
    second = after(the_next(first, {SECONDS: "900"}), first)
    undone = after({**first, "metadata": {"name": "cart", "annotations": own}}, second)
    assert annotations(undone) == with_memory(own)
    third = after(the_next(undone, {SECONDS: "700"}), undone)
    assert annotations(third) == with_memory({SECONDS: "700"})
    assert annotations(after(the_next(third, {}), third)) == {}


def the_next(live: Json, own: dict[str, str]) -> Json:
    """The live object with other annotations of its own."""
    return {**live, "metadata": {"name": "cart", "annotations": own}}


OLD_MEMORY = {SECONDS: "1800", FROM: SECONDS}


@pytest.mark.parametrize(
    "exported", [with_memory({SECONDS: "1800"}), OLD_MEMORY], ids=["hashes", "names only"]
)
@pytest.mark.parametrize("own", [{SECONDS: "900"}, {}], ids=["another value", "no value"])
def test_an_exported_manifest_that_is_applied_again_and_again_makes_one_revision(
    exported: dict[str, str], own: dict[str, str]
) -> None:
    live = after(applied_to(a_workload(), a_workload({SECONDS: "1800"})), a_workload())
    manifest = a_workload(own, exported)
    revisions = []
    for _ in range(7):
        live = after(applied_to(live, manifest), live)
        revisions.append(annotations(live))
    assert revisions == [with_memory(own) if own else {}] * 7


def applied_to(live: Json, manifest: Json) -> Json:
    """What `kubectl apply` sends: what the manifest says, what it said before and says no more
    gone, the rest as it was.
    """
    made = copy.deepcopy(live)
    before = (
        json.loads(live["metadata"].get("annotations", {}).get(names.LAST_APPLIED, "null"))
        or a_workload()
    )
    pairs = zip(both_metadata(made), both_metadata(before), both_metadata(manifest), strict=True)
    for metadata, last, new in pairs:
        gone = last.get("annotations", {}).keys()
        kept = {
            key: value for key, value in metadata.get("annotations", {}).items() if key not in gone
        }
        metadata["annotations"] = kept | new.get("annotations", {})
    made["metadata"]["annotations"][names.LAST_APPLIED] = json.dumps(manifest)
    return made


def both_metadata(workload: Json) -> tuple[Json, Json]:
    return workload["metadata"], workload["spec"]["template"]["metadata"]


def test_an_annotation_that_moves_into_the_template_stays_there_and_is_its_authors() -> None:
    live = after(applied_to(a_workload(), a_workload({SECONDS: "1800"})), a_workload())
    moved = a_workload({}, {SECONDS: "1800"})
    for _ in range(3):
        live = after(applied_to(live, moved), live)
        assert annotations(live) == {SECONDS: "1800"}


@pytest.mark.parametrize(
    ("operation", "written", "want"),
    [
        pytest.param("Apply", [SECONDS], {SECONDS: "1800"}, id="moved into the template"),
        pytest.param("Apply", [SECONDS, FROM], {}, id="exported"),
        pytest.param("Update", [SECONDS], {}, id="somebody touched the copy"),
        pytest.param("Apply", [], {}, id="taken off"),
    ],
)
@pytest.mark.parametrize(
    "steps",
    [["spec", "template"], ["spec", "jobTemplate", "spec", "template"]],
    ids=["plain", "deep"],
)
def test_a_server_side_apply_says_what_its_manifest_writes(
    steps: list[str], operation: str, written: list[str], want: dict[str, str]
) -> None:
    fields: Json = {f"f:{name}": {} for name in written}
    for step in reversed([*steps, "metadata", "annotations"]):
        fields = {f"f:{step}": fields}
    live = a_workload({}, with_memory({SECONDS: "1800"}))
    live["metadata"]["managedFields"] = [
        {"manager": "kubectl", "operation": operation, "fieldsV1": fields}
    ]
    if len(steps) == 2:
        assert annotations(after(live, live)) == want
    else:
        live["spec"] = {"jobTemplate": {"spec": live["spec"]}}
        assert (
            annotations(after(live, live, kind="CronJob", group="batch")["spec"]["jobTemplate"])
            == want
        )


def test_what_an_earlier_release_remembered_is_read_and_written_anew_when_the_template_changes_anyway() -> (
    None
):
    old = a_workload({SECONDS: "1800"}, OLD_MEMORY)
    assert decision_on_workload(old, old).operations == ()
    more = {SECONDS: "1800", AUDIENCE: "vault"}
    assert annotations(after(the_next(old, more), old)) == with_memory(more)
    assert annotations(after(the_next(old, {SECONDS: "900"}), old)) == with_memory({SECONDS: "900"})
    edited = a_workload({SECONDS: "1800"}, {SECONDS: "700", FROM: SECONDS})
    assert annotations(after(edited, old)) == {SECONDS: "700"}


@pytest.mark.parametrize(
    "text",
    [
        " ",
        ",",
        "=",
        "a=b=c,,",
        "expiration-seconds=",
        "é" * 400,
        f"{memory({SECONDS: '1800'})}," * 20,
    ],
)
def test_a_memory_is_a_text_that_anybody_may_write(text: str) -> None:
    assert annotations(after(a_workload({SECONDS: "900"}, {SECONDS: "1800", FROM: text}))) == {
        SECONDS: "1800"
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 5000,
        "null",
        '{"spec": []}',
        '{"spec": {"template": {"metadata": {"annotations": 1}}}}',
    ],
)
def test_a_last_manifest_is_a_text_that_anybody_may_write(text: str) -> None:
    live = a_workload({names.LAST_APPLIED: text}, with_memory({SECONDS: "1800"}))
    assert annotations(after(live, live)) == {}


def test_a_memory_that_names_what_is_not_ours_takes_nothing_away() -> None:
    workload = a_workload({}, {"team": "shop", FROM: "team,boundtoken.dev/status"})
    assert annotations(after(workload)) == {"team": "shop"}


def test_a_cron_jobs_template_lies_deeper() -> None:
    job = {
        "metadata": {"name": "n", "annotations": {AUDIENCE: "vault"}},
        "spec": {"jobTemplate": {"spec": a_workload()["spec"]}},
    }
    operations = decision_on_workload(job, kind="CronJob", group="batch").operations
    assert {operation.path for operation in operations} == {
        "/spec/jobTemplate/spec/template/metadata/annotations"
    }


def test_an_annotation_on_the_jobs_of_a_cron_job_is_misplaced() -> None:
    job = {
        "metadata": {"annotations": {AUDIENCE: "vault", "team": "shop"}},
        "spec": a_workload()["spec"],
    }
    verdict = decision_on_workload(
        {"metadata": {"name": "n"}, "spec": {"jobTemplate": job}}, kind="CronJob", group="batch"
    )
    assert (verdict.reason, verdict.operations) == ("not-requested", ())
    assert verdict.warnings == (
        'boundtoken.dev/audience="vault" on the job template: ignored, it belongs on the CronJob itself or on the template of its '
        "pods",
    )


def test_a_template_without_metadata_gets_some() -> None:
    workload = a_workload({AUDIENCE: "vault"})
    del workload["spec"]["template"]["metadata"]
    assert annotations(after(workload)) == with_memory({AUDIENCE: "vault"})


@pytest.mark.parametrize("spec", [None, {}, {"template": None}])
def test_a_workload_without_a_template_is_left_to_the_api_server(spec: Json | None) -> None:
    assert (
        decision_on_workload(
            {"metadata": {"annotations": {AUDIENCE: "vault"}}, "spec": spec}
        ).operations
        == ()
    )


def test_the_developer_hears_what_is_wrong_where_they_can_see_it() -> None:
    workload = a_workload(
        {
            SECONDS: "1h",
            names.DOMAIN + "injct": "enabled",
            names.POD_OVERRIDES: "denied",
            names.SKIP_CONTAINERS: "x",
        }
    )
    assert sorted(decision_on_workload(workload).warnings) == [
        'boundtoken.dev/expiration-seconds="1h" on the workload: ignored, must be an integer number of seconds, such as 3600',
        'boundtoken.dev/injct="enabled" on the workload: ignored, there is no such annotation; did you mean boundtoken.dev/inject?',
        'boundtoken.dev/pod-overrides="denied" on the workload: ignored, it belongs on namespaces only',
        'boundtoken.dev/skip-containers="x" on the workload: there is no container "x"',
    ]


def test_the_namespaces_own_faults_are_not_told_to_developers() -> None:
    request = a_request(a_workload({AUDIENCE: "vault"}), kind="Deployment", group="apps")
    assert mutation_of(request, ClusterPolicy(), a_namespace_policy(audience="a b")).warnings == ()


BAD = {
    names.INJECT: "true",
    AUDIENCE: "a b",
    SECONDS: "15m",
    names.MOUNT_PATH: "relative",
    names.TOKENS: "vault",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_value_is_not_copied_and_its_author_is_warned(name: str) -> None:
    workload = a_workload({name: BAD[name]})
    verdict = decision_on_workload(workload)
    assert (verdict.reason, verdict.operations) == ("not-requested", ())
    (warning,) = verdict.warnings
    assert warning.startswith(f'{name}="{BAD[name]}" on the workload: ignored, ')
    good = {names.AUTOMOUNT: "disabled"} if name != names.INJECT else {AUDIENCE: "vault"}
    assert annotations(after(a_workload({name: BAD[name], **good}))) == with_memory(good)


def test_a_misspelt_inject_leaves_the_automount_beside_it_on_the_workload() -> None:
    """Copied alone, it would take the token of each pod."""
    workload = a_workload({names.INJECT: "true", names.AUTOMOUNT: "disabled"})
    assert decision_on_workload(workload).operations == ()
    workload = a_workload(
        {names.INJECT: "true", names.AUTOMOUNT: "disabled"}, {names.INJECT: "enabled"}
    )
    assert annotations(after(workload)) == {names.INJECT: "enabled"} | with_memory(
        {names.AUTOMOUNT: "disabled"}
    )


def test_a_bad_inject_is_copied_beside_an_automount_that_would_take_the_token() -> None:
    """So that the pods ignore both, as the warning says. The template's author wrote automount."""
    workload = a_workload({names.INJECT: "true"}, {names.AUTOMOUNT: "disabled"})
    assert annotations(after(workload)) == {
        names.AUTOMOUNT: "disabled",
        **with_memory({names.INJECT: "true"}),
    }
    harmless = a_workload({names.INJECT: "true"}, {names.AUTOMOUNT: "enabled"})
    assert decision_on_workload(harmless).operations == ()


@pytest.mark.parametrize("exported", [with_memory({SECONDS: "1800"}), OLD_MEMORY])
def test_a_copy_stays_as_it_is_while_its_original_is_bad(exported: dict[str, str]) -> None:
    old = a_workload({SECONDS: "1800"}, exported)
    bad = the_next(old, {SECONDS: "15m"})
    assert decision_on_workload(bad, old).operations == ()
    good = the_next(bad, {SECONDS: "900"})
    assert annotations(after(good, bad)) == with_memory({SECONDS: "900"})
    assert annotations(after(the_next(bad, {}), bad)) == {}
    more = the_next(bad, {SECONDS: "15m", AUDIENCE: "vault"})
    assert annotations(after(more, bad)) == with_memory({SECONDS: "1800", AUDIENCE: "vault"})


def test_a_put_without_the_copies_keeps_the_last_one_where_the_original_is_bad() -> None:
    old = after(a_workload({SECONDS: "1800"}))
    bad = a_workload({SECONDS: "15m"})
    assert annotations(after(bad, old)) == annotations(old)
    assert annotations(after(a_workload({}), old)) == {}


def test_a_bad_value_that_an_earlier_release_copied_restarts_nothing() -> None:
    old = a_workload({SECONDS: "15m"}, with_memory({SECONDS: "15m"}))
    assert decision_on_workload(old, old).operations == ()


def test_what_the_namespace_does_not_let_pods_change_is_not_copied() -> None:
    namespace = a_namespace_policy(pod_overrides="denied", allowed_audiences="vault")
    for own in ({AUDIENCE: "vault"}, {SECONDS: "7200"}):
        request = a_request(a_workload(own), kind="Deployment", group="apps")
        verdict = mutation_of(request, ClusterPolicy(), namespace)
        assert (verdict.operations, len(verdict.warnings)) == ((), 1)


@pytest.mark.parametrize(
    ("own", "warned"),
    [
        ({names.INJECT: "disabled"}, "the pod is left without any token"),
        ({names.MOUNT_PATH: "/var/run/mine"}, "nothing is left at /var/run/secrets/"),
        ({names.INJECT: "disabled", names.AUTOMOUNT: "enabled"}, None),
        ({names.MOUNT_PATH: "/var/run/mine", names.AUTOMOUNT: "enabled"}, None),
        ({AUDIENCE: "vault"}, None),
    ],
)
def test_what_harms_the_pods_is_told_to_who_annotates_the_workload(
    own: dict[str, str], warned: str | None
) -> None:
    namespace = a_namespace_policy(inject="enabled", automount="disabled")
    verdict = mutation_of(
        a_request(a_workload(own), kind="Deployment", group="apps"), ClusterPolicy(), namespace
    )
    assert verdict.reason == "copied"
    assert [warned in warning for warning in verdict.warnings if warned] == [True] * bool(warned)
    assert verdict.faults == ()


def test_a_path_of_the_namespace_is_not_told_to_who_annotates_something_else() -> None:
    namespace = a_namespace_policy(inject="enabled", automount="disabled", mount_path="/bound")
    request = a_request(a_workload({SECONDS: "900"}), kind="Deployment", group="apps")
    assert mutation_of(request, ClusterPolicy(), namespace).warnings == ()
