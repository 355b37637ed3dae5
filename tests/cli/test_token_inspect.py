"""`boundtoken token inspect`: reports, exit codes, and what is never printed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.claims import a_token
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.mounts import in_a_pod
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.reviewing import Reviewer
from webhook.cli.token import given
from webhook.errors import BadInput


def token(**changed: Any) -> str:
    now = int(time.time())
    about = {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "u-1"}}
    claims = {"iat": now, "exp": now + 3600, "aud": ["a"], "kubernetes.io": about}
    return a_token(claims | changed)


def test_a_report_of_standard_input() -> None:
    result = boundtoken("token", "inspect", "-", stdin=token() + "\n")
    assert (result.returncode, result.stderr) == (0, "")
    first, *rows = result.stdout.splitlines()
    assert first == "standard input"
    assert rows[0] == "  account    shop/cart (uid u-1)"
    assert rows[-2].startswith("  expires    ")


def test_reports_of_several_files_and_folders_as_json(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(token())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_text(token(exp=5))
    (tmp_path / "folder" / "ca.crt").write_text("CA")
    files = [str(tmp_path / "a"), str(tmp_path / "folder")]
    result = boundtoken("token", "inspect", "-o", "json", *files)
    assert (result.returncode, result.stderr) == (1, "")
    found = json.loads(result.stdout)["tokens"]
    assert [one["file"] for one in found] == [files[0], f"{files[1]}/b"]
    assert [[finding["reason"] for finding in one["findings"]] for one in found] == [
        [],
        ["expired"],
    ]
    assert found[0]["serviceAccount"]["name"] == "cart"


def test_an_expired_token_is_a_finding() -> None:
    result = boundtoken("token", "inspect", "-", stdin=token(exp=5))
    assert result.returncode == 1
    assert "\n  finding    it has expired, " in result.stdout


def test_the_rest_is_reported_where_something_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "good").write_text(token())
    (tmp_path / "bad").write_text("x")
    (tmp_path / "empty").mkdir()
    files = [
        *(str(tmp_path / name) for name in ("good", "bad", "missing", "empty")),
        "x" * 5000,
        "",
    ]
    result = boundtoken("token", "inspect", *files)
    assert result.returncode == 2
    assert result.stdout.splitlines()[0] == files[0]
    assert result.stderr.splitlines() == [
        f"boundtoken: {files[2]}: must be a readable file: No such file or directory",
        f"boundtoken: {files[3]}: must have a token in it",
        f"boundtoken: {files[4]}: must be a readable file: File name too long",
        "boundtoken: FILE must not be an empty string",
        f"boundtoken: {files[1]}: must have a token: a token is three parts of base64url with dots between them",
    ]


@pytest.mark.parametrize("given", ["{}", "Bearer {}", "bearer  {}", "{}\n"])
def test_a_token_is_never_an_argument(given: str) -> None:
    stray = "eyJhbGciOiJSUzI1NiJ9" + token()[3:]
    result = boundtoken("token", "inspect", given.format(stray))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("boundtoken: an argument is a token: others see it")
    assert not any(part in result.stderr for part in stray.split("."))


def test_what_the_issuer_wrote_is_no_command_to_the_terminal(tmp_path: Path) -> None:
    evil = token(aud=["a\x1b[2J\nexpires never"], jti="\u202e")
    path = tmp_path / "a\x1b[31m"
    path.write_text(evil)
    result = boundtoken("token", "inspect", str(path))
    assert "\x1b" not in result.stdout
    assert "  audiences  a\\x1b[2J\\nexpires never\n" in result.stdout
    assert "\u202e" not in result.stdout


def test_the_signature_is_never_printed() -> None:
    signed = token().rpartition(".")[0] + ".c2lnbmF0dXJl"
    for form in ("text", "json"):
        result = boundtoken("token", "inspect", "-", "-o", form, stdin=signed)
        assert "c2lnbmF0dXJl" not in result.stdout + result.stderr


def test_an_encoding_that_has_not_every_character_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(token(aud=["ü€"]))
    environ = {"PYTHONIOENCODING": "ascii"}
    result = boundtoken("token", "inspect", str(tmp_path / "a"), environ=environ)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\\xfc\\u20ac" in result.stdout


@pytest.fixture
def issuer() -> Iterator[Reviewer]:
    with Reviewer() as running:
        yield running


def test_it_is_verified_by_whom_and_for_whom_the_flags_say(
    issuer: Reviewer, tmp_path: Path
) -> None:
    kubeconfig = a_kubeconfig(tmp_path / "kubeconfig", issuer.url)
    (tmp_path / "t").write_text(issuer.token(aud=["vault", "aws"]))
    command = ("token", "inspect", str(tmp_path / "t"), "--verify", "--jwks", "cluster")
    result = boundtoken(*command, kubeconfig=kubeconfig)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-2:] == [
        "  verified   valid for vault, by the API server",
        "  verified   valid for vault, by the keys of the API server",
    ]
    flags = ("--audience", "aws", "--audience", "x", "-o", "json")
    other = boundtoken(*command, *flags, kubeconfig=kubeconfig)
    assert (other.returncode, other.stderr) == (1, "")
    (shown,) = json.loads(other.stdout)["tokens"]
    assert [
        (found["by"], found["audience"], found["valid"], found["reason"])
        for found in shown["verifications"]
    ] == [
        (by, audience, reason is None, reason)
        for by in ("the API server", "the keys of the API server")
        for audience, reason in (("aws", None), ("x", "wrong-audience"))
    ]


def test_who_cannot_be_asked_is_told_once_after_the_reports(
    issuer: Reviewer, tmp_path: Path
) -> None:
    kubeconfig = a_kubeconfig(tmp_path / "kubeconfig", issuer.url)
    for name in ("a", "b"):
        (tmp_path / name).write_text(issuer.token(aud=[name]))
    issuer.answers.extend([403] * 5)
    files = [str(tmp_path / name) for name in ("a", "b")]
    result = boundtoken("token", "inspect", *files, "--verify", kubeconfig=kubeconfig)
    assert result.returncode == 3
    assert [line for line in result.stdout.splitlines() if line in files] == files
    assert result.stderr.count("system:auth-delegator") == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--audience x", "--audience goes with --verify or --jwks"),
        ("--verify --audience=", "--audience must not be an empty string"),
        ("--jwks=", "--jwks must not be an empty string"),
        ("--ca-file x", "--ca-file goes with --jwks URL"),
        ("--jwks cluster --ca-file x", "--ca-file goes with --jwks URL"),
        ("--jwks http://x", "--jwks: issuer: 'http://x' must be an https URL"),
        ("--jwks /missing", "--jwks: /missing: must be a readable file: No such file"),
    ],
)
def test_flags_that_do_not_go_together_are_wrong_use(flags: str, message: str) -> None:
    result = boundtoken("token", "inspect", "-", *flags.split(), stdin=token())
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"boundtoken: {message}")


def test_without_a_file_outside_of_a_pod_it_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "MOUNTED", tmp_path / "secrets")
    with pytest.raises(BadInput, match="give FILE, or - for standard input"):
        list(given.given_tokens([], []))


INSPECT = (str(BOUNDTOKEN), "token", "inspect")


def test_in_a_pod_every_mounted_token_is_reported(tmp_path: Path) -> None:
    for name in ("kubernetes.io/serviceaccount/token", "boundtoken.dev/tokens/vault"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(token())
    result = in_a_pod(tmp_path, INSPECT)
    assert (result.returncode, result.stderr) == (0, "")
    assert [line for line in result.stdout.splitlines() if line.startswith("/")] == [
        "/var/run/secrets/boundtoken.dev/tokens/vault",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ]


def test_in_a_pod_without_a_token_there_is_nothing_to_report(tmp_path: Path) -> None:
    result = in_a_pod(tmp_path, [*INSPECT, "-o", "json"])
    assert (result.returncode, json.loads(result.stdout)) == (0, {"tokens": []})
    assert result.stderr == "boundtoken: no token is mounted below /var/run/secrets\n"
