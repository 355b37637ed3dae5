"""Every package of the image has a wheel for both processors, whose hash stands in the lock."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.release import layer
from tests.support.paths import ROOT

LOCK = (ROOT / "requirements-image.lock").read_text()
OTHER_PYTHONS = {"typing-extensions"}
"""Locked for Python before 3.13 only."""


@pytest.mark.slow("wheels are fetched")
@pytest.mark.parametrize("machine", layer.MACHINES.values())
def test_every_locked_package_has_a_wheel_for_both_processors(machine: str) -> None:
    """By the files of the index whose hashes stand in the lock, for the Python of the image."""
    major, minor = layer.IMAGE_PYTHON
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    command += ["--dry-run", "--ignore-installed", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--target", "/nonexistent", "--implementation=cp"]
    command += [f"--platform={glibc}_{machine}" for glibc in layer.GLIBC]
    command += [f"--python-version={major}.{minor}", f"--abi=cp{major}{minor}"]
    command += ["--abi=abi3", "--abi=none", "--report", "-"]
    command += ["-r", str(ROOT / "requirements-image.lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheels = {
        one["metadata"]["name"].lower().replace("_", "-"): Path(one["download_info"]["url"]).name
        for one in json.loads(done.stdout)["install"]
    }
    locked = set(re.findall(r"^([a-z0-9.-]+)==", LOCK, re.MULTILINE))
    assert locked - set(wheels) <= OTHER_PYTHONS
    pattern = rf"(none-any|cp{major}{minor}.*_{machine}|abi3.*_{machine})\.whl"
    assert [name for name in wheels.values() if not re.search(pattern, name)] == []
