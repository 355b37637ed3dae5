"""What can be held of the image without a container engine: the layer that is ours, laid out by the
script that the Dockerfile runs, and what its command does there.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.release import layer
from tests.controlplane.build import go
from tests.support.paths import ROOT
from tests.support.processes import running_process
from webhook import __version__

DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENTRY = json.loads(re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)[0])
DEPLOYMENT = yaml.safe_load((ROOT / "manifests/40-deployment.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
ARGS = POD["containers"][0]["args"]
LOCK = (ROOT / "requirements-image.lock").read_text()
OTHER_PYTHONS = {"typing-extensions"}
"""Locked for Python before 3.13 only."""
slow = pytest.mark.slow("the layer of the image is laid out first")


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    layer.collect(folder / "wheels", folder / "backend", layer.this_machine(), sys.executable)
    return folder / "wheels"


@pytest.fixture(scope="module")
def image(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer, with the Python of the tests in the place of the image's."""
    root = tmp_path_factory.mktemp("image")
    return layer.lay_out(root, wheels, sys.executable, sys.executable)


@slow
def test_it_holds_exactly_the_locked_wheels_and_no_build_tools(image: Path) -> None:
    code = f"import importlib.metadata as m; print(*(d.name.lower().replace('_', '-') for d in m.distributions(path=[{str(image / 'lib')!r}])))"
    there = set(run(sys.executable, "-c", code).stdout.split())
    locked = set(re.findall(r"^([a-z0-9.-]+)==", LOCK, re.MULTILINE))
    assert there - locked == {"boundtoken"}
    assert locked - there <= OTHER_PYTHONS


@slow
def test_two_builds_are_the_same_to_the_byte(
    wheels: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another folder, under another umask, locale, time zone and hash seed; and with a date that
    the step of the Dockerfile does not see.
    """
    variables = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    for name, value in {**variables, "SOURCE_DATE_EPOCH": "1764000000"}.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        layer.lay_out(tmp_path / "deeper" / "root", wheels, sys.executable, sys.executable)
    finally:
        os.umask(before)
    first, second = layer.packed(image.parents[1]), layer.packed(tmp_path / "deeper" / "root")
    assert layer.digest(first) == layer.digest(second)


GO_TAR = """package main

import (
	"archive/tar"
	"io"
	"os"
)

func main() {
	in, out := tar.NewReader(os.Stdin), tar.NewWriter(os.Stdout)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			panic(err)
		}
		header.Format = tar.FormatPAX
		if err := out.WriteHeader(header); err != nil {
			panic(err)
		}
		io.Copy(out, in)
	}
	out.Close()
}
"""


@slow
def test_the_layer_is_packed_as_engines_pack_it(image: Path, tmp_path: Path) -> None:
    """By Go's archive/tar, in the form that containerd and BuildKit choose: else its digest would
    not be that of the layer in the registry.
    """
    program = tmp_path / "main.go"
    program.write_text(GO_TAR)
    made = layer.packed(image.parents[1])
    done = subprocess.run([go(), "run", program], input=made, capture_output=True, check=True)
    assert layer.digest(done.stdout) == layer.digest(made)


@slow
def test_an_arbitrary_user_may_read_and_nobody_may_write(image: Path) -> None:
    """OpenShift runs it as a user without a name, in group 0."""
    modes = {path: path.stat().st_mode & 0o777 for path in [image, *image.rglob("*")]}
    assert {modes[path] for path in modes if path.is_dir()} == {0o755}
    assert {path: mode for path, mode in modes.items() if mode & 0o444 != 0o444} == {}
    assert [path for path in modes if path.is_file() and modes[path] == 0o755] == [
        image / "bin/boundtoken"
    ]
    assert {path.stat().st_mtime for path in modes} == {layer.EPOCH}  # which COPY keeps
    assert POD["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@slow
def test_its_bytecode_is_compiled_and_has_the_paths_of_the_image(image: Path) -> None:
    (compiled,) = image.glob("lib/webhook/mutation/__pycache__/mutate.*.pyc")
    content = compiled.read_bytes()
    assert int.from_bytes(content[4:8], "little") == 0b01  # by the hash of its source, unchecked
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert b"/opt/boundtoken/lib/webhook/mutation/mutate.py" in content
    assert str(image).encode() not in content
    sources = set(image.glob("lib/**/*.py"))
    assert len(sources) == len(list(image.glob("lib/**/*.pyc")))


@slow
def test_the_entry_point_knows_the_flags_of_the_deployment(image: Path) -> None:
    assert run(image / "bin" / ENTRY[0], "--version").stdout == f"boundtoken {__version__}\n"
    result = run(image / "bin" / ENTRY[0], *ARGS, env={"PATH": "/usr/bin:/bin"})
    assert (result.returncode, result.stderr) == (
        3,
        "boundtoken: KUBERNETES_SERVICE_HOST and _PORT are not set: not in a cluster; give --kubeconfig FILE\n",
    )


@slow
def test_nothing_but_the_layer_and_python_is_imported(image: Path, tmp_path: Path) -> None:
    (tmp_path / "webhook.py").write_text("raise SystemExit('of the working folder')")
    result = run(
        image / "bin" / ENTRY[0],
        "--version",
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert result.stdout == f"boundtoken {__version__}\n"


@slow
def test_it_serves(image: Path, tmp_path: Path) -> None:
    with running_process(tmp_path, executable=image / "bin" / ENTRY[0]) as server:
        body = (ROOT / "tests/review.json").read_bytes()
        url, kind = f"{server.url}/mutate", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data=body, headers=kind)
        with urllib.request.urlopen(request, context=server.trust(), timeout=10) as answer:
            assert json.loads(answer.read())["response"]["auditAnnotations"]["reason"] == "injected"
        loaded = (Path("/proc") / str(server.pid) / "maps").read_text()
        assert str(image / "lib/uvloop") in loaded


def test_a_wheel_with_scripts_is_refused(tmp_path: Path) -> None:
    for name in ("tool-1.data/scripts/tool", "../outside.py", "/etc/outside.py"):
        with zipfile.ZipFile(tmp_path / "tool-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(name, "")
        with pytest.raises(ValueError, match="must be a file of a package"):
            layer.lay_out(tmp_path / "root", tmp_path, sys.executable, sys.executable)


def test_both_stages_are_pinned_and_have_the_python_of_the_layer() -> None:
    bases = re.findall(r"^FROM (?:--platform=\S+ )?(\S+)", DOCKERFILE, re.MULTILINE)
    release = ".".join(map(str, layer.IMAGE_PYTHON))
    assert [re.sub(r"@sha256:[0-9a-f]{64}$", "", base) for base in bases] == [
        f"docker.io/library/python:{release}-slim-trixie",
        "gcr.io/distroless/python3-debian13:nonroot",
    ]
    assert f"\n# Python {layer.IMAGE_RELEASE}: " in DOCKERFILE
    assert layer.IMAGE_RELEASE.startswith(f"{release}.")
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", base) for base in bases)
    (step,) = re.findall(r"^RUN (.+)$", DOCKERFILE, re.MULTILINE)
    flags = ["--python", f"/usr/bin/python{release}", "--machine", "$TARGETARCH", "/out"]
    assert shlex.split(step)[2:] == flags


def test_nothing_of_buildkit_alone_is_in_the_dockerfile() -> None:
    """So that buildah takes it; the first stage needs no emulation."""
    assert not re.search(r"^# *syntax|--mount|<<|--link", DOCKERFILE, re.MULTILINE)
    # The second one is named as well: buildah before 1.40 otherwise puts the builder's base under
    # the layer of another processor, without a word.
    assert re.findall(r"--platform=(\S+)", DOCKERFILE) == ["$BUILDPLATFORM", "linux/$TARGETARCH"]
    assert "\nARG TARGETARCH\nRUN " in DOCKERFILE


def test_the_image_runs_as_nobody_and_starts_the_command() -> None:
    assert "\nUSER 65532:65532\n" in DOCKERFILE
    assert ENTRY == ["boundtoken"]
    assert f"ENV PATH=/{layer.PLACE}/bin:" in DOCKERFILE
    assert f"\nARG VERSION={__version__}\n" in DOCKERFILE
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", DOCKERFILE))
    assert labels >= {"title", "description", "licenses", "version", "revision", "source"}


def test_the_build_gets_what_it_copies_and_no_more(tmp_path: Path) -> None:
    """By .dockerignore, which both engines read: all is left out but what is named."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        path.rstrip("/")
        for words in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in words.split()
    }
    assert kept == copied
    for path in copied:
        source = ROOT / path
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    done = run(sys.executable, tmp_path / "docs/release/layer.py", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
