"""Annotations on workloads: copied into the template, kept, changed and undone."""

from typing import Any

import jsonpatch
import pytest

from tests.pods import Json, a_namespace, a_request, patch_of
from webhook.core import admission, names
from webhook.core.admission import Verdict
from webhook.core.policy import ClusterLayer

AUDIENCE, SECONDS, FROM = names.AUDIENCE, names.EXPIRATION_SECONDS, names.FROM_WORKLOAD


def a_workload(own: dict[str, str] | None = None, template: dict[str, str] | None = None, **metadata: Any) -> Json:
    labels: Json = {"labels": {"app": "cart"}}
    return {
        "metadata": {"name": "cart", **({"annotations": own} if own is not None else {}), **metadata},
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {**labels, **({"annotations": template} if template is not None else {})},
                "spec": {"containers": [{"name": "app"}]},
            },
        },
    }


def judged(held: Json, old: Json | None = None, kind: str = "Deployment", group: str = "apps") -> Verdict:
    operation = "CREATE" if old is None else "UPDATE"
    request = a_request(held, kind=kind, group=group, operation=operation, oldObject=old)
    return admission.judge(request, ClusterLayer(), a_namespace(inject="enabled"))


def after(held: Json, old: Json | None = None, **kind: str) -> Json:
    operations = patch_of(judged(held, old, **kind))
    return dict(jsonpatch.apply_patch(held, operations))


def annotations(held: Json) -> dict[str, str]:
    return dict(held["spec"]["template"]["metadata"].get("annotations") or {})


def test_an_annotation_of_the_workload_is_copied_and_remembered() -> None:
    held = a_workload({AUDIENCE: "vault", SECONDS: "1800", "team": "shop"})
    assert annotations(after(held)) == {AUDIENCE: "vault", SECONDS: "1800", FROM: f"{AUDIENCE},{SECONDS}"}
    assert (judged(held).reason, judged(held).outcome) == ("copied", "patched")
    assert judged(after(held), after(held)).operations == ()


@pytest.mark.parametrize("template", [None, {}, {"team": "shop"}])
def test_the_templates_other_annotations_survive(template: dict[str, str] | None) -> None:
    assert annotations(after(a_workload({AUDIENCE: "vault"}, template))) == {
        **(template or {}),
        AUDIENCE: "vault",
        FROM: AUDIENCE,
    }


def test_the_templates_own_value_wins_and_is_not_remembered() -> None:
    held = a_workload({AUDIENCE: "vault", SECONDS: "1800"}, {AUDIENCE: "own"})
    assert annotations(after(held)) == {AUDIENCE: "own", SECONDS: "1800", FROM: SECONDS}


def test_taking_it_off_the_workload_takes_it_off_the_template() -> None:
    old = after(a_workload({AUDIENCE: "vault", SECONDS: "1800"}, {"team": "shop"}))
    less = {**old, "metadata": {"name": "cart", "annotations": {SECONDS: "1800"}}}
    assert annotations(after(less, old)) == {"team": "shop", SECONDS: "1800", FROM: SECONDS}
    none = {**old, "metadata": {"name": "cart"}}
    assert annotations(after(none, old)) == {"team": "shop"}
    assert judged(none, old).reason == "not-requested"


def test_a_changed_value_follows() -> None:
    old = after(a_workload({AUDIENCE: "vault"}))
    changed = {**old, "metadata": {"name": "cart", "annotations": {AUDIENCE: "other"}}}
    assert annotations(after(changed, old)) == {AUDIENCE: "other", FROM: AUDIENCE}


def test_a_put_without_the_copies_gets_them_again() -> None:
    old = after(a_workload({AUDIENCE: "vault"}))
    assert annotations(after(a_workload({AUDIENCE: "vault"}), old)) == {AUDIENCE: "vault", FROM: AUDIENCE}


def test_a_copied_value_that_is_edited_in_the_template_becomes_its_authors() -> None:
    old = after(a_workload({AUDIENCE: "vault"}))
    edited = a_workload({AUDIENCE: "vault"}, {AUDIENCE: "mine", FROM: AUDIENCE})
    assert annotations(after(edited, old)) == {AUDIENCE: "mine"}


def test_a_memory_that_names_what_is_not_ours_takes_nothing_away() -> None:
    held = a_workload({}, {"team": "shop", FROM: "team,boundtoken.dev/status"})
    assert annotations(after(held)) == {"team": "shop"}


def test_a_cron_jobs_template_lies_deeper() -> None:
    job = {
        "metadata": {"name": "n", "annotations": {AUDIENCE: "vault"}},
        "spec": {"jobTemplate": {"spec": a_workload()["spec"]}},
    }
    operations = judged(job, kind="CronJob", group="batch").operations
    assert {each.path for each in operations} == {"/spec/jobTemplate/spec/template/metadata/annotations"}


def test_a_template_without_metadata_gets_some() -> None:
    held = a_workload({AUDIENCE: "vault"})
    del held["spec"]["template"]["metadata"]
    assert annotations(after(held)) == {AUDIENCE: "vault", FROM: AUDIENCE}


@pytest.mark.parametrize("spec", [None, {}, {"template": None}])
def test_a_workload_without_a_template_is_left_to_the_api_server(spec: Json | None) -> None:
    assert judged({"metadata": {"annotations": {AUDIENCE: "vault"}}, "spec": spec}).operations == ()


def test_the_developer_hears_what_is_wrong_where_they_can_see_it() -> None:
    held = a_workload(
        {SECONDS: "1h", names.DOMAIN + "injct": "enabled", names.POD_OVERRIDES: "denied", names.SKIP_CONTAINERS: "x"}
    )
    assert sorted(judged(held).warnings) == [
        'boundtoken.dev/expiration-seconds="1h" on the workload: ignored, must be a whole number of seconds, in digits only, '
        "such as 3600",
        'boundtoken.dev/injct="enabled" on the workload: ignored, there is no such annotation; did you mean boundtoken.dev/inject?',
        'boundtoken.dev/pod-overrides="denied" on the workload: ignored, it belongs on namespaces only',
        'boundtoken.dev/skip-containers="x" on the workload: there is no container "x"',
    ]


def test_the_namespaces_own_faults_are_not_told_to_developers() -> None:
    request = a_request(a_workload({AUDIENCE: "vault"}), kind="Deployment", group="apps")
    assert admission.judge(request, ClusterLayer(), a_namespace(audience="a b")).warnings == ()
