"""Live names on the real API server, in real shells and through the real kubectl."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.controlplane import build
from tests.support.cluster import Cluster
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.shells import completed
from webhook import __version__
from webhook.core import names

PATIENT = {"BOUNDTOKEN_COMPLETION_SECONDS": "60"}
"""On a busy machine the imports alone take longer than a person waits."""


def kubectl(folder: Path, *arguments: str, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """The real kubectl, which finds its plugins in PATH by its own name."""
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {build.binary()} kubectl "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{BOUNDTOKEN.parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "KUBECONFIG": str(kubeconfig), **PATIENT}
    return subprocess.run(
        [program, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_shell_knows_the_names_of_the_cluster(
    cluster: Cluster, tmp_path: Path, name: str
) -> None:
    namespace = cluster.namespace()
    cluster.deployment(namespace)
    environ = {"KUBECONFIG": str(cluster.plane.kubeconfig("admin")), **PATIENT}
    for typed, expected in (
        (f"boundtoken explain -n {namespace} deployment/", "deployment/web"),
        (f"boundtoken explain -n {namespace} deploy w", "web"),
        ("boundtoken explain -n boundtoken-sys", names.NAMESPACE),
        (f"boundtoken token request --namespace={names.NAMESPACE} bou", "boundtoken"),
    ):
        words, _ = completed(name, typed, tmp_path, environ)
        assert words[-1:] == [expected], typed


def test_kubectl_runs_and_completes_the_plugin(cluster: Cluster, tmp_path: Path) -> None:
    config = cluster.plane.kubeconfig("admin")
    result = kubectl(tmp_path, "boundtoken", "version", kubeconfig=config)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"Client Version: {__version__}\n" in result.stdout
    assert f"Server Version: {build.version()}\n" in result.stdout
    assert f"Replica Version: {__version__} (2 replicas)\n" in result.stdout
    result = kubectl(tmp_path, "boundtoken", "version", "--help", kubeconfig=config)
    assert result.stdout.startswith("usage: kubectl boundtoken version ")
    namespace = cluster.namespace()
    cluster.deployment(namespace)
    line = ["boundtoken", "explain", "-n", namespace, "deployment/"]
    result = kubectl(tmp_path, "__complete", *line, kubeconfig=config)
    assert result.stdout.splitlines() == ["deployment/web", ":4"]
    result = kubectl(tmp_path, "__complete", "boundtoken", "expl", kubeconfig=config)
    assert result.stdout.splitlines()[0].split("\t")[0] == "explain"


def test_who_may_read_nothing_is_proposed_nothing(cluster: Cluster) -> None:
    config = cluster.plane.kubeconfig("editor")
    result = boundtoken(
        "__complete", "explain", "-n", "boundtoken-system", "pod/", kubeconfig=config
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, ":4\n", "")
    result = boundtoken("version", kubeconfig=config)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Replica Version: not seen in boundtoken-system\n" in result.stdout
    assert (
        "not seen: pods in boundtoken-system: needs list on pods in boundtoken-system"
        in result.stdout
    )


def test_an_image_with_another_tag_is_asked_for_its_version(cluster: Cluster) -> None:
    """The metrics of a replica, through the API server's proxy."""
    path = f"/api/v1/namespaces/{names.NAMESPACE}/pods"
    pod = cluster.plane.call("GET", path)["items"][0]

    def tag(image: str) -> None:
        body = {"spec": {"containers": [{"name": names.APP, "image": image}]}}
        kind = "application/strategic-merge-patch+json"
        cluster.plane.call("PATCH", f"{path}/{pod['metadata']['name']}", body, kind=kind)

    tag("boundtoken:latest")
    try:
        config = cluster.plane.kubeconfig("admin")
        result = boundtoken("version", "-o", "json", kubeconfig=config)
        sources = {one["source"]: one["version"] for one in json.loads(result.stdout)["replicas"]}
        assert sources == {"image": __version__, "metrics": __version__}
    finally:
        tag(pod["spec"]["containers"][0]["image"])
