"""Folders that are opened step by step."""

import contextlib
import os
import stat
from pathlib import Path

import pytest

from tests.support.folders import entries
from webhook.tokens.errors import MAX_PATH_CHARS, FolderError
from webhook.tokens.folder.directories import open_directory


def opened(path: Path, make: int | None = None) -> str:
    """Where the descriptor leads."""
    fd = open_directory(path, make=make)
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    finally:
        os.close(fd)


def test_a_folder_is_found_by_any_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "a" / "b"
    there.mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(there)
    (tmp_path / "relative").symlink_to("a")
    (tmp_path / "chain").symlink_to("relative/../absolute")
    monkeypatch.chdir(tmp_path / "a")
    for way in (there, tmp_path / "absolute", tmp_path / "relative/b", tmp_path / "chain"):
        assert opened(way) == str(there)
    for text in ("b", "../a/b", "../chain", "./b/."):
        assert opened(Path(text)) == str(there)
    assert opened(Path("/")) == "/"
    assert opened(Path()) == str(tmp_path / "a")


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_only_the_last_part_is_made_and_with_its_mode(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        opened(tmp_path / "new", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode
    with pytest.raises(FolderError, match="No such file or directory; its parent folder must be"):
        open_directory(tmp_path / "a/b", make=mode)
    assert not (tmp_path / "a").exists()
    (tmp_path / "new").chmod(0o711)
    opened(tmp_path / "new", mode)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o711


def is_open_within(folder: Path) -> bool:
    """Whether a descriptor of this process leads there; threads of other tests may open and close
    others meanwhile.
    """
    for name in entries(Path("/proc/self/fd")):
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/self/fd/{name}").readlink().is_relative_to(folder):
                return True
    return False


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("file", "Not a directory"),
        ("file/x", "Not a directory"),
        ("missing", "No such file or directory"),
        ("dangling", "No such file or directory"),
        ("loop", "has too many symlinks"),
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_no_folder_is_told(tmp_path: Path, path: str, problem: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FolderError, match=problem) as caught:
        open_directory(tmp_path / path)
    assert str(caught.value).startswith(str(tmp_path / path)[: MAX_PATH_CHARS - 1])
    assert not is_open_within(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a symlink of another user")
def test_a_symlink_of_another_user_is_not_followed_wherever_it_stands(tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "inner").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(there)
    os.chown(link, 1234, -1, follow_symlinks=False)
    for way in (link, link / "inner", link / "new"):
        with pytest.raises(FolderError, match="link on its way is a symlink of another user"):
            open_directory(way, make=0o700)
    assert entries(there) == ["inner"]
    os.chown(link, 0, -1, follow_symlinks=False)
    assert opened(link / "inner") == str(there / "inner")
