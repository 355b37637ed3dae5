"""Annotations of workloads on the real API server: copied, kept, undone."""

import json
from typing import Any

import pytest

from tests.support.builders import Json, a_bare_pod, a_container, a_deployment, with_memory
from tests.support.cluster import Cluster, life
from tests.support.waiting import wait_for
from webhook.core import names

AUDIENCE, SECONDS = names.AUDIENCE, names.EXPIRATION_SECONDS


def in_template(workload: Json) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"].get("annotations") or {})


def path(namespace: str, kind: str = "deployments", group: str = "apps") -> str:
    return f"/apis/{group}/v1/namespaces/{namespace}/{kind}"


def the(cluster: Cluster, namespace: str) -> Json:
    return dict(cluster.plane.call("GET", path(namespace) + "/web"))


def apply(cluster: Cluster, namespace: str, manifest: Json) -> str:
    return cluster.plane.run_kubectl(
        "apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest)
    ).stderr


def test_an_annotation_of_a_deployment_reaches_its_pods_token(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    pod = cluster.deployment(namespace, annotations={SECONDS: "1800"})
    cluster.bind(pod)
    assert {life(token) for token in cluster.tokens(pod).values()} == {1800}
    assert in_template(the(cluster, namespace)) == with_memory({SECONDS: "1800"})


def test_kubectl_apply_keeps_changes_and_undoes_what_was_copied(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    assert apply(cluster, namespace, a_deployment({AUDIENCE: "vault", SECONDS: "1800"})) == ""
    apply(cluster, namespace, a_deployment({AUDIENCE: "vault", SECONDS: "1800"}))
    assert in_template(the(cluster, namespace)) == with_memory({AUDIENCE: "vault", SECONDS: "1800"})
    generation = the(cluster, namespace)["metadata"]["generation"]
    apply(cluster, namespace, a_deployment({AUDIENCE: "vault", SECONDS: "1800"}))
    assert the(cluster, namespace)["metadata"]["generation"] == generation
    apply(cluster, namespace, a_deployment({SECONDS: "1200"}))
    assert in_template(the(cluster, namespace)) == with_memory({SECONDS: "1200"})
    apply(cluster, namespace, a_deployment())
    assert in_template(the(cluster, namespace)) == {}


def test_server_side_apply_keeps_and_undoes_too(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    for annotations, want in (
        ({AUDIENCE: "vault"}, with_memory({AUDIENCE: "vault"})),
        ({AUDIENCE: "vault"}, with_memory({AUDIENCE: "vault"})),
        ({}, {}),
    ):
        manifest = json.dumps(a_deployment(annotations))
        cluster.plane.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=manifest)
        assert in_template(the(cluster, namespace)) == want


@pytest.mark.parametrize(
    "flags", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side"]
)
def test_an_exported_manifest_that_is_applied_seven_times_makes_one_revision(
    cluster: Cluster, flags: tuple[str, ...]
) -> None:
    namespace = cluster.namespace(inject="enabled")
    exported = a_deployment({SECONDS: "900"})
    exported["spec"]["template"]["metadata"]["annotations"] = with_memory({SECONDS: "1800"})
    for _ in range(7):
        cluster.plane.kubectl(
            "apply", *flags, "-n", namespace, "-f", "-", stdin=json.dumps(exported)
        )
        assert in_template(the(cluster, namespace)) == with_memory({SECONDS: "900"})
    assert the(cluster, namespace)["metadata"]["generation"] == 1


@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_an_annotation_that_moves_into_the_template_stays_there(
    cluster: Cluster, flags: tuple[str, ...]
) -> None:
    namespace = cluster.namespace(inject="enabled")
    moved = a_deployment()
    moved["spec"]["template"]["metadata"]["annotations"] = {SECONDS: "1800"}
    for manifest, want in (
        (a_deployment({SECONDS: "1800"}), with_memory({SECONDS: "1800"})),
        (moved, {SECONDS: "1800"}),
    ):
        cluster.plane.kubectl(
            "apply", *flags, "-n", namespace, "-f", "-", stdin=json.dumps(manifest)
        )
        assert in_template(the(cluster, namespace)) == want


def test_a_copy_follows_its_workload_after_a_rollback(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    for seconds in ("1800", "900"):
        apply(cluster, namespace, a_deployment({SECONDS: seconds}))
        wait_for(
            lambda: (
                the(cluster, namespace).get("status", {}).get("observedGeneration")
                == the(cluster, namespace)["metadata"]["generation"]
            )
        )
    cluster.plane.kubectl("rollout", "undo", "-n", namespace, "deployment/web")
    assert in_template(the(cluster, namespace)) == with_memory({SECONDS: "1800"})
    apply(cluster, namespace, a_deployment({SECONDS: "700"}))
    assert in_template(the(cluster, namespace)) == with_memory({SECONDS: "700"})
    apply(cluster, namespace, a_deployment())
    assert in_template(the(cluster, namespace)) == {}


def test_a_put_without_the_copies_keeps_them(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    cluster.plane.call("POST", path(namespace), a_deployment({AUDIENCE: "vault"}))
    cluster.plane.call("PUT", path(namespace) + "/web", a_deployment({AUDIENCE: "vault"}))
    assert in_template(the(cluster, namespace)) == with_memory({AUDIENCE: "vault"})
    cluster.plane.call("PUT", path(namespace) + "/web", a_deployment())
    assert in_template(the(cluster, namespace)) == {}


def test_taking_the_annotation_off_with_kubectl_annotate_undoes_it(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    cluster.plane.call("POST", path(namespace), a_deployment({AUDIENCE: "vault"}))
    cluster.plane.kubectl("annotate", "-n", namespace, "deployment/web", f"{AUDIENCE}-")
    assert in_template(the(cluster, namespace)) == {}


@pytest.mark.parametrize(
    ("group", "kind", "spec"),
    [
        (
            "apps",
            "statefulsets",
            {"serviceName": "web", "selector": {"matchLabels": {"app": "web"}}},
        ),
        ("apps", "daemonsets", {"selector": {"matchLabels": {"app": "web"}}}),
        ("apps", "replicasets", {"selector": {"matchLabels": {"app": "web"}}}),
        (
            "batch",
            "jobs",
            {"template": {"spec": {"restartPolicy": "Never", "containers": [a_container()]}}},
        ),
    ],
)
def test_every_kind_of_workload_is_copied_into_its_template(
    cluster: Cluster, group: str, kind: str, spec: Json
) -> None:
    namespace = cluster.namespace(inject="enabled")
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [a_container()]}}
    workload = {
        "metadata": {"name": "web", "annotations": {AUDIENCE: "vault"}},
        "spec": {"template": template, **spec},
    }
    created = cluster.plane.call("POST", path(namespace, kind, group), workload)
    assert in_template(created)[AUDIENCE] == "vault"
    pod = wait_for(
        lambda: (
            cluster.plane.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
            or kind == "daemonsets"
        )
    )
    assert pod is True or pod[0]["metadata"]["annotations"][AUDIENCE] == "vault"


def test_a_cron_job_is_copied_into_the_template_of_its_jobs(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    job: Json = {"template": {"spec": {"restartPolicy": "Never", "containers": [a_container()]}}}
    workload: Json = {
        "metadata": {"name": "web"},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}},
    }
    workload["metadata"]["annotations"] = {AUDIENCE: "vault"}
    created: Any = cluster.plane.call("POST", path(namespace, "cronjobs", "batch"), workload)
    assert in_template(created["spec"]["jobTemplate"]) == with_memory({AUDIENCE: "vault"})


def test_an_annotation_on_the_jobs_of_a_cron_job_is_warned_of(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    job: Json = {"template": {"spec": {"restartPolicy": "Never", "containers": [a_container()]}}}
    jobs: Json = {"metadata": {"annotations": {AUDIENCE: "vault"}}, "spec": job}
    workload: Json = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "web"}}
    stderr = apply(
        cluster, namespace, {**workload, "spec": {"schedule": "0 0 1 1 *", "jobTemplate": jobs}}
    )
    assert "it belongs on the CronJob itself or on the template of its pods" in stderr
    stderr = apply(
        cluster,
        namespace,
        {**workload, "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}},
    )
    assert stderr == ""


def test_a_job_that_is_updated_is_let_through(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [a_container()]}}}
    cluster.plane.call(
        "POST", path(namespace, "jobs", "batch"), {"metadata": {"name": "web"}, "spec": job}
    )
    cluster.plane.kubectl("annotate", "-n", namespace, "job/web", f"{AUDIENCE}=vault")


def test_a_developer_hears_of_a_fault_when_applying_the_deployment(cluster: Cluster) -> None:
    stderr = apply(cluster, cluster.namespace(inject="enabled"), a_deployment({SECONDS: "1h"}))
    assert (
        'Warning: boundtoken.dev/expiration-seconds="1h" on the workload: ignored, must be an integer number of seconds'
        in stderr
    )


def test_a_workload_without_annotations_of_ours_never_asks_us(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    cluster.plane.call("POST", path(namespace), a_deployment({"team": "shop"}))
    wait_for(lambda: cluster.audit(namespace))
    assert not any(
        "workloads.boundtoken.dev/reason" in event
        for event in cluster.audit(namespace, "deployments")
    )


def test_bad_values_on_a_deployment_make_no_revision(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    cluster.plane.call("POST", path(namespace), a_deployment({SECONDS: "1800"}))
    wait_for(lambda: the(cluster, namespace)["status"].get("observedGeneration") == 1)
    for name, value in ((SECONDS, "15m"), (names.INJECT, "true"), (names.TOKENS, "vault")):
        result = cluster.plane.run_kubectl(
            "annotate", "--overwrite", "-n", namespace, "deployment/web", f"{name}={value}"
        )
        assert f'Warning: {name}="{value}" on the workload: ignored, ' in result.stderr
    wait_for(lambda: the(cluster, namespace)["status"]["observedGeneration"] == 4)
    assert in_template(the(cluster, namespace)) == with_memory({SECONDS: "1800"})
    assert len(cluster.plane.call("GET", path(namespace, "replicasets"))["items"]) == 1


def test_a_developer_hears_what_would_harm_the_pods(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="replace", automount="disabled")
    cluster.plane.call("POST", path(namespace), a_deployment())
    for annotation, expected in (
        (f"{names.MOUNT_PATH}=/var/run/secrets/mine", "nothing is left at /var/run/secrets/"),
        (f"{names.MOUNT_PATH}=/etc", "must not hide a system folder"),
        (f"{names.INJECT}=disabled", "to keep the one of Kubernetes, also set"),
    ):
        result = cluster.plane.run_kubectl(
            "annotate", "--overwrite", "-n", namespace, "deployment/web", annotation
        )
        assert f"Warning: {annotation.partition('=')[0]}=" in result.stderr
        assert expected in result.stderr


def test_an_annotation_where_it_has_no_effect_is_warned_of(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    cluster.create(namespace, a_bare_pod(annotations={SECONDS: "1800"}))
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [a_container()]}}}
    jobs = path(namespace, "jobs", "batch")
    cluster.plane.call(
        "POST", jobs, {"metadata": {"name": "web", "annotations": {SECONDS: "900"}}, "spec": job}
    )

    def stderr(*arguments: str) -> str:
        return cluster.plane.run_kubectl(*arguments, "--overwrite", "-n", namespace).stderr

    for target, expected in (
        ("pod/web", f"{AUDIENCE}: no effect here. Only a new pod is changed: "),
        ("job/web", f"{AUDIENCE}: no effect here. The template of an existing Job "),
        ("serviceaccount/default", f"{AUDIENCE}: no effect here. Instead of a ServiceAccount, "),
    ):
        assert expected in stderr("annotate", target, f"{AUDIENCE}=vault")
        assert stderr("annotate", target, f"{AUDIENCE}=vault", "team=shop") == ""
        assert stderr("annotate", target, f"{AUDIENCE}-") == ""
        assert stderr("label", target, "team=shop") == ""
    many = [f"{names.DOMAIN}{number}=x" for number in range(4)]
    assert "4 annotations of boundtoken.dev: no effect here. " in stderr(
        "annotate", "pod/web", *many
    )
