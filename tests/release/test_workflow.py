"""The workflow of a release: nothing is published before everything has passed, no job may more
than it needs, and the linters of workflows find nothing.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.release import layer, version
from tests.controlplane import build
from tests.release.workflows import (
    FOLDER,
    JOBS,
    RELEASE,
    WORKFLOWS,
    all_steps,
    needed_by,
    script,
    using,
)
from tests.support.paths import ROOT

TEXT = (FOLDER / "workflows/release.yml").read_text()
LOCK = WORKFLOWS["lock.yml"]
RIGHTS = {
    "version": {"contents": "read"},
    "test": {"contents": "read"},
    "files": {"contents": "read"},
    "image": {"contents": "read", "packages": "write"},
    "run": {"contents": "read", "packages": "read"},
    "manifests": {"contents": "read"},
    "publish": {
        "attestations": "write",
        "contents": "read",
        "id-token": "write",
        "packages": "write",
    },
    "release": {"attestations": "write", "contents": "write", "id-token": "write"},
    "pypi": {"id-token": "write"},
}


def test_every_job_has_its_rights_and_the_workflow_none() -> None:
    assert RELEASE["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == RIGHTS
    assert LOCK["permissions"] == {}
    assert {name: job["permissions"] for name, job in LOCK["jobs"].items()} == {
        "resolve": {"contents": "read"},
        "pull-request": {"contents": "write", "pull-requests": "write"},
        "scan": {"contents": "read"},
    }


def test_nothing_has_a_name_that_users_take_before_a_maintainer_has_approved() -> None:
    before = {"version", "test", "files", "image", "run", "manifests"}
    assert needed_by("publish") == before
    assert needed_by("release") == {*before, "publish"}
    assert needed_by("pypi") == set(JOBS) - {"pypi"}
    assert {name: job["environment"] for name, job in JOBS.items() if "environment" in job} == {
        "publish": "release",
        "pypi": "pypi",
    }
    shell = "\n".join(script(job) for job in before - {"test"})
    assert not re.search(r"cosign|helm push|imagetools create|gh release|docker push|--tag", shell)
    assert "push=true,push-by-digest=true" in script("image")
    assert {"run", "image"} <= needed_by("manifests")
    assert JOBS["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in WORKFLOWS["ci.yml"][True]  # YAML reads `on` as true


def test_what_is_published_is_signed_attested_and_verified_first_in_this_order() -> None:
    steps = [step.get("run") or step.get("uses", "") for step in JOBS["publish"]["steps"]]
    order = (
        r"absent image\.txt",
        r"cosign sign .*\"\$IMAGE@\$DIGEST\"",
        r"actions/attest@",
        r"actions/attest@",
        r"(?s)cosign verify .*gh attestation verify .*gh attestation verify .*imagetools create",
        r"(?s)helm push .*cosign sign",
        r"actions/attest@",
        r"(?s)cosign verify .*gh attestation verify ",
    )
    for pattern in order:
        (first, *_) = [index for index, step in enumerate(steps) if re.search(pattern, step)]
        steps = steps[first + 1 :]
    release = script("release")
    assert release.index("docker pull") < release.index("cosign sign-blob")
    assert release.index("cosign sign-blob") < release.index("gh release create")
    assert "login" not in str(JOBS["release"])


def test_attestations_are_those_of_github_alone() -> None:
    """In GHCR, which has no referrers API, they would share one tag with the signature."""
    attestations = using("actions/attest")
    assert len(attestations) == 4
    assert [step for step in attestations if step["with"].get("push-to-registry", False)] == []
    boms = [step["with"]["sbom-path"] for step in attestations if "sbom-path" in step["with"]]
    assert boms == ["dist/release/boundtoken.spdx.json"]


def test_nothing_emulates_a_processor() -> None:
    everything = "".join(path.read_text() for path in (FOLDER / "workflows").iterdir())
    assert not re.search("qemu|binfmt", everything + (ROOT / "Dockerfile").read_text())
    runners = {"linux/amd64": "ubuntu-24.04", "linux/arm64": "ubuntu-24.04-arm"}
    assert {
        entry["platform"]: entry["runner"] for entry in JOBS["run"]["strategy"]["matrix"]["include"]
    } == runners
    image = WORKFLOWS["ci.yml"]["jobs"]["image"]
    assert image["strategy"]["matrix"] == {"runner": list(runners.values())}
    built = "\n".join(step.get("run", "") for step in image["steps"])
    assert f"--platform {','.join(runners)} " in built
    assert f"--platform {','.join(runners)} " in script("image")
    for runs in (built, script("run")):
        assert ".ci/run-image " in runs


def test_every_builder_is_pinned_and_has_no_cache_and_no_entitlements() -> None:
    (one, other) = [step["with"] for step in using("docker/setup-buildx-action")]
    assert one == other
    assert re.fullmatch(r"image=moby/buildkit:v[\d.]+@sha256:[0-9a-f]{64}", one["driver-opts"])
    assert re.fullmatch(r"v\d+\.\d+\.\d+", one["version"])
    assert one["cache-binary"] is False
    assert one["buildkitd-flags"]  # the default allows entitlements that are insecure
    assert "insecure" not in one["buildkitd-flags"]


def test_the_files_are_made_by_the_python_of_the_image() -> None:
    for job in (JOBS["files"], JOBS["manifests"], LOCK["jobs"]["scan"]):
        (step,) = using("actions/setup-python", job)
        assert step["with"] == {"python-version": layer.IMAGE_RELEASE}
    assert re.fullmatch(r"\d+\.\d+\.\d+", layer.IMAGE_RELEASE)


def test_what_may_write_runs_no_code_of_the_repository() -> None:
    """Only the image's job checks it out, for the engine to build in a container."""
    for name, job in JOBS.items():
        if "write" in job["permissions"].values() and name != "image":
            assert using("actions/checkout", job) == []
    assert "make " not in script("image")
    opened = "\n".join(step.get("run", "") for step in LOCK["jobs"]["pull-request"]["steps"])
    assert set(re.findall(r"^\s*([a-z]+) ", opened, re.MULTILINE)) <= {"if", "echo", "git", "gh"}
    for step in using("actions/checkout"):
        assert step["with"]["persist-credentials"] is False
    assert not re.search(r"cache(?!-binary: false)", re.sub(r"(?m)#.*$|--no-cache", "", TEXT))


def test_no_expression_stands_in_a_script() -> None:
    """A name of a tag or a branch would be run there."""
    assert [step["run"] for step in all_steps() if "${{" in step.get("run", "")] == []


def test_scripts_of_a_release_and_of_the_locks_fail_where_a_part_of_a_pipe_does() -> None:
    for workflow in (RELEASE, LOCK):
        assert workflow["defaults"] == {"run": {"shell": "bash"}}


def test_every_target_and_file_of_its_scripts_is_there() -> None:
    scripts = "\n".join(step.get("run", "") for step in all_steps())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = set(re.findall(r"\bmake ([a-z-]+)", scripts))
    assert made == {"release-dry-run", "lock", "image-layers"} <= targets
    for path in re.findall(r"(?<![\w/])(?:\.ci|docs)/[\w./-]+", scripts):
        assert (ROOT / path).is_file()
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
