"""The cluster's configuration as people apply it: what is refused at once, what a replica starts
with, and what an overlay keeps.
"""

import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane.cluster import MERGE_PATCH, ControlPlane, KubectlError
from tests.support.builders import a_bare_pod, volume_names
from tests.support.cluster import CONFIGMAP, Cluster, rolled_out, scale
from tests.support.paths import ROOT
from tests.support.waiting import wait_for
from webhook.core import names

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
    cluster.plane.kubectl("delete", "-f", str(file))


def test_a_replica_that_starts_under_a_bad_configuration_takes_the_last_good_one(
    cluster: Cluster, configured: dict[str, Any]
) -> None:
    """What nobody may apply comes in while no replica runs: the check fails open."""
    cluster.configure({**configured, "locks": {"maxExpirationSeconds": 1800}})
    good = cluster.plane.call("GET", CONFIGMAP)["data"]["config.yaml"]
    assert cluster.settings()[names.CONFIGURATION] == good
    scale(cluster, 0)
    body = {"data": {"config.yaml": BAD}}
    cluster.plane.call("PATCH", CONFIGMAP, body, kind=MERGE_PATCH)
    scale(cluster, 2)
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    pod, _ = wait_for(lambda: injected_pod(cluster, namespace), 30)
    (volume,) = pod["spec"]["volumes"]
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token["expirationSeconds"] == 1800
    remark = "ok; the configuration file is rejected, the last good one is used\n"
    for replica in cluster.kubelet.pods:
        assert (answer(replica.ip, "/readyz"), UNKNOWN in replica.log) == (remark, True)
        metric = "boundtoken_config_last_reload_successful 0.0\n"
        assert metric in answer(replica.ip, "/metrics")
    assert cluster.settings()[names.CONFIGURATION] == good
    cluster.configure({**configured, "locks": {"maxExpirationSeconds": 1200}})
    assert [answer(replica.ip, "/readyz") for replica in cluster.kubelet.pods] == ["ok\n"] * 2


def injected_pod(cluster: Cluster, namespace: str) -> Any:
    pod, warnings = cluster.create(namespace, a_bare_pod(), query="?dryRun=All")
    return (pod, warnings) if volume_names(pod) == ["boundtoken"] else None


def answer(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}:8080{path}", timeout=30) as response:
        return str(response.read().decode())


OPTIONAL = sorted(path.name for path in (ROOT / "manifests/optional").iterdir())


@pytest.mark.parametrize("name", OPTIONAL)
def test_each_optional_part_can_be_named_in_an_overlay(
    plane: ControlPlane, tmp_path: Path, name: str
) -> None:
    folder = overlay(tmp_path)
    file = folder / "kustomization.yaml"
    before = plane.kubectl("kustomize", str(folder))
    file.write_text(f"{file.read_text()}components: [boundtoken/manifests/optional/{name}]\n")
    assert plane.kubectl("kustomize", str(folder)) != before


def test_an_overlay_keeps_its_configuration_over_an_upgrade(
    cluster: Cluster, configured: dict[str, Any], tmp_path: Path
) -> None:
    """The checkout changes and the overlay stays; applying the plain manifests would reset it."""
    assert configured["locks"]["maxExpirationSeconds"] is None
    folder = overlay(tmp_path)
    cluster.plane.kubectl("apply", "-k", str(folder))
    wait_for(lambda: "cilium-system" in cluster.settings()[names.EXCLUDED_NAMESPACES], 60)
    (release,) = (folder / "boundtoken/manifests").glob("35-*.yaml")
    release.write_text(release.read_text().replace("podOverrides: allowed", "podOverrides: denied"))
    output = cluster.plane.kubectl("apply", "-k", str(folder))
    assert "configmap/boundtoken unchanged" in output
    assert cluster.settings()[names.MAX_EXPIRATION_SECONDS] == "7200"
    cluster.plane.kubectl("apply", "-k", str(ROOT / "manifests"))
    wait_for(lambda: names.MAX_EXPIRATION_SECONDS not in cluster.settings(), 60)
    rolled_out(cluster)
