"""The commands of docs/operations.md that take boundtoken away, typed as they stand there."""

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import VIOLATING, a_bare_pod
from tests.support.cluster import NAMESPACES, Cluster, injected, rolled_out
from tests.support.paths import ROOT
from tests.support.waiting import wait_for
from webhook.core import names

LONGEST_SECONDS = 1.5
"""Of the creation of a pod on a busy machine; who waits for a replica that is not there waits for
3 s."""


def commands(heading: str) -> str:
    """The shell commands below a heading of docs/operations.md."""
    _, found, rest = (ROOT / "docs/operations.md").read_text().partition(f"\n## {heading}")
    assert found
    fenced = re.search(r"^```\n(.*?)^```", rest, re.MULTILINE | re.DOTALL)
    assert fenced is not None
    return fenced[1]


def typed(plane: ControlPlane, script: str, folder: Path) -> None:
    """Run commands as a person types them, in a folder with their overlay."""
    (folder / "bin").mkdir()
    kubectl = folder / "bin/kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {build.binary()} kubectl "$@"\n')
    kubectl.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{kubectl.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(plane.kubeconfig()),
    }
    result = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@contextlib.contextmanager
def pods_all_the_while(
    cluster: Cluster, *namespaces: str
) -> Iterator[list[tuple[str, float, str]]]:
    """Pods asked for while the block runs: of each its namespace, the seconds it took, and why it
    was refused.
    """
    results: list[tuple[str, float, str]] = []
    stop = threading.Event()

    def create(namespace: str) -> None:
        while not stop.is_set():
            start, problem = time.monotonic(), ""
            try:
                cluster.create(namespace, a_bare_pod(), query="?dryRun=All")
            except StatusError as refused:
                problem = str(refused)
            results.append((namespace, time.monotonic() - start, problem))
            time.sleep(0.05)

    threads = [threading.Thread(target=create, args=(name,)) for name in namespaces]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        stop.set()
        for thread in threads:
            thread.join()


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


def test_enforcement_goes_at_once_while_the_replicas_run(cluster: Cluster, tmp_path: Path) -> None:
    namespace = cluster.namespace(enforce="bound")
    wait_for(lambda: cluster.denial(namespace, VIOLATING), 15)
    typed(cluster.plane, commands("Enforcement must go, now"), tmp_path)
    path = f"{NAMESPACES}/{namespace}/pods?dryRun=All"

    def is_created() -> bool:
        with contextlib.suppress(StatusError):
            return bool(cluster.plane.call("POST", path, VIOLATING))
        return False

    def is_denied_by_the_policy() -> bool:
        with contextlib.suppress(StatusError):  # the webhook may be back first
            return bool(cluster.denial(namespace, VIOLATING))
        return False

    wait_for(is_created, 10)
    cluster.plane.kubectl("apply", "-k", str(ROOT / "manifests"))
    wait_for(is_denied_by_the_policy, 30)
    wait_for(lambda: names.EXCLUDED_NAMESPACES in cluster.settings(), 30)


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
