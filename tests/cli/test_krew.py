"""The plugin of kubectl as krew installs it: the real krew takes manifest and archive."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.krew import build
from tests.controlplane.build import binary, krew
from tests.support.builders import Json
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


@pytest.mark.slow("krew's own check of manifests is built first")
def test_the_manifest_keeps_the_rules_of_krews_index(tmp_path: Path) -> None:
    path = tmp_path / "boundtoken.yaml"  # the plugin's name
    good = build.manifest({"amd64": "a" * 64, "arm64": "b" * 64}, URL)
    check: list[str | Path] = [krew("validate-krew-manifest"), "-skip-install", "-manifest", path]

    def code(spec: Json, **changed: Any) -> int:
        path.write_text(yaml.safe_dump({**good, "spec": spec, **changed}))
        return run(check, KREW_ROOT=str(tmp_path)).returncode

    spec = good["spec"]
    assert code(spec) == 0
    first, second = spec["platforms"]
    platforms: list[list[Json]] = [
        [],
        [{**first, "bin": ""}, second],
        [{**first, "sha256": ""}, second],
        [first, first],
    ]
    bad = [{**spec, "platforms": found} for found in platforms]
    bad += [{**spec, "version": __version__}, {**spec, "shortDescription": ""}]
    assert 0 not in [code(one) for one in bad]
    assert code(spec, apiVersion="v1")
    assert code(spec, metadata={"name": "other"})


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

    bad = tmp_path / "boundtoken.yaml"
    content = yaml.safe_load(manifest.read_text())
    (platform,) = content["spec"]["platforms"]
    assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    content["spec"]["platforms"] = [{**platform, "sha256": "0" * 64}]
    bad.write_text(yaml.safe_dump(content))
    result = run([*install, f"--manifest={bad}"], **root)
    assert (result.returncode, "checksum" in result.stderr) == (1, True), result

    result = run([*install, f"--manifest={manifest}"], **root)
    assert result.returncode == 0, result.stderr
    plugin = tmp_path / "krew/bin/kubectl-boundtoken"
    result = run([plugin, "version", "--client"], **root)
    expected = f"Client Version: {__version__}\nPython Version: {python}."
    assert result.stdout.startswith(expected), result
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {binary()} kubectl "$@"\n')
    kubectl.chmod(0o755)
    path = f"{plugin.parent}:/usr/bin:/bin:{os.environ['PATH']}"
    result = run([kubectl, "boundtoken", "version", "--client"], **root, PATH=path)
    assert (result.returncode, result.stdout[: len(expected)]) == (0, expected), result
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
