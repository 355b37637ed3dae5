"""The workflows of the repository, and the scripts of their steps, run as GitHub runs them, with
stand-ins for the programs that reach a registry or GitHub.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import ROOT

FOLDER = ROOT / ".github"


def load(name: str) -> dict[Any, Any]:
    """A workflow of .github/workflows; YAML reads its key `on` as true."""
    content: dict[Any, Any] = yaml.safe_load((FOLDER / "workflows" / name).read_text())
    return content


WORKFLOWS = {path.name: load(path.name) for path in sorted((FOLDER / "workflows").iterdir())}
RELEASE = WORKFLOWS["release.yml"]
JOBS: dict[str, dict[str, Any]] = RELEASE["jobs"]


def needed_by(job: str) -> set[str]:
    """All jobs of a release that end before it begins."""
    direct = JOBS[job].get("needs", [])
    before = {direct} if isinstance(direct, str) else set(direct)
    return before.union(*(needed_by(other) for other in before))


def all_steps() -> list[dict[str, Any]]:
    """The steps of all workflows."""
    jobs = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
    return [step for job in jobs for step in job.get("steps", ())]


def using(action: str, job: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The steps that use an action, of a job or of all workflows."""
    steps = all_steps() if job is None else job["steps"]
    return [step for step in steps if step.get("uses", "").startswith(f"{action}@")]


def script(job: str) -> str:
    """All that a job of a release runs."""
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def run_of(job: dict[str, Any], part: str) -> str:
    """The script of a job in which a text stands."""
    (found,) = [step["run"] for step in job["steps"] if part in step.get("run", "")]
    return str(found)


def run(
    text: str, folder: Path, programs: dict[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """A script run in a folder, as `shell: bash` of GitHub does it; the programs are scripts of
    bash, and write what they were called with into the file `calls`.
    """
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    for name, content in programs.items():
        note = f'echo "{name} $*" >> "$CALLS"\n'
        (place / name).write_text(f"#!/bin/bash\n{note}{content}\n")
        (place / name).chmod(0o755)
    environ = {
        "PATH": f"{place}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CALLS": str(folder / "calls"),
        "RUNNER_TEMP": str(folder / "temp"),
        "GITHUB_OUTPUT": str(folder / "output"),
        **variables,
    }
    (folder / "temp").mkdir(exist_ok=True)
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def calls(folder: Path, start: str = "") -> list[str]:
    """What the stand-ins were called with, of all or of those that begin so."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith(start)]
