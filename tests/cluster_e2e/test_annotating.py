"""Who annotates a namespace hears at once: typed as in the first hour of people who tried the first
release, on the real API server.
"""

import json
from pathlib import Path

import pytest
import yaml

from tests.controlplane.cluster import MERGE_PATCH, ControlPlane, KubectlError
from tests.support.builders import Json, a_bare_pod, a_deployment, volume_names
from tests.support.cluster import NAMESPACES, Cluster, namespaces_unreviewed
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.core import names

INJECT = 'boundtoken.dev/inject="true": must be "enabled", "replace" or "disabled", spelled exactly so (did you mean "enabled"?)'


def refused(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    """What kubectl says of a request that is refused."""
    with pytest.raises(KubectlError) as caught:
        plane.run_kubectl(*arguments, stdin=stdin)
    return str(caught.value).removeprefix(f"kubectl {' '.join(arguments)}: ")


def warned(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> list[str]:
    """The warnings of a request that is not refused."""
    lines = plane.run_kubectl(*arguments, stdin=stdin).stderr.splitlines()
    return [line.removeprefix("Warning: ") for line in lines]


def annotations_of(plane: ControlPlane, namespace: str) -> dict[str, str]:
    metadata = plane.call("GET", f"{NAMESPACES}/{namespace}")["metadata"]
    return {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if name.startswith(names.DOMAIN)
    }


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace()


def test_a_typo_that_took_all_access_away_is_refused(cluster: Cluster, namespace: str) -> None:
    plane = cluster.plane
    typed = ("annotate", "ns", namespace, "boundtoken.dev/inject=true", "boundtoken.dev/automount=disabled")  # fmt: skip
    for dry_run in ([], ["--dry-run=server"]):
        message = refused(plane, *typed, *dry_run)
        assert "Forbidden" in message
        assert message.endswith(f'denied the request: namespace "{namespace}": {INJECT}')
    assert annotations_of(plane, namespace) == {}
    pod, _ = cluster.create(namespace, a_bare_pod())
    assert volume_names(pod)[0].startswith("kube-api-access-")
    assert warned(plane, *typed[:3], "boundtoken.dev/inject=enabled", typed[4]) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("max-expiration-seconds=1h", ' (did you mean "3600"?)'),
        ("enforce=restricted", ' (did you mean "strict"?)'),
        ("enforce=Bound", ' (did you mean "bound"?)'),
        ("enforce-version=v9", 'must be "v1" or "latest"'),
    ],
)
def test_a_value_that_nobody_checked_is_refused(
    cluster: Cluster, namespace: str, typed: str, meant: str
) -> None:
    message = refused(cluster.plane, "annotate", "ns", namespace, f"boundtoken.dev/{typed}")
    assert message.endswith(meant)
    assert annotations_of(cluster.plane, namespace) == {}


def test_labels_and_unknown_names_are_warned_of(cluster: Cluster, namespace: str) -> None:
    plane = cluster.plane
    assert warned(plane, "label", "ns", namespace, "boundtoken.dev/inject=enabled") == [
        f'boundtoken.dev/inject="enabled" on namespace "{namespace}": ignored, it is a label, and boundtoken reads annotations only'
    ]
    assert warned(plane, "label", "ns", namespace, "boundtoken.dev/inject-") == []
    assert warned(plane, "annotate", "ns", namespace, "boundtoken.dev/audiance=vault") == [
        f'boundtoken.dev/audiance="vault" on namespace "{namespace}": ignored, there is no such annotation; did you mean '
        "boundtoken.dev/audience?"
    ]
    assert warned(plane, "annotate", "ns", namespace, "boundtoken.dev/expiration-seconds=60") != []
    manifest = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"{namespace}-new", "annotations": {names.INJECT: "true"}},
        }
    )
    assert INJECT in refused(plane, "create", "-f", "-", stdin=manifest)


def test_a_fault_from_before_leaves_the_namespace_editable_and_deletable(cluster: Cluster) -> None:
    plane = cluster.plane
    with namespaces_unreviewed(cluster):
        faulty = cluster.namespace(inject="true", automount="disabled")
    (told,) = warned(plane, "label", "ns", faulty, "team=a")
    assert told.startswith(
        f'boundtoken.dev/inject="true" on namespace "{faulty}": ignored, must be'
    )
    assert warned(plane, "annotate", "ns", faulty, "boundtoken.dev/audience=vault")
    assert "inject" not in refused(
        plane, "annotate", "ns", faulty, "boundtoken.dev/enforce=Bound", "boundtoken.dev/inject-"
    )
    path = f"{NAMESPACES}/{faulty}"
    plane.call("PATCH", path, {"metadata": {"finalizers": ["example.com/stays"]}}, kind=MERGE_PATCH)
    body = {"metadata": {"annotations": {names.ENFORCE: "Bound"}}}
    plane.call("PATCH", f"{path}/status", body, kind=MERGE_PATCH)
    current = plane.call("GET", path)
    plane.call("PUT", f"{path}/finalize", {**current, "metadata": {**current["metadata"], "annotations": {names.WARN: "Bound"}}})  # fmt: skip
    plane.call("DELETE", path)
    for key in (names.WARN, names.AUDIT):  # it terminates now, and waits for its finalizer
        plane.call(
            "PATCH", path, {"metadata": {"annotations": {key: "nonsense"}}}, kind=MERGE_PATCH
        )
    plane.call("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE_PATCH)
    wait_for(lambda: f"namespace/{faulty}\n" not in plane.kubectl("get", "ns", "-o", "name"), 30)


def a_dry_run(namespace: str, *more: str) -> tuple[str, ...]:
    typed = ("annotate", "ns", namespace, "boundtoken.dev/enforce=bound", "--overwrite")
    return (*typed, "--dry-run=server", *more)


def test_a_preview_tells_where_nothing_is_looked_at(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    plane = cluster.plane
    excluded, exempt = cluster.namespace(), cluster.namespace()
    spared = {**configured["exemptions"], "namespaces": [exempt]}
    cluster.configure({**configured, "namespaces": {"excluded": [excluded]}, "exemptions": spared})
    for name in ("kube-system", "kube-public", excluded):
        assert warned(plane, *a_dry_run(name)) == [
            f'namespace "{name}" is excluded from boundtoken, and these have no effect: boundtoken.dev/enforce'
        ]
    assert warned(plane, *a_dry_run("boundtoken-system")) == [
        'namespace "boundtoken-system" is boundtoken\'s own, and these have no effect: boundtoken.dev/enforce'
    ]
    assert warned(plane, *a_dry_run(exempt)) == [
        f'namespace "{exempt}" is exempt from enforcement (exemptions.namespaces), and these are ignored: boundtoken.dev/enforce'
    ]


def two_deployments(cluster: Cluster, namespace: str) -> None:
    """One that only needs a restart once the namespace injects, and one that opted out."""
    for name, replicas, annotations in (("web", 3, {}), ("optout", 1, {names.INJECT: "disabled"})):
        deployment = a_deployment()
        deployment["metadata"]["name"] = name
        deployment["spec"]["replicas"] = replicas
        deployment["spec"]["selector"]["matchLabels"] = {"app": name}
        deployment["spec"]["template"]["metadata"] = {"labels": {"app": name}, "annotations": annotations}  # fmt: skip
        cluster.plane.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)
    wait_for(lambda: len(cluster.plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"]) == 4)


def test_a_preview_is_a_forecast_and_answers_an_unchanged_demand(
    cluster: Cluster, namespace: str
) -> None:
    plane = cluster.plane
    two_deployments(cluster, namespace)
    plane.kubectl(
        "annotate", "ns", namespace, "boundtoken.dev/inject=enabled", "boundtoken.dev/enforce=bound"
    )
    told = [
        f'4 existing pods in namespace "{namespace}" violate "bound": 3 comply after a restart, 1 will be refused (deployment/optout)',
        'deployment/optout: [token-lifetime] volume "kube-api-access-*": the automounted token is valid for one year, not 86400 s; '
        "the pod says boundtoken.dev/inject: disabled; take that off the pod template",
        "deployment/web (3 pods): comply after a restart, such as by kubectl rollout restart",
    ]
    assert warned(plane, *a_dry_run(namespace)) == told
    assert "3 warnings received" in refused(plane, *a_dry_run(namespace, "--warnings-as-errors"))
    assert warned(plane, "annotate", "ns", namespace, "unrelated=1") == []
    plane.kubectl("delete", "deployment/optout", "-n", namespace)
    # No kubelet makes a pod of this namespace ready, so that a rollout would not go on.
    plane.kubectl("delete", "pods", "-l", "app=web", "-n", namespace)

    def is_restarted() -> bool:
        pods = plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"]
        return len(pods) == 3 and all(
            names.STATUS in (pod["metadata"].get("annotations") or {}) for pod in pods
        )

    wait_for(is_restarted, 60)
    # Another policy with the same meaning: the answer above is used again for half a minute.
    plane.kubectl("annotate", "ns", namespace, "boundtoken.dev/enforce-version=latest")
    assert warned(plane, *a_dry_run(namespace, "--warnings-as-errors")) == []


def test_the_line_for_a_pipeline_fails_where_pods_violate(cluster: Cluster, namespace: str) -> None:
    plane = cluster.plane
    label = f"kubernetes.io/metadata.name in ({namespace})"
    line = ("annotate", "namespaces", "-l", label, "--overwrite", "boundtoken.dev/enforce=bound", "--dry-run=server", "--warnings-as-errors")  # fmt: skip
    assert warned(plane, *line) == []
    cluster.create(namespace, a_bare_pod())
    plane.kubectl("annotate", "ns", namespace, "boundtoken.dev/enforce-version=latest")
    assert f'1 existing pod in namespace "{namespace}" violates' in refused(plane, *line)
    ours = "kubernetes.io/metadata.name notin (kube-system,kube-public,kube-node-lease,boundtoken-system)"
    others = refused(plane, *line[:3], ours, *line[4:])
    assert f'1 existing pod in namespace "{namespace}" violates' in others
    assert "is excluded from boundtoken" not in others
    everywhere = refused(plane, "annotate", "namespaces", "--all", "--overwrite", "boundtoken.dev/enforce=bound", "--dry-run=server", "--warnings-as-errors")  # fmt: skip
    assert 'namespace "kube-system" is excluded from boundtoken' in everywhere


def test_a_floor_is_previewed_before_and_named_after(
    cluster: Cluster, namespace: str, configured: dict[str, Json], tmp_path: Path
) -> None:
    plane, file = cluster.plane, tmp_path / "floor.yaml"
    two_deployments(cluster, namespace)
    plane.kubectl("annotate", "ns", namespace, "boundtoken.dev/inject=enabled")
    locks = {**configured["locks"], "enforceFloor": "bound"}
    file.write_text(yaml.safe_dump({**configured, "locks": locks}))
    result = boundtoken("config", "preview", str(file), "-o", "json", kubeconfig=plane.kubeconfig())
    assert (result.returncode, result.stderr) == (1, "")
    lines = json.loads(result.stdout)["namespaces"][namespace]
    told = f'4 existing pods in namespace "{namespace}" violate the cluster\'s enforceFloor "bound": 3 comply after a restart, 1 will be refused (deployment/optout)'
    assert lines[0] == told
    cluster.configure({**configured, "locks": locks})
    off = ("annotate", "ns", namespace, "boundtoken.dev/enforce=off", "--dry-run=server")
    found = warned(plane, *off)
    assert found[:2] == [
        f'boundtoken.dev/enforce="off" on namespace "{namespace}": the cluster\'s enforceFloor "bound" is stricter, and decides',
        told,
    ]
    assert 'is under the cluster\'s enforceFloor "bound"' in cluster.denial(
        namespace, a_bare_pod(annotations={names.INJECT: "disabled"})
    )
