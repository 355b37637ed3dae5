"""The commands of docs/operations.md that take boundtoken away, typed as they stand there."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane
from tests.support.builders import VIOLATING, a_bare_pod, volume_names
from tests.support.cluster import Cluster, injected, rolled_out
from tests.support.load import Load, secrets
from tests.support.paths import ROOT
from tests.support.switching import LONGEST_SECONDS, pods_all_the_while, typed
from tests.support.waiting import wait_for
from webhook.core import names


def commands(heading: str) -> str:
    """The shell commands below a heading of docs/operations.md."""
    _, found, rest = (ROOT / "docs/operations.md").read_text().partition(f"\n## {heading}")
    assert found
    fenced = re.search(r"^```\n(.*?)^```", rest, re.MULTILINE | re.DOTALL)
    assert fenced is not None
    return fenced[1]


FAILS_OPEN = "resources: [boundtoken/manifests]\n"
FAILS_CLOSED = (
    f"{FAILS_OPEN}components: [boundtoken/manifests/optional/legacy-tokens-fail-closed]\n"
)
VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/boundtoken"
PLACES = "jsonpath={range .items[*]}{.metadata.namespace} {.kind}/{.metadata.name}{'\\n'}{end}"


def leftovers(plane: ControlPlane, kinds: set[str]) -> list[str]:
    """Every object of these kinds with our name, in our namespace or in none. Other tests have
    installations in other namespaces.
    """
    rows = plane.kubectl("get", ",".join(sorted(kinds)), "-A", "-o", PLACES).splitlines()
    places = [row.partition(" ") for row in rows]
    return [
        name for place, _, name in places if names.APP in name and place in ("", names.NAMESPACE)
    ]


def failure_policies(plane: ControlPlane) -> list[str]:
    """Of each entry for validation."""
    return [entry["failurePolicy"] for entry in plane.call("GET", VALIDATING)["webhooks"]]


def annotated(plane: ControlPlane, *namespaces: str) -> list[str]:
    """Every one of these namespaces, and every workload in one, that has a word of ours. In others
    are words that other tests have misspelt, or written into pod templates.
    """
    kinds = "namespaces,deployments,statefulsets,daemonsets,cronjobs"
    items = yaml.safe_load(plane.kubectl("get", kinds, "-A", "-o", "yaml"))["items"]
    return [
        item["metadata"]["name"]
        for item in items
        if item["metadata"].get("namespace", item["metadata"]["name"]) in namespaces
        and names.DOMAIN in without_history(item)
    ]


def without_history(item: dict[str, Any]) -> str:
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return yaml.safe_dump({**item, "metadata": metadata})


def test_uninstalling_leaves_nothing_behind_and_no_pod_waits_or_is_refused(
    cluster: Cluster, tmp_path: Path
) -> None:
    plane = cluster.plane
    shutil.copytree(ROOT / "manifests", tmp_path / "boundtoken/manifests")
    shutil.copytree(ROOT / "manifests/examples/overlay", tmp_path, dirs_exist_ok=True)
    overlay = tmp_path / "kustomization.yaml"
    text = overlay.read_text()
    overlay.write_text(text.replace("# components:", "components:"))
    plane.kubectl("apply", "-k", str(tmp_path))
    rolled_out(cluster)
    kinds = {
        manifest["kind"].lower()
        for manifest in yaml.safe_load_all(plane.kubectl("kustomize", str(tmp_path)))
    } | {"secret", "lease", "endpointslice", "pod", "replicaset"}
    overlay.write_text(text)  # as if the component had been taken out of the overlay since
    by_injection = cluster.namespace(
        inject="enabled", automount="disabled", enforce="strict", warn="strict"
    )
    by_workload, plain = cluster.namespace(enforce="bound"), cluster.namespace()
    plane.kubectl("label", "namespace", plain, f"{names.LEFTOVER_LABEL}=true")
    wait_for(lambda: injected(cluster, by_injection), 60)
    cluster.deployment(by_workload, annotations={names.INJECT: "enabled"})
    made = by_injection, by_workload, plain
    assert annotated(plane, *made)
    assert {"Deployment/boundtoken", "Secret/boundtoken-ca"} <= set(leftovers(plane, kinds))
    with pods_all_the_while(cluster, by_injection, plain) as results:
        typed(plane, commands("Uninstall"), tmp_path)
    try:
        assert leftovers(plane, kinds) == []
        assert annotated(plane, *made) == []
        assert [result for result in results if result[2]] == []
        assert max(seconds for _, seconds, _ in results) < LONGEST_SECONDS
        assert {namespace for namespace, *_ in results} == {by_injection, plain}
    finally:
        plane.kubectl("apply", "-k", str(ROOT / "manifests"))
        wait_for(lambda: cluster.kubelet.proxy.ready("boundtoken") == 2, 60)
    cluster.annotate(by_injection, inject="enabled", automount="disabled")
    wait_for(lambda: injected(cluster, by_injection), 60)
    wait_for(lambda: names.EXCLUDED_NAMESPACES in cluster.settings(), 30)


@pytest.mark.parametrize(
    ("script", "overlay"),
    [
        ("kubectl delete -k .", FAILS_OPEN),
        ("kubectl delete namespace boundtoken-system", FAILS_CLOSED),
        (
            "kubectl delete namespace boundtoken-system && kubectl delete -k . --ignore-not-found",
            FAILS_CLOSED,
        ),
    ],
    ids=["all at once", "only the namespace", "the namespace first"],
)
def test_taken_away_in_another_order_nobody_is_refused_who_was_not_before(
    cluster: Cluster, tmp_path: Path, script: str, overlay: str
) -> None:
    """What people had demanded of a namespace goes on where its policies stay; nothing else is
    refused, and nobody waits for replicas that are gone: not even where the entry for pods fails
    closed as long as they are there.
    """
    plane = cluster.plane
    shutil.copytree(ROOT / "manifests", tmp_path / "boundtoken/manifests")
    (tmp_path / "kustomization.yaml").write_text(overlay)
    plane.kubectl("apply", "-k", str(tmp_path))
    assert ("Fail" in failure_policies(plane)) == (overlay == FAILS_CLOSED)
    injecting, plain = (
        cluster.namespace(inject="enabled", automount="disabled"),
        cluster.namespace(),
    )
    enforcing = cluster.namespace(enforce="bound")
    wait_for(lambda: cluster.denial(enforcing, VIOLATING), 15)
    others = Load({"secrets": secrets(plane, plain)})
    with pods_all_the_while(cluster, injecting, plain) as results, others.running():
        typed(plane, script, tmp_path)
        others.wait_for_more(5)
    try:
        assert [result for result in results if result[2]] == []
        assert others.problems == []
        assert max(seconds for _, seconds, _ in results) < LONGEST_SECONDS
        pod, _ = cluster.create(plain, a_bare_pod(), query="?dryRun=All")
        assert volume_names(pod) != ["boundtoken"]
        stays = script.endswith("namespace boundtoken-system")
        assert bool(cluster.denial(enforcing, VIOLATING)) == stays
    finally:
        plane.kubectl("apply", "-k", str(ROOT / "manifests"))
        wait_for(lambda: cluster.kubelet.proxy.ready("boundtoken") == 2, 60)
    wait_for(lambda: injected(cluster, injecting), 60)
    wait_for(lambda: names.EXCLUDED_NAMESPACES in cluster.settings(), 30)
    assert set(failure_policies(plane)) == {"Ignore"}
