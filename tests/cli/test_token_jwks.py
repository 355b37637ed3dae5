"""`boundtoken token jwks` as people run it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.issuer import Issuer, Key
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.processes import boundtoken

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def run(issuer: Issuer, tmp_path: Path) -> Run:
    file = a_kubeconfig(tmp_path / "kubeconfig", issuer.url)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return boundtoken("token", "jwks", *arguments, kubeconfig=file)

    return run


def test_issuer_and_keys_and_who_may_read_them(run: Run, issuer: Issuer) -> None:
    result = run()
    assert result.returncode == 0
    issuer_line, jwks_line, _, key, *anonymous = result.stdout.splitlines()
    assert issuer_line.split() == ["issuer", issuer.url]
    assert jwks_line.split() == ["jwks_uri", f"{issuer.url}/openid/v1/jwks"]
    assert key.split()[:5] == ["key", "one", "RSA", "2048", "RS256"]
    assert all(line.endswith("may read it") for line in anonymous)
    assert "is no public address" in result.stderr


def test_json_has_everything(run: Run, issuer: Issuer) -> None:
    result = run("-o", "json", "--check", issuer.url)
    found = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert found["issuer"] == found["discovery"]["issuer"] == issuer.url
    assert found["anonymous"] == {"discovery": True, "jwks": True}
    assert [key["kid"] for key in found["keys"]] == ["one"]
    assert (found["differences"], found["notes"], found["files"]) == ([], [], [])


def test_a_public_issuer_that_differs_is_1(run: Run, issuer: Issuer) -> None:
    with Issuer() as public:
        public.keys = [Key("two")]
        result = run("--check", public.url)
        assert result.returncode == 1
        kinds = [
            line.split()[1] for line in result.stdout.splitlines() if line.startswith("differs")
        ]
        assert kinds == ["issuer:", "issuer:", "key-missing:", "key-extra:"]
        as_json = json.loads(run("--check", public.url, "-o", "json").stdout)
        assert [one["kind"] + ":" for one in as_json["differences"]] == kinds
    assert run("--check", issuer.url).stdout.splitlines()[-1] == (
        f"same        {issuer.url} has this issuer and these keys"
    )


def test_a_public_issuer_that_is_away_is_3(run: Run) -> None:
    result = run("--check", "http://127.0.0.1:1")
    assert result.returncode == 3
    assert "Connection refused" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check", "http://example.com"], "--check='http://example.com': must be an https URL"),
        (["--check", "a\x1bb"], "--check='a\\x1bb': must be"),
        (["--ca-file", "x"], "--ca-file goes with --check"),
        (["--check", "https://x", "--ca-file", "/missing"], "--ca-file='/missing': must hold"),
        (
            ["--check", "https://x", "--ca-file", "/etc/passwd"],
            "--ca-file='/etc/passwd': must hold",
        ),
    ],
)
def test_wrong_use_is_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"boundtoken: {message}")


def test_the_documents_are_written_as_files(run: Run, issuer: Issuer, tmp_path: Path) -> None:
    result = run("--out", str(tmp_path / "public"))
    assert result.returncode == 0
    discovery = tmp_path / "public/.well-known/openid-configuration"
    assert json.loads(discovery.read_text())["issuer"] == issuer.url
    assert json.loads((tmp_path / "public/openid/v1/jwks").read_text())["keys"][0]["kid"] == "one"
    assert f"written     {discovery}, for {issuer.url}/.well-known" in result.stdout
    assert result.stderr.endswith("boundtoken: serve both as application/json\n")
    (tmp_path / "public").chmod(0o500)
    if os.geteuid() != 0:
        assert run("--out", str(tmp_path / "public/new/x")).returncode == 3


def test_a_server_without_documents_is_3(run: Run, issuer: Issuer, tmp_path: Path) -> None:
    del issuer
    file = a_kubeconfig(tmp_path / "other", "http://127.0.0.1:1")
    result = boundtoken("token", "jwks", kubeconfig=file)
    assert (result.returncode, result.stdout) == (3, "")
    assert "the API server cannot be reached" in result.stderr


def test_a_name_that_would_move_the_cursor_is_escaped(run: Run, issuer: Issuer) -> None:
    issuer.keys = [Key("\x1b[2J")]
    result = run()
    assert "\x1b" not in result.stdout
    assert "\\x1b[2J" in result.stdout
