"""The workflow of a release: nothing is published before everything has passed, no job may more
than it needs, and the linters of workflows find nothing.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.release import version
from tests.controlplane import build
from tests.support.paths import ROOT

FOLDER = ROOT / ".github"
PATH = FOLDER / "workflows/release.yml"
TEXT = PATH.read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]
RIGHTS = {
    "version": {"contents": "read"},
    "test": {"contents": "read"},
    "files": {"contents": "read"},
    "image": {
        "attestations": "write",
        "contents": "read",
        "id-token": "write",
        "packages": "write",
    },
    "manifests": {"contents": "read"},
    "chart": {
        "attestations": "write",
        "contents": "read",
        "id-token": "write",
        "packages": "write",
    },
    "release": {"attestations": "write", "contents": "write", "id-token": "write"},
    "pypi": {"id-token": "write"},
}


def needed_by(job: str) -> set[str]:
    """All jobs that end before it begins."""
    direct = JOBS[job].get("needs", [])
    before = {direct} if isinstance(direct, str) else set(direct)
    return before.union(*(needed_by(other) for other in before))


def script(job: str) -> str:
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def test_every_job_has_its_rights_and_the_workflow_none() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == RIGHTS


def test_a_version_is_published_after_everything_has_passed() -> None:
    for job in ("image", "manifests", "chart", "release", "pypi"):
        assert needed_by(job) >= {"version", "test", "files"}
    assert needed_by("pypi") == set(JOBS) - {"pypi"}
    image = script("image")
    assert image.index('test "$second" = "$pushed"') < image.index("docker run")
    assert image.index("docker run") < image.index("cosign sign") < image.index("imagetools create")
    assert JOBS["test"]["uses"] == "./.github/workflows/ci.yml"
    ci = yaml.safe_load((FOLDER / "workflows/ci.yml").read_text())
    assert "workflow_call" in ci[True]  # YAML reads `on` as true


def test_what_may_write_runs_no_code_of_the_repository() -> None:
    """Only the image's job checks it out, for the engine to build in a container."""
    for name, job in JOBS.items():
        if "write" in job["permissions"].values() and name != "image":
            assert not [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert "make " not in script("image")
    for job in JOBS.values():
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    assert "cache" not in re.sub(r"(?m)#.*$|--no-cache", "", TEXT)


DOCKER = """#!/bin/sh
echo build >> calls
test "$(wc -l < calls)" -ne "$FAILING" || exit 1
while [ "$1" != --metadata-file ]; do shift; done
echo sha256:0123 > "$2"
"""
"""Builds always the same, but for the one that fails."""


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_build_that_fails_ends_the_job_and_gives_no_digest(tmp_path: Path, failing: int) -> None:
    (step,) = [step for step in JOBS["image"]["steps"] if step.get("id") == "build"]
    for name, text in {
        "docker": DOCKER,
        "git": "#!/bin/sh\necho 1\n",
        "jq": '#!/bin/sh\ncat "$3"\n',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    variables = dict.fromkeys(
        ("VERSION", "GITHUB_SHA", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "IMAGE"), "x"
    )
    environ = {
        **variables,
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "FAILING": str(failing),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }
    command = ["bash", "-e", "-c", step["run"]]  # as GitHub runs it
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert (done.returncode == 0) == (failing == 0), done.stderr
    assert (tmp_path / "output").exists() == (failing == 0)


def test_image_and_chart_are_signed_and_attested() -> None:
    for job, attestations in (("image", 2), ("chart", 1), ("release", 1)):
        steps = JOBS[job]["steps"]
        found = [step for step in steps if step.get("uses", "").startswith("actions/attest@")]
        assert len(found) == attestations
        assert "cosign sign" in script(job)
    (bom,) = [
        step["with"]["sbom-path"]
        for step in JOBS["image"]["steps"]
        if "sbom-path" in step.get("with", {})
    ]
    assert Path(bom).name == "boundtoken.spdx.json"


def test_no_expression_stands_in_a_script() -> None:
    """A name of a tag or a branch would be run there."""
    for job in JOBS.values():
        assert [step["run"] for step in job.get("steps", ()) if "${{" in step.get("run", "")] == []


def test_every_target_and_file_of_its_scripts_is_there() -> None:
    scripts = "\n".join(script(job) for job in JOBS if "steps" in JOBS[job])
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", scripts)) == {"release-dry-run"} <= targets
    assert (ROOT / "docs/release/version.py").is_file()
    assert "docs/release/version.py check" in scripts


def test_the_tag_is_checked_by_a_python_without_packages(tmp_path: Path) -> None:
    """As the first job runs it."""
    command = [sys.executable, "-I", "-S", str(ROOT / "docs/release/version.py"), "check", "v9.9.9"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"the tag 'v9.9.9': must be v{version.current()}, as webhook/__init__.py says\n"
    )


def lint(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


ZIZMOR = Path(sys.executable).with_name("zizmor")


def test_zizmor_finds_nothing_and_would_find_something(tmp_path: Path) -> None:
    done = lint(ZIZMOR, "--offline", "--no-progress", FOLDER)
    assert done.returncode == 0, done.stdout
    spoilt = tmp_path / ".github/workflows/release.yml"
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text(re.sub(r"@[0-9a-f]{40} # ", "@", TEXT))
    assert (
        "unpinned-uses" in lint(ZIZMOR, "--offline", "--no-progress", tmp_path / ".github").stdout
    )


@pytest.mark.slow("actionlint is built first, a minute")
def test_actionlint_finds_nothing_and_would_find_something(tmp_path: Path) -> None:
    tool = build.actionlint()
    done = lint(tool, "-no-color", *sorted((FOLDER / "workflows").iterdir()))
    assert done.returncode == 0, done.stdout
    spoilt = tmp_path / ".github/workflows/release.yml"
    spoilt.parent.mkdir(parents=True)
    shutil.copy(FOLDER / "workflows/ci.yml", spoilt.parent)
    spoilt.write_text(TEXT.replace("needs.image.outputs.digest", "needs.image.outputs.digits"))
    done = lint(tool, "-no-color", "-shellcheck=", spoilt, cwd=tmp_path)
    assert 'property "digits" is not defined' in done.stdout
