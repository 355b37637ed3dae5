"""The cluster's configuration as people apply it: what is refused at once, what a replica starts
with, and what an overlay keeps.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane, KubectlError
from tests.support.cluster import CONFIGMAP, Cluster
from tests.support.paths import ROOT

HEAD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
BAD = f"{HEAD}locks: {{maxExpirationSecond: 1800, podOverrides: hunter2}}\n"
UNKNOWN = "locks.maxExpirationSecond: unknown field; did you mean maxExpirationSeconds?"


def overlay(folder: Path, text: str = "") -> Path:
    """The overlay of the examples beside a checkout, with this configuration."""
    shutil.copytree(ROOT / "manifests", folder / "boundtoken/manifests")
    shutil.copytree(ROOT / "manifests/examples/overlay", folder, dirs_exist_ok=True)
    if text:
        (folder / "config.yaml").write_text(text)
    return folder


def rendered(plane: ControlPlane, folder: Path, kind: str) -> Any:
    (found,) = [
        manifest
        for manifest in yaml.safe_load_all(plane.kubectl("kustomize", str(folder)))
        if manifest["kind"] == kind
    ]
    return found


@pytest.mark.parametrize("name", ["boundtoken", "boundtoken-7k2fh48dm9"])
def test_a_bad_config_map_is_refused_when_it_is_applied_whatever_its_name(
    cluster: Cluster, tmp_path: Path, name: str
) -> None:
    before = cluster.plane.call("GET", CONFIGMAP)
    config_map = rendered(cluster.plane, overlay(tmp_path, BAD), "ConfigMap")
    config_map["metadata"]["name"] = name
    file = tmp_path / "configmap.yaml"
    file.write_text(yaml.safe_dump(config_map))
    for flags in (["--dry-run=server"], []):
        with pytest.raises(KubectlError) as caught:
            cluster.plane.kubectl("apply", *flags, "-f", str(file))
        denied = (
            'admission webhook "configurations.boundtoken.dev" denied the request: '
            f'configmap/{name} data["config.yaml"]: {UNKNOWN}; locks.podOverrides: must be "allowed" or "denied"'
        )
        assert denied in str(caught.value)
    assert cluster.plane.call("GET", CONFIGMAP) == before
    assert not any("hunter2" in pod.log for pod in cluster.kubelet.pods)
    file.write_text(file.read_text().replace("boundtoken-system", cluster.namespace()))
    cluster.plane.kubectl("apply", "-f", str(file))  # not in our namespace: nobody's business
