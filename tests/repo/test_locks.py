"""The lock files: that of the image has exactly what serving imports, for both processors, and
agrees with those of the commands and of the tests.
"""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

IMAGE, COMMANDS, TESTS = "requirements-image.lock", "requirements.lock", "requirements-dev.lock"
NOT_IMPORTED = {"pycparser", "typing-extensions"}
"""Of the image's lock: what cffi needs to compile, and what others need before Python 3.13."""
SERVING = """
import importlib, pkgutil, sys
refused = set(sys.argv[1].split(","))
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, *rest):
    return None if name.partition(".")[0] in refused else find(name, *rest)
PathFinder.find_spec = find_spec
import webhook.cli.main, webhook.cli.serve
for room in ("core", "mutation", "enforcement", "cluster", "pki", "serving"):
    package = importlib.import_module(f"webhook.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def locked(lock: str) -> dict[str, str]:
    """Package to version."""
    text = (ROOT / lock).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", text, re.MULTILINE))


def modules_of(packages: set[str]) -> set[str]:
    """The modules at the top that these packages bring, of those that are installed."""
    found = importlib.metadata.packages_distributions()
    return {
        module
        for module, distributions in found.items()
        if {name.lower().replace("_", "-").replace(".", "-") for name in distributions} & packages
    }


def imported_by_serving(refused: set[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SERVING, ",".join(sorted(refused))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_image_has_exactly_what_serving_imports() -> None:
    image = set(locked(IMAGE))
    others = modules_of(set(locked(TESTS)) - image) - modules_of(image)
    assert {"kubernetes", "jsonpatch", "pytest"} <= others
    done = imported_by_serving(others)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    unused = {name for name in image if not modules_of({name}) & modules}
    assert unused <= NOT_IMPORTED


def test_serving_cannot_do_without_one_of_them() -> None:
    """So that the test above can fail."""
    done = imported_by_serving({"msgspec"})
    assert "No module named 'msgspec'" in done.stderr


@pytest.mark.parametrize(("smaller", "larger"), [(IMAGE, COMMANDS), (COMMANDS, TESTS)])
def test_one_version_of_a_package_stands_in_all_locks(smaller: str, larger: str) -> None:
    of_larger = locked(larger)
    assert {
        name: version for name, version in locked(smaller).items() if of_larger.get(name) != version
    } == {}


def test_the_extra_of_the_commands_names_what_they_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {
        re.split(r"[<>=\[]", one)[0].replace(".", "-")
        for one in project["optional-dependencies"]["cli"]
    }
    assert extra == {"jsonpatch", "kubernetes", "pyjwt", "ruamel-yaml"}
    assert extra <= set(locked(COMMANDS)) - set(locked(IMAGE))
    assert {"boundtoken[cli]"} == {
        text
        for path in ("webhook/errors.py", "webhook/yamledit/nodes.py")
        for text in re.findall(r"boundtoken\[\w+\]", Path(ROOT / path).read_text())
    }
