"""Installed under another namespace, by an overlay's `namespace:` alone; and with the optional
parts.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import VIOLATING, a_bare_pod
from tests.support.cluster import NAMESPACES, Cluster, injected, rolled_out
from tests.support.paths import ROOT
from tests.support.waiting import wait_for
from webhook import cluster_config
from webhook.core import names

OPTIONAL = "components: [manifests/optional/legacy-tokens, manifests/optional/legacy-tokens-fail-closed, manifests/optional/control-plane-only]\n"


@contextmanager
def installed(
    cluster: Cluster, folder: Path, namespace: str, optional: str = ""
) -> Iterator[Kubelet]:
    """Boundtoken in a namespace of another name while the block runs; what was there before is
    there again afterwards.
    """
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    (folder / "kustomization.yaml").write_text(
        f"namespace: {namespace}\nresources: [manifests]\n{optional}"
    )
    plane = cluster.plane
    plane.kubectl("apply", "-k", str(folder))
    try:
        with Kubelet(plane, namespace) as kubelet:
            wait_for(lambda: kubelet.proxy.ready("boundtoken") == 2, 60)
            yield kubelet
    finally:
        plane.kubectl("apply", "-k", str(ROOT / "manifests"))
        plane.kubectl("delete", "namespace", namespace, "--wait=false")
        plane.kubectl(
            "delete",
            "clusterrole,clusterrolebinding",
            "boundtoken-legacy-tokens",
            "--ignore-not-found",
        )
        plane.kubectl("rollout", "restart", "-n", "boundtoken-system", "deployment/boundtoken")
        rolled_out(cluster)
        probe = cluster.namespace(inject="enabled", automount="disabled")
        wait_for(lambda: injected(cluster, probe), 60)
        wait_for(lambda: "boundtoken-system" in cluster.settings()[names.EXCLUDED_NAMESPACES], 20)


def test_the_overlay_of_the_readme_renders_with_its_image_flag_and_configuration(
    plane: ControlPlane, tmp_path: Path
) -> None:
    overlay, settings = re.findall(
        r"^```yaml\n(# \w+\.yaml.*?)^```",
        (ROOT / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    shutil.copytree(ROOT / "manifests", tmp_path / "boundtoken/manifests")
    (tmp_path / "config.yaml").write_text(settings)
    for namespace in ("boundtoken-system", "elsewhere"):
        text = overlay.replace("namespace: boundtoken-system", f"namespace: {namespace}").replace(
            "# components:", "components:"
        )
        (tmp_path / "kustomization.yaml").write_text(text)
        made = {
            manifest["kind"]: manifest
            for manifest in yaml.safe_load_all(plane.kubectl("kustomize", str(tmp_path)))
        }
        container = made["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "registry.example.com/boundtoken:0.1.0"
        assert {"--legacy-tokens=on", "--log-level=warning"} <= set(container["args"])
        assert made["ConfigMap"]["metadata"]["name"] == names.APP
        assert made["ConfigMap"]["metadata"]["namespace"] == namespace
        layer = cluster_config.parse(made["ConfigMap"]["data"]["config.yaml"]).policy
        assert layer == cluster_config.parse(settings).policy
        assert layer.locks.max_expiration_seconds == 7200


def account_token(plane: ControlPlane, namespace: str) -> str:
    return plane.kubectl("create", "token", "boundtoken", "-n", namespace).strip()


def test_another_namespace_needs_one_line_in_an_overlay(cluster: Cluster, tmp_path: Path) -> None:
    plane = cluster.plane
    with installed(cluster, tmp_path, "elsewhere") as kubelet:
        rendered = plane.kubectl("kustomize", str(tmp_path))
        assert "boundtoken-system" not in rendered
        namespace = cluster.namespace(inject="enabled", automount="disabled", enforce="strict")
        wait_for(lambda: injected(cluster, namespace), 30)
        wait_for(lambda: any('"reason":"injected"' in pod.log for pod in kubelet.pods))
        wait_for(lambda: cluster.denial(namespace, VIOLATING), 15)
        assert wait_for(
            lambda: "elsewhere" in cluster.settings()[names.EXCLUDED_NAMESPACES].split(), 20
        )
        assert plane.call("GET", f"{NAMESPACES}/elsewhere/secrets/boundtoken-ca")["data"]
        token = account_token(plane, "elsewhere")
        with pytest.raises(
            StatusError,
            match="boundtoken creates the Secret boundtoken-ca, of type Opaque, and no other",
        ):
            plane.call(
                "POST",
                f"{NAMESPACES}/elsewhere/secrets",
                {"metadata": {"name": "other"}},
                token=token,
            )


def test_legacy_tokens_can_be_made_to_fail_closed_and_our_own_pods_start_all_the_same(
    cluster: Cluster, tmp_path: Path
) -> None:
    plane = cluster.plane
    with installed(cluster, tmp_path, "closed", OPTIONAL) as kubelet:
        policy = plane.call(
            "GET", "/apis/networking.k8s.io/v1/namespaces/closed/networkpolicies/boundtoken"
        )
        assert [sorted(rule) for rule in policy["spec"]["ingress"]] == [
            ["from", "ports"],
            ["ports"],
        ]
        namespace = cluster.namespace(enforce="bound")
        secret = {
            "metadata": {
                "name": "old",
                "annotations": {"kubernetes.io/service-account.name": "default"},
            },
            "type": "kubernetes.io/service-account-token",
        }
        plane.call("POST", f"{NAMESPACES}/{namespace}/secrets", secret)
        pod = a_bare_pod(
            automountServiceAccountToken=False,
            volumes=[{"name": "s", "secret": {"secretName": "old"}}],
        )

        def refused() -> str:
            try:
                plane.call("POST", f"{NAMESPACES}/{namespace}/pods?dryRun=All", pod)
            except StatusError as problem:
                return str(problem)
            return ""

        wait_for(lambda: '[legacy-token] volume "s" (Secret "old")' in refused(), 30)
        plane.kubectl("scale", "deployment/boundtoken", "--replicas=0", "-n", "closed")
        wait_for(lambda: not kubelet.pods, 60)
        assert "failed calling webhook" in refused()
        plane.kubectl("scale", "deployment/boundtoken", "--replicas=2", "-n", "closed")
        wait_for(lambda: kubelet.proxy.ready("boundtoken") == 2, 60)
        assert '[legacy-token] volume "s" (Secret "old")' in wait_for(refused, 10)
