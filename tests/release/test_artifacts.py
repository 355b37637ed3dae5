"""The files of a release: the same when they are made again, with the image that they are for, and
with checksums that fit.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from docs.release import artifacts, layer, version
from tests.support.paths import ROOT
from webhook import __version__

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
NAME = "ghcr.io/example/boundtoken"


def copied(folder: Path, mask: int) -> Path:
    """What the wheel is made of, as another checkout has it."""
    before = os.umask(mask)
    try:
        shutil.copytree(
            ROOT / "webhook", folder / "webhook", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            (folder / name).write_bytes((ROOT / name).read_bytes())
        for path in folder.rglob("*"):
            path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
            os.utime(path, (mask, mask))
    finally:
        os.umask(before)
    return folder


def test_wheel_and_sdist_are_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two checkouts with other modes and times; and the sdist has all that the wheel needs."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764000000")
    one = artifacts.python_packages(tmp_path / "one", copied(tmp_path / "a", 0o022))
    two = artifacts.python_packages(tmp_path / "two", copied(tmp_path / "b", 0o077))
    assert [path.name for path in one] == [
        f"boundtoken-{__version__}-py3-none-any.whl",
        f"boundtoken-{__version__}.tar.gz",
    ]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    with tarfile.open(one[1]) as sdist:
        sdist.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    wheel, _ = artifacts.python_packages(tmp_path / "three", source)
    assert wheel.read_bytes() == one[0].read_bytes()


def test_install_yaml_is_the_manifests_with_the_image(tmp_path: Path) -> None:
    plain = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "manifests")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for digest, image in ((DIGEST, f"{NAME}@{DIGEST}"), ("", f"{NAME}:{__version__}")):
        (path,) = artifacts.install_manifest(tmp_path, NAME, digest)
        text = path.read_text()
        assert text.startswith(f"# boundtoken {__version__}, ")
        expected = plain.replace(f"image: boundtoken:{__version__}\n", f"image: {image}\n")
        assert list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(expected))
        assert [path.name for path in tmp_path.iterdir()] == ["install.yaml"]
    for wrong in ("sha256:12", f"{DIGEST}\nx", "latest"):
        with pytest.raises(ValueError, match="must be sha256: and 64 hexadecimal digits"):
            artifacts.install_manifest(tmp_path, NAME, wrong)


def test_the_notes_are_the_section_of_the_changelog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = artifacts.notes(tmp_path, NAME, DIGEST)
    first, _, rest = path.read_text().partition("\n\n")
    assert f"`{NAME}@{DIGEST}`" in first
    assert rest.startswith("### ")
    assert rest.strip() in (ROOT / "CHANGELOG.md").read_text()
    for text in ("", "x" * (artifacts.MAX_NOTES + 1)):
        monkeypatch.setattr(version, "section", lambda _name, text=text: text)
        with pytest.raises(ValueError, match="must have text, at most 100000"):
            artifacts.notes(tmp_path, NAME)


VALUES = """# The image
image:
  repository: boundtoken
  tag: ""
  # Used instead of the tag.
  digest: ""
other:
    digest: ""
"""


def test_the_chart_of_a_release_has_its_image(tmp_path: Path) -> None:
    changed = artifacts.with_image(VALUES, NAME, DIGEST)
    assert yaml.safe_load(changed)["image"] == {"repository": NAME, "tag": "", "digest": DIGEST}
    assert changed.count("\n") == VALUES.count("\n")
    for spoilt in ("image: {}\n", VALUES + VALUES):
        with pytest.raises(ValueError, match=r"values.yaml: image.repository must be boundtoken"):
            artifacts.with_image(spoilt, NAME, DIGEST)
    real = ROOT / "manifests/chart/values.yaml"
    if real.exists():
        values = yaml.safe_load(artifacts.with_image(real.read_text(), NAME, DIGEST))
        assert values["image"]["digest"] == DIGEST


URL = "https://github.com/example/tokens/releases/download/v1.2.3"


def test_the_links_of_a_released_chart_lead_to_the_sources_of_the_release() -> None:
    source = artifacts.sources(URL)
    assert source == "https://github.com/example/tokens/blob/v1.2.3"
    assert artifacts.sources("https://example.com/boundtoken/releases") == ""
    for name in ("README.md", "values.yaml", "Chart.yaml"):
        text = (ROOT / "manifests/chart" / name).read_text()
        changed = artifacts.linked(text, source)
        assert "](../" not in changed
        assert "boundtoken.dev/docs" not in changed
        for path in re.findall(rf"{re.escape(source)}/([^)#\s`,]+)", changed):
            assert (ROOT / path).exists() or path.startswith("docs/runbooks"), path
    chart = yaml.safe_load(
        artifacts.linked((ROOT / "manifests/chart/Chart.yaml").read_text(), source)
    )
    assert chart["home"] == "https://github.com/example/tokens"
    assert chart["sources"] == [chart["home"]]


def test_the_chart_is_packed_by_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in that only records how it is called."""
    helm = tmp_path / "helm"
    helm.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f'[ "$1" = package ] && cp "$4/values.yaml" "$3/boundtoken-{__version__}.tgz"\nexit 0\n'
    )
    helm.chmod(0o755)
    chart = tmp_path / "root/manifests/chart"
    chart.mkdir(parents=True)
    monkeypatch.setattr(artifacts, "ROOT", tmp_path / "root")
    monkeypatch.setenv("HELM", str(helm))
    assert artifacts.chart(tmp_path, NAME, DIGEST) == []
    (chart / "Chart.yaml").write_text("name: boundtoken\n")
    (chart / "values.yaml").write_text(VALUES)
    (path,) = artifacts.chart(tmp_path, NAME, DIGEST)
    assert yaml.safe_load(path.read_text())["image"]["digest"] == DIGEST
    lint, package = (tmp_path / "calls").read_text().splitlines()
    assert (lint.split()[0], package.split()[0]) == ("lint", "package")
    assert (chart / "values.yaml").read_text() == VALUES


def test_the_checksums_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python/b.whl").write_bytes(b"wheel")
    (tmp_path / "a.yaml").write_bytes(b"manifest")
    (path,) = artifacts.checksums(tmp_path)
    before = path.read_text()
    assert artifacts.checksums(tmp_path) == [path]
    assert path.read_text() == before
    for file in tmp_path.rglob("*.whl"):
        file.rename(tmp_path / file.name)  # as a release has them, in one folder
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "a.yaml: OK\nb.whl: OK\n")
    (tmp_path / "python/a.yaml").write_bytes(b"another")
    with pytest.raises(ValueError, match="the names of the files must differ"):
        artifacts.checksums(tmp_path)


def test_the_command_lists_what_it_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "docs.release", "--out", str(tmp_path / "out")]
    command += ["--image", NAME, "--digest", DIGEST, "--only", "install", "--only", "notes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = {
        name: (digest, int(size)) for digest, size, name in map(str.split, done.stdout.splitlines())
    }
    assert set(listed) == {"SHA256SUMS", "install.yaml", "notes.txt"}
    sums = (tmp_path / "out/SHA256SUMS").read_text()
    digest, size = listed["install.yaml"]
    assert sums == f"{digest}  install.yaml\n"  # notes are no file of a release
    assert size == (tmp_path / "out/install.yaml").stat().st_size


def test_a_python_of_another_release_is_not_that_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python3.13"
    for answer, found in (("echo 3.13", str(python)), ("echo 3.12", None), ("exit 127", None)):
        python.write_text(f"#!/bin/sh\n{answer}\n")
        python.chmod(0o755)
        monkeypatch.setenv("IMAGE_PYTHON", str(python))
        assert artifacts.image_python() == found


@pytest.mark.slow("the layer of the image is laid out")
def test_the_image_of_a_release_is_its_layers_and_sboms(tmp_path: Path) -> None:
    machine = layer.this_machine()
    layers, *boms = artifacts.image(tmp_path, (machine,))
    found = json.loads(layers.read_text())
    (one,) = found["layers"]
    assert one["platform"] == f"linux/{machine}"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", one["digest"])
    assert one["compressedSize"] < one["size"] < 80_000_000
    assert found["isOfImage"] is (found["python"] == layer.IMAGE_RELEASE)
    assert [path.name for path in boms] == ["boundtoken.cdx.json", "boundtoken.spdx.json"]
