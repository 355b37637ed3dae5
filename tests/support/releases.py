"""Releases of boundtoken, unpacked and ready to be applied."""

import shutil
import subprocess
from pathlib import Path

import yaml

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.cluster import Cluster, rolled_out
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

BEFORE = "7c6f70dbb2b961897dfe62f5a774c97ad54428b8"
"""The last commit whose demands hung on a label and a webhook that fails closed."""

CHARTED = "bb46b0a590a3253cd719f20020b731f58f3cb72f"
"""The first commit with a chart."""

FLOOR = """
apiVersion: boundtoken.dev/v1alpha1
kind: Configuration
locks: {enforceFloor: bound}
"""


def unpacked(commit: str, folder: Path) -> Path:
    """The folder, with what that commit had, and with the module that the command of this checkout
    starts.
    """
    folder.mkdir()
    packed = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    entry = folder / "webhook/cli/entry.py"
    if not entry.exists():
        entry.write_text("from webhook.cli.main import main\n")
    return folder


def overlay(
    folder: Path, release: Path, code: Path | None = None, configuration: str = FLOOR
) -> Path:
    """A kustomization that installs a release's manifests with a configuration, run by `code` where
    that is given.
    """
    folder.mkdir()
    shutil.copytree(release / "manifests", folder / "manifests")
    configmap = {
        "metadata": {"name": "boundtoken", "namespace": "boundtoken-system"},
        "data": {"config.yaml": configuration},
    }
    patches = [{"patch": yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", **configmap})}]
    if code is not None:
        variable = {
            "op": "add",
            "path": "/spec/template/spec/containers/0/env/-",
            "value": {"name": "PYTHONPATH", "value": str(code)},
        }
        patches.append({"target": {"kind": "Deployment"}, "patch": yaml.safe_dump([variable])})  # type: ignore[dict-item]
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["manifests"], "patches": patches})
    )
    return folder


def install(plane: ControlPlane, kubelet: Kubelet, release: Path) -> None:
    """Apply a kustomization, and wait until its two replicas are ready."""
    plane.kubectl("apply", "-k", str(release))
    rolled_out(Cluster(plane, kubelet))


def both_answer(kubelet: Kubelet, code: Path) -> None:
    """Wait until replicas of another release, run by `code`, and of this checkout are there at the
    same time, and have answered reviews since now. A rollout may end right after that.
    """
    before = _answered(kubelet, code)
    wait_for(lambda: _releases(_answered(kubelet, code), before) == {True, False}, 90)


Answered = dict[str, tuple[bool, int]]
"""By pod whether it runs the code of another release, and how many reviews it has logged."""


def _answered(kubelet: Kubelet, code: Path) -> Answered:
    return {
        pod.name: (str(code) in str(pod.pod["spec"]), pod.log.count('"event":"review"'))
        for pod in kubelet.pods
    }


def _releases(now: Answered, before: Answered) -> set[bool]:
    """Whose replicas have answered since."""
    return {
        is_other
        for name, (is_other, number) in now.items()
        if number > before.get(name, (is_other, 0))[1]
    }
