"""Tokens in files: in a text, and in folders as the kubelet lays them out."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.controlplane.volumes import show
from tests.support.claims import a_token
from tests.support.paths import ROOT
from webhook.core.claims import NotAToken
from webhook.tokens.inspection.files import MAX_ENTRIES, token_in, tokens_below

TOKEN = a_token({"sub": "x"})


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"  {TOKEN}\n",
        f"Bearer {TOKEN}",
        f"bearer   {TOKEN}\n",
        f"Authorization: Bearer {TOKEN}\n",
        json.dumps({"kind": "TokenRequest", "status": {"token": TOKEN}}),
        json.dumps(
            {"kind": "Secret", "data": {"token": base64.b64encode(TOKEN.encode()).decode()}}
        ),
    ],
)
def test_the_token_in_a_text(text: str) -> None:
    assert token_in(text.encode()) == TOKEN


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b'{"status": 1}',
        b'{"data": {"token": 7}}',
        b'{"data": {"token": "!"}}',
        b"{" * 10_000,
    ],
)
def test_a_text_without_a_token_gives_none(content: bytes) -> None:
    assert "." not in token_in(content)


def test_a_huge_text_is_no_token() -> None:
    with pytest.raises(NotAToken):
        token_in(b"x" * 300_000)


def below(folder: Path) -> tuple[dict[str, str], list[str]]:
    problems: list[str] = []
    found = tokens_below(folder, lambda problem: problems.append(str(problem.strerror)))
    return {str(path.relative_to(folder)): token for path, token in found}, problems


def test_every_mounted_token_is_found_once(tmp_path: Path) -> None:
    one, two = tmp_path / "kubernetes.io/serviceaccount", tmp_path / "boundtoken.dev/tokens"
    for folder, content in (
        (one, {"token": TOKEN, "ca.crt": "CA", "namespace": "shop"}),
        (two, {"vault": TOKEN, "aws": TOKEN, "sub/token": TOKEN}),
    ):
        folder.mkdir(parents=True)
        show(folder, {name: text.encode() for name, text in content.items()})
    (two / "deep").mkdir()
    (two / "deep" / "token").write_text(TOKEN + "\n")
    found, problems = below(tmp_path)
    assert list(found) == [
        "boundtoken.dev/tokens/aws",
        "boundtoken.dev/tokens/deep/token",
        "boundtoken.dev/tokens/sub/token",
        "boundtoken.dev/tokens/vault",
        "kubernetes.io/serviceaccount/token",
    ]
    assert set(found.values()) == {TOKEN}
    assert problems == []


def test_links_that_lead_out_pipes_and_huge_files_are_left_alone(tmp_path: Path) -> None:
    folder, outside = tmp_path / "secrets", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "token").write_text(TOKEN)
    (folder / "link").symlink_to(outside / "token")
    (folder / "folder").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "self").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    (folder / "huge").write_text(TOKEN + "x" * 100_000)
    assert below(folder) == ({}, [])


def test_a_folder_of_many_files_is_searched_up_to_a_bound(tmp_path: Path) -> None:
    for number in range(MAX_ENTRIES + 5):
        (tmp_path / f"{number}").touch()
    assert below(tmp_path) == ({}, [])
    deep = tmp_path / "a" / "/".join("b" * 20)
    deep.mkdir(parents=True)
    (deep / "token").write_text(TOKEN)
    assert below(tmp_path / "a") == ({}, [])


AS_NOBODY = """
import os
from pathlib import Path
from webhook.tokens.inspection.files import tokens_below
if os.geteuid() == 0: os.setuid(65534)  # root can read everything
for path, _ in tokens_below(Path("."), lambda problem: print(problem.strerror)): print(path)
"""


def test_what_cannot_be_read_is_told_and_the_rest_is_found() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "a").mkdir(mode=0)
        (folder / "b").write_text(TOKEN)
        folder.chmod(0o755)
        assert below(folder / "missing") == ({}, ["No such file or directory"])
        result = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert sorted(result.stdout.splitlines()) == ["Permission denied", "b"]
