"""What the forge reads: the workflow runs what has to pass on every Python that is named, by
actions that cannot change.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()
JOB: dict[str, Any] = yaml.safe_load(WORKFLOW)["jobs"]["run"]


def test_the_workflow_runs_what_has_to_pass_on_every_python_that_the_package_names() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = [
        found[1]
        for classifier in classifiers
        if (found := re.search(r":: Python :: (\d+\.\d+)$", classifier))
    ]
    assert JOB["strategy"]["matrix"]["python"] == named
    (run,) = [step for step in JOB["steps"] if step.get("run") == ".ci/run"]
    assert run["env"] == {"PYTHON": "python${{ matrix.python }}"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_a_commit_and_says_its_tag(path: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (.+)$", path.read_text(), re.MULTILINE)
    assert used
    assert [
        action
        for action in used
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
        and not action.startswith("./.github/workflows/")
    ] == []


def test_one_action_has_one_version() -> None:
    used = re.findall(
        r"uses: ([\w/-]+)@([0-9a-f]{40})", "".join(path.read_text() for path in WORKFLOWS)
    )
    assert len(set(used)) == len({action for action, _ in used})


def test_the_workflow_may_read_and_nothing_else() -> None:
    assert yaml.safe_load(WORKFLOW)["permissions"] == {"contents": "read"}
    assert "permissions" not in JOB


def test_what_owners_and_dependabot_name_exists_and_no_module_of_go_is_missing() -> None:
    owned = re.findall(r"^/(\S+)", (ROOT / ".github/CODEOWNERS").read_text(), re.MULTILINE)
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    watched = {update["directory"].strip("/"): update["package-ecosystem"] for update in updates}
    assert [path for path in (*owned, *watched) if not (ROOT / path).exists()] == []
    modules = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("tests/*/go.mod")}
    assert {path for path, kind in watched.items() if kind == "gomod"} == modules
    assert [update for update in updates if update["cooldown"] != {"default-days": 7}] == []


def test_the_hooks_are_tools_of_the_lock_file() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {re.match(r"\.venv/bin/(\w+)", hook["entry"])[1] for hook in hooks}  # type: ignore[index]
    assert tools <= set(
        re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    )
