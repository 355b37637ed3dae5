"""promtool, and the rules as a Prometheus without the operator reads them."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.monitoring import build
from tests.support.paths import ROOT


@pytest.fixture(scope="session")
def promtool() -> Path:
    return build.promtool()


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    return build.prometheus()


@pytest.fixture(scope="session")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the command in docs/operations.md makes of the manifest."""
    page = (ROOT / "docs/operations.md").read_text()
    command, name = re.findall(r"^(sed .*prometheusrule\.yaml) > (\S+)$", page, re.MULTILINE)[0]
    command = command.replace("boundtoken/manifests", str(ROOT / "manifests"))
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    file = tmp_path_factory.mktemp("rules") / str(name)
    file.write_text(done.stdout)
    return file
