"""The plugin of kubectl as krew installs it: the real krew takes manifest and archive."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from docs.krew import build
from tests.controlplane.build import krew
from tests.support.paths import ROOT
from webhook import __version__

URL = "https://example.com/releases"


def test_the_manifest_has_a_platform_for_each_archive() -> None:
    found = build.manifest({"amd64": "a" * 64, "arm64": "b" * 64}, URL + "/")
    assert found["metadata"] == {"name": "boundtoken"}
    assert found["spec"]["version"] == f"v{__version__}"
    assert len(found["spec"]["shortDescription"]) <= 50  # of krew's naming guide
    first = found["spec"]["platforms"][0]
    assert first == {
        "selector": {"matchLabels": {"os": "linux", "arch": "amd64"}},
        "uri": f"{URL}/kubectl-boundtoken_v{__version__}_linux_amd64.tar.gz",
        "sha256": "a" * 64,
        "bin": "kubectl-boundtoken",
    }
    text = (ROOT / "docs/krew/README.md").read_text()
    assert build.archive_name("amd64") in text


def run(command: list[str | Path], **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": variables["KREW_ROOT"], **variables}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow("an archive is made of the locked wheels, and krew is built first")
def test_krew_installs_a_plugin_that_runs(tmp_path: Path) -> None:
    machine, python = build.this_machine(), f"{sys.version_info[0]}.{sys.version_info[1]}"
    manifest = build.write(tmp_path / "dist", URL, [machine], [python])
    archive = manifest.parent / build.archive_name(machine)
    root = {"KREW_ROOT": str(tmp_path / "krew")}
    install: list[str | Path] = [krew(), "install", f"--archive={archive}"]

    content = yaml.safe_load(manifest.read_text())
    for spoilt in (
        {**content, "apiVersion": "v1"},
        {**content, "spec": {**content["spec"], "platforms": []}},
    ):
        bad = tmp_path / "boundtoken.yaml"
        bad.write_text(yaml.safe_dump(spoilt))
        assert run([*install, f"--manifest={bad}"], **root).returncode == 1

    result = run([*install, f"--manifest={manifest}"], **root)
    assert result.returncode == 0, result.stderr
    plugin = tmp_path / "krew/bin/kubectl-boundtoken"
    result = run([plugin, "version", "--client"], **root)
    assert result.stdout.startswith(f"Client Version: {__version__}\nPython Version: {python}."), (
        result
    )
    result = run([plugin, "help", "version"], **root)
    assert result.stdout.startswith("usage: kubectl boundtoken version"), result
    deployment = ROOT / "manifests/examples/deployment.yaml"
    result = run([plugin, "inject", str(deployment), "--inject=enabled"], **root)
    assert (result.returncode, "boundtoken.dev/status" in result.stdout) == (0, True), result
    result = run([plugin, "explain", "pod/x"], **root)
    assert (result.returncode, "there is no such file" in result.stderr) == (3, True), result


def test_an_archive_is_the_same_to_the_byte_and_only_the_launcher_can_be_run() -> None:
    files = {"start.py": b"x", "kubectl-boundtoken": b"y"}
    made = build.packed(files)
    assert made == build.packed(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        modes = {entry.name: (entry.mode, entry.mtime) for entry in tar}
    assert modes == {"kubectl-boundtoken": (0o755, 0), "start.py": (0o644, 0)}


def test_without_a_python_the_launcher_says_so(tmp_path: Path) -> None:
    launcher = tmp_path / "kubectl-boundtoken"
    launcher.write_text(build.LAUNCHER)
    for tool in ("readlink", "dirname"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    result = subprocess.run(
        ["/bin/sh", launcher],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (
        3,
        "kubectl boundtoken needs Python 3.11, 3.12 or 3.13\n",
    )
