"""What the steps of the workflows do, with stand-ins for the engine, the registry and GitHub."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.release.workflows import JOBS, WORKFLOWS, calls, run, run_of
from tests.support.paths import ROOT
from webhook import __version__

AMD64, ARM64, LAYER = (f"sha256:{letter * 64}" for letter in "abc")
OCI = "application/vnd.oci.image"
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": f"{OCI}.index.v1+json",
    "manifests": [
        {
            "mediaType": f"{OCI}.manifest.v1+json",
            "digest": digest,
            "size": 673,
            "platform": {"architecture": architecture, "os": system},
        }
        for digest, system, architecture in (
            (AMD64, "linux", "amd64"),
            (ARM64, "linux", "arm64"),
            (f"sha256:{'d' * 64}", "unknown", "unknown"),
        )
    ],
}
"""As BuildKit writes it with an attestation."""
ENGINE = f"""case "$*" in
"buildx imagetools inspect --raw "*) cat index.json ;;
"image inspect "*) echo '["sha256:base", "{LAYER}"]' ;;
*" --version") echo "$PRINTED" ;;
*" export policies --validating") printf '%s\\n' "kind: $KIND" "more" ;;
*" --entrypoint /bin/sh "*) exit "$CODE" ;;
*) exit 99 ;;
esac"""
GOOD = {
    "PRINTED": f"boundtoken {__version__}",
    "KIND": "ValidatingAdmissionPolicy",
    "CODE": "127",
}
FAULTS = {
    "": {},
    "--version must print": {"PRINTED": "boundtoken 0.0.0"},
    "export policies prints no policy": {"KIND": "List"},
    "not with 0": {"CODE": "0"},
    "not with 125": {"CODE": "125"},  # the engine itself failed, which says nothing of a shell
}
IMAGE, CHART, DIGEST = "ghcr.io/o/r", "ghcr.io/o/charts/boundtoken", f"sha256:{'e' * 64}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with what the script of the image reads."""
    for name in (".ci/run-image", "webhook/__init__.py"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    return tmp_path


@pytest.mark.parametrize("fault", FAULTS)
def test_an_image_passes_that_runs_as_anybody_and_has_no_shell(tree: Path, fault: str) -> None:
    done = run(".ci/run-image boundtoken:ci", tree, {"docker": ENGINE}, **(GOOD | FAULTS[fault]))
    assert (done.returncode == 0) == (not fault), done.stderr
    assert fault in done.stderr
    for call in calls(tree):
        assert "--read-only --network none --cap-drop ALL" in call
        assert "--user 1000660000:0" in call


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "linux/s390x"])
@pytest.mark.parametrize("made", [LAYER, DIGEST])
def test_the_digest_of_the_platform_is_run_and_its_layer_compared(
    tree: Path, platform: str, made: str
) -> None:
    (tree / "dist/release").mkdir(parents=True)
    layers = [{"platform": f"linux/{name}", "digest": made} for name in ("amd64", "arm64")]
    (tree / "dist/release/image-layers.json").write_text(json.dumps({"layers": layers}))
    variables = {**GOOD, "IMAGE": IMAGE, "DIGEST": DIGEST, "PLATFORM": platform}
    done = run(run_of(JOBS["run"], ".ci/run-image"), tree, {"docker": ENGINE}, **variables)
    there = platform != "linux/s390x"
    assert (done.returncode == 0) == (there and made == LAYER), done.stderr
    expected = ARM64 if platform == "linux/arm64" else AMD64
    started = calls(tree, "docker run")
    assert [f"{IMAGE}@{expected}" in call for call in started] == ([True] * 3 if there else [])


@pytest.mark.parametrize("twice", [False, True])
def test_an_index_with_a_platform_twice_is_refused(tree: Path, twice: bool) -> None:
    extra = [INDEX["manifests"][0]] if twice else []
    index = {**INDEX, "manifests": [*INDEX["manifests"], *extra]}
    (tree / "index.json").write_text(json.dumps(index))
    variables = {**GOOD, "IMAGE": IMAGE, "DIGEST": DIGEST, "PLATFORM": "linux/amd64"}
    run(run_of(JOBS["run"], ".ci/run-image"), tree, {"docker": ENGINE}, **variables)
    assert bool(calls(tree, "docker run")) is not twice


BUILDER = """test "$(wc -l < "$CALLS")" -ne "$FAILING" || exit 1
while [ "$1" != --metadata-file ]; do shift; done
echo '{"containerimage.digest": "sha256:0123"}' > "$2"
"""
"""Builds always the same, but for the one that fails."""


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_build_that_fails_ends_the_job_and_gives_no_digest(tmp_path: Path, failing: int) -> None:
    names = ("VERSION", "GITHUB_SHA", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "IMAGE")
    variables = {**dict.fromkeys(names, "x"), "FAILING": str(failing)}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\necho 1\n")
    (tmp_path / "bin/git").chmod(0o755)
    text = run_of(JOBS["image"], "push-by-digest=true")
    done = run(text, tmp_path, {"docker": BUILDER}, **variables)
    assert (done.returncode == 0) == (failing == 0), done.stderr
    assert (tmp_path / "output").exists() == (failing == 0)


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


TAG = """case "$2" in
*/git/ref/tags/v1.2.3) jq -rn --arg type "$TYPE" "{object: {type: \\$type, sha: \\"0123\\"}} | $4" ;;
*/git/tags/0123) jq -n --argjson verified "$VERIFIED" --arg commit "${COMMIT:-$HEAD}" \
  '{object: {sha: $commit}, verification: {verified: $verified, reason: "a reason"}}' ;;
*) exit 1 ;;
esac"""


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"TYPE": "commit"},  # a tag that is no object
        {"VERIFIED": "false"},
        {"COMMIT": "4567"},  # moved since
        {"GITHUB_REF_NAME": "v9.9.9"},  # GitHub does not know it
        {"branch": "other"},  # not on main
    ],
)
def test_a_tag_must_be_signed_and_on_main(tmp_path: Path, fault: dict[str, str]) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "released")
    git(tmp_path, "switch", "--quiet", "--create", "other")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "not merged")
    git(tmp_path, "switch", "--quiet", "main")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "later")
    git(tmp_path, "update-ref", "refs/remotes/origin/main", "main")
    git(tmp_path, "checkout", "--quiet", fault.get("branch", "main~1"))
    variables = {
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_REF_NAME": "v1.2.3",
        "TYPE": "tag",
        "VERIFIED": "true",
        "HEAD": git(tmp_path, "rev-parse", "HEAD"),
        **fault,
    }
    done = run(run_of(JOBS["version"], "merge-base"), tmp_path, {"gh": TAG}, **variables)
    assert (done.returncode == 0) == (not fault), (done.stdout, done.stderr)
    if "VERIFIED" in fault:
        assert "a reason" in done.stdout


REGISTRY = {
    "docker": """case "$3" in
inspect) test -z "$NO_IMAGE" || { echo "$NO_IMAGE" >&2; exit 1; }; echo a warning >&2; echo "$TAGGED" ;;
create) ;;
*) exit 99 ;;
esac""",
    "helm": """case "$1" in
pull) test -z "$NO_CHART" || { echo "$NO_CHART" >&2; exit 1; }; echo "$PUSHED" > "$6/boundtoken-1.2.3.tgz" ;;
push) test -z "$REFUSED" || exit 1 ;;
*) exit 99 ;;
esac
printf '%s\\n' "Pushed: x" "Digest: $CHART_DIGEST" >&2""",
    "cosign": "",
}
VARIABLES = {
    "IMAGE": IMAGE,
    "CHART": CHART,
    "DIGEST": DIGEST,
    "VERSION": "1.2.3",
    "TAGGED": DIGEST,
    "NO_IMAGE": "",
    "NO_CHART": "",
    "REFUSED": "",
    "PUSHED": "packed",
    "CHART_DIGEST": DIGEST,
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "o/r",
    "GITHUB_WORKFLOW_REF": "o/r/.github/workflows/release.yml@refs/tags/v1.2.3",
    "GITHUB_REF": "refs/tags/v1.2.3",
}
ABSENT = "ERROR: ghcr.io/o/r:1.2.3: not found"
NEVER_PUSHED = "Error: GET https://ghcr.io/token?scope=x: response status code 403: denied: denied"
AWAY = "Error: GET https://ghcr.io/v2/: 503 Service Unavailable"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the files of a release."""
    (tmp_path / "dist/release").mkdir(parents=True)
    for name, text in {
        "boundtoken-1.2.3.tgz": "packed",
        "notes.txt": "n",
        "SHA256SUMS": "s",
    }.items():
        (tmp_path / "dist/release" / name).write_text(f"{text}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("answers", "free"),
    [
        ({"NO_IMAGE": ABSENT, "NO_CHART": ABSENT}, True),
        ({"NO_IMAGE": ABSENT, "NO_CHART": NEVER_PUSHED}, True),
        ({}, True),  # of a run before
        ({"TAGGED": AMD64}, False),
        ({"PUSHED": "another"}, False),
        ({"NO_IMAGE": AWAY, "NO_CHART": ABSENT}, False),
        ({"NO_IMAGE": ABSENT, "NO_CHART": AWAY}, False),
    ],
)
def test_a_version_with_other_content_is_not_written(
    made: Path, answers: dict[str, str], free: bool
) -> None:
    done = run(run_of(JOBS["publish"], "absent()"), made, REGISTRY, **(VARIABLES | answers))
    assert (done.returncode == 0) == free, done.stderr
    text = run_of(JOBS["publish"], "helm push")
    if free:
        assert (made / "chart.txt").exists() == ("NO_CHART" not in answers)
        pushed = run(text, made, REGISTRY, **VARIABLES)
        assert pushed.returncode == 0, pushed.stderr
        expected = [f"helm push dist/release/boundtoken-1.2.3.tgz oci://{CHART.rpartition('/')[0]}"]
        assert calls(made, "helm push") == (expected if "NO_CHART" in answers else [])
        assert calls(made, "cosign") == [f"cosign sign --yes {CHART}@{DIGEST}"]
        assert (made / "output").read_text() == f"digest={DIGEST}\n"
        (made / "chart.txt").unlink()
        assert run(text, made, REGISTRY, **(VARIABLES | {"REFUSED": "yes"})).returncode


FLAKY = 'test "$(grep -c "^cosign" "$CALLS")" -gt "$MISSES"'


@pytest.mark.parametrize("misses", [0, 1, 2, 3])
@pytest.mark.parametrize("subject", ["imagetools create", "$CHART@$DIGEST"])
def test_what_is_published_is_verified_with_patience(made: Path, misses: int, subject: str) -> None:
    steps = JOBS["publish"]["steps"]
    (text,) = [
        step["run"]
        for step in steps
        if subject in step.get("run", "") and "verified()" in step["run"]
    ]
    programs = {**REGISTRY, "cosign": FLAKY, "gh": "", "sleep": ""}
    done = run(text, made, programs, **VARIABLES, MISSES=str(misses))
    assert (done.returncode == 0) == (misses < 3), done.stderr
    tagged = calls(made, "docker buildx imagetools create")
    assert bool(tagged) == (misses < 3 and "create" in subject)
    assert len(calls(made, "sleep")) == min(misses, 2)
    identity = f"https://github.com/{VARIABLES['GITHUB_WORKFLOW_REF']}"
    assert all(f"--certificate-identity {identity} " in call for call in calls(made, "cosign"))


@pytest.mark.parametrize("refused", ["cosign", "gh"])
def test_an_image_that_does_not_verify_gets_no_tag(made: Path, refused: str) -> None:
    text = run_of(JOBS["publish"], "imagetools create")
    programs = {**REGISTRY, "cosign": "", "gh": "", "sleep": "", refused: "exit 1"}
    assert run(text, made, programs, **VARIABLES).returncode
    assert calls(made, "docker buildx imagetools create") == []


@pytest.mark.parametrize(
    "fault", [{}, {"FAULT": "private"}, {"TAGGED": AMD64}, {"PUSHED": "other"}]
)
def test_nothing_is_released_that_not_anybody_can_pull(made: Path, fault: dict[str, str]) -> None:
    docker = f"""test -d "$DOCKER_CONFIG" && test -z "$(ls -A "$DOCKER_CONFIG")" || exit 98
case "$1" in pull) test -z "$FAULT" ;; *) echo "[\\"{IMAGE}@$TAGGED\\"]" ;; esac"""
    variables = {**VARIABLES, "FAULT": "", **fault}
    text = run_of(JOBS["release"], "docker pull")
    done = run(text, made, {**REGISTRY, "docker": docker}, **variables)
    assert (done.returncode == 0) == (not fault), done.stderr


RELEASES = [
    {"id": 1, "tag_name": "v1.2.3", "draft": True, "prerelease": False},
    {"id": 2, "tag_name": "v1.3.0", "draft": True, "prerelease": False},
    {"id": 3, "tag_name": "v1.10.0-rc.1", "draft": False, "prerelease": True},
    {"id": 4, "tag_name": "v1.2.2", "draft": False, "prerelease": False},
    {"id": 5, "tag_name": "v0.9.9", "draft": False, "prerelease": False},
]


@pytest.mark.parametrize(
    ("release", "flags"),
    [
        ("1.2.3", ""),
        ("1.10.0", ""),
        ("1.2.1", " --latest=false"),
        ("0.9.10", " --latest=false"),
        ("1.10.0-rc.2", " --prerelease --latest=false"),
    ],
)
def test_a_draft_of_a_run_before_goes_and_latest_is_the_highest(
    made: Path, release: str, flags: str
) -> None:
    gh = """case "$1 $2" in "api --paginate") cat "$HOME/all.json" ;; esac"""
    (made / "all.json").write_text(json.dumps(RELEASES[:2]) + json.dumps(RELEASES[2:]))
    variables = {"VERSION": release, "GH_REPO": "o/r"}
    done = run(run_of(JOBS["release"], "gh release create"), made, {"gh": gh}, **variables)
    assert done.returncode == 0, done.stderr
    deleted = ["gh api --method DELETE repos/o/r/releases/1"] if release == "1.2.3" else []
    assert calls(made, "gh api --method") == deleted
    (created,) = calls(made, "gh release create")
    start = f"gh release create v{release} --verify-tag --title {release} --notes-file dist/release/notes.txt{flags} dist"
    assert created.startswith(start)
    assert sorted(created.removeprefix(start[: -len("dist")]).split()) == [
        "dist/release/SHA256SUMS",
        "dist/release/boundtoken-1.2.3.tgz",
    ]


def test_a_list_of_releases_that_fails_publishes_nothing(made: Path) -> None:
    variables = {"VERSION": "1.2.3", "GH_REPO": "o/r"}
    text = run_of(JOBS["release"], "gh release create")
    assert run(text, made, {"gh": 'test "$1" != api'}, **variables).returncode
    assert calls(made, "gh release create") == []


@pytest.mark.parametrize(("newer", "opened"), [(False, 0), (True, 0), (True, 1)])
def test_newer_packages_become_one_pull_request(tmp_path: Path, newer: bool, opened: int) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    git(clone, "switch", "--quiet", "--create", "main")
    (clone / "requirements.lock").write_text("a==1\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "first")
    git(clone, "push", "--quiet", "origin", "main", "main:lock")
    (clone / "requirements.lock").write_text("a==2\n" if newer else "a==1\n")
    text = run_of(WORKFLOWS["lock.yml"]["jobs"]["pull-request"], "gh pr create")
    gh = 'test "$1 $2" != "pr list" || echo "$OPENED"'
    done = run(text, clone, {"gh": gh}, BASE="main", OPENED=str(opened))
    assert done.returncode == 0, done.stderr
    assert git(origin, "show", "lock:requirements.lock") == ("a==2" if newer else "a==1")
    assert git(origin, "show", "main:requirements.lock") == "a==1"
    created = "\n".join(calls(clone, ""))
    assert created.count("gh pr create --head lock --base main ") == (newer and not opened)
    if newer and not opened:
        assert "close and reopen this pull request" in created
