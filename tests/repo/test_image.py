"""What can be held of the image without a container engine: its steps, done in a virtual
environment of locked wheels.
"""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.processes import running_process
from webhook import __version__

DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENTRY = json.loads(re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)[0])
DEPLOYMENT = yaml.safe_load((ROOT / "manifests/40-deployment.yaml").read_text())
ARGS = DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]["args"]


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


pytestmark = pytest.mark.slow("the image's environment is installed first")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the first stage of the Dockerfile makes, by the same
    commands.
    """
    folder = tmp_path_factory.mktemp("image")
    venv, dist = folder / "venv", folder / "dist"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    locked = [
        "--no-compile",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        ROOT / "requirements-image.lock",
    ]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", venv],
        [*pip, "--python", venv / "bin/python", "install", *locked],
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", dist, ROOT],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    (wheel,) = dist.iterdir()
    done = run(
        *pip,
        "--python",
        venv / "bin/python",
        "install",
        "--no-compile",
        "--no-deps",
        "--no-index",
        wheel,
    )
    assert done.returncode == 0, done.stderr
    done = run(
        venv / "bin/python",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        venv / "lib",
    )
    assert done.returncode == 0, done.stdout
    return venv


def test_it_holds_exactly_the_locked_wheels_and_no_build_tools(image: Path) -> None:
    code = "import importlib.metadata as m; print('\\n'.join(d.name.lower().replace('_', '-') for d in m.distributions()))"
    there = set(run(image / "bin/python", "-c", code).stdout.split())
    locked = set(
        re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements-image.lock").read_text(), re.MULTILINE)
    )
    assert there - locked == {"boundtoken"}
    assert locked - there <= {
        "tzdata",
        "colorama",
        "pycparser",
        "pywin32",
    }  # by their markers, for other platforms
    assert there.isdisjoint({"pip", "setuptools", "flit-core", "wheel"})


def test_its_bytecode_is_compiled(image: Path) -> None:
    assert list(image.glob("lib/python3*/site-packages/webhook/mutation/__pycache__/mutate.*.pyc"))


def test_the_entry_point_knows_the_flags_of_the_deployment(image: Path) -> None:
    assert run(image / "bin" / ENTRY[0], "--version").stdout == f"boundtoken {__version__}\n"
    result = run(image / "bin" / ENTRY[0], *ARGS, env={"PATH": "/usr/bin:/bin"})
    assert (result.returncode, result.stderr) == (
        3,
        "boundtoken: KUBERNETES_SERVICE_HOST and _PORT are not set: not in a cluster; give --kubeconfig FILE\n",
    )


def test_it_serves(image: Path, tmp_path: Path) -> None:
    with running_process(tmp_path, executable=image / "bin" / ENTRY[0]) as server:
        body = (ROOT / "tests/review.json").read_bytes()
        url, kind = f"{server.url}/mutate", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data=body, headers=kind)
        with urllib.request.urlopen(request, context=server.trust(), timeout=10) as answer:
            assert json.loads(answer.read())["response"]["auditAnnotations"]["reason"] == "injected"


def test_the_image_runs_as_nobody_and_starts_the_command() -> None:
    assert "\nUSER 65532:65532\n" in DOCKERFILE
    assert ENTRY == ["boundtoken"]
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:3.13-slim"] * 2
