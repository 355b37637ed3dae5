"""The folder of one run: where it is, who can look into it, and what is left of runs that were
killed.
"""

import os
import stat
from pathlib import Path

import pytest

from webhook.tokens.errors import FolderError
from webhook.tokens.folder import temporary
from webhook.tokens.folder.temporary import PREFIX, SERVICE_ACCOUNT
from webhook.tokens.folder.volume import TokenFolder


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder as XDG_RUNTIME_DIR must be."""
    path = tmp_path / "runtime"
    path.mkdir(mode=0o700)
    return path


def base_of(environ: dict[str, str]) -> Path:
    with temporary.run_folder(environ) as path:
        assert path.name.startswith(PREFIX)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "file").touch()
    assert not path.exists()
    return path.parent


def test_it_is_in_the_runtime_folder_of_the_user(runtime: Path) -> None:
    assert base_of({"XDG_RUNTIME_DIR": str(runtime)}) == runtime


@pytest.mark.parametrize("value", ["", "relative", "/missing", "/tmp", "/etc/passwd", "/a\0b"])
def test_without_a_usable_one_it_is_in_memory(value: str) -> None:
    assert base_of({"XDG_RUNTIME_DIR": value}) == Path("/dev/shm")


def test_without_shared_memory_it_is_where_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(temporary, "SHARED_MEMORY", tmp_path / "no-mount")
    assert base_of({}) == tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a folder of another user")
def test_a_runtime_folder_of_another_user_is_not_used(runtime: Path) -> None:
    os.chown(runtime, 1234, -1)
    assert base_of({"XDG_RUNTIME_DIR": str(runtime)}) == Path("/dev/shm")


def a_run(base: Path, name: str, *, age: float = 3600) -> Path:
    """What a run that was killed leaves behind."""
    path = base / f"{PREFIX}{name}"
    path.mkdir()
    with TokenFolder(path / SERVICE_ACCOUNT) as folder:
        folder.write({"token": b"secret"})
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def test_what_is_left_of_killed_runs_is_removed_and_nothing_else(runtime: Path) -> None:
    stale, fresh = a_run(runtime, "stale"), a_run(runtime, "fresh", age=1)
    alive = a_run(runtime, "alive")
    other = runtime / "other"
    other.mkdir()
    empty = runtime / f"{PREFIX}empty"
    empty.mkdir()
    os.utime(empty, (0, 0))
    link = runtime / f"{PREFIX}link"
    link.symlink_to(other)
    with TokenFolder(alive / SERVICE_ACCOUNT):
        assert base_of({"XDG_RUNTIME_DIR": str(runtime)}) == runtime
    assert not stale.exists()
    assert not empty.exists()
    assert fresh.exists()
    assert alive.exists()
    assert link.is_symlink()
    assert other.exists()


@pytest.mark.parametrize("place", [SERVICE_ACCOUNT, f"{SERVICE_ACCOUNT}/folder", "cache"])
def test_what_the_program_has_put_beside_the_token_does_not_keep_it(
    runtime: Path, place: str
) -> None:
    stale = a_run(runtime, "stale")
    (stale / place).mkdir(exist_ok=True)
    (stale / place / "file").touch()
    os.utime(stale, (0, 0))
    with temporary.run_folder({"XDG_RUNTIME_DIR": str(runtime)}):
        assert not stale.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a folder of another user")
def test_what_another_user_has_left_is_not_touched(runtime: Path) -> None:
    stale = a_run(runtime, "stale")
    os.chown(stale, 1234, -1)
    base_of({"XDG_RUNTIME_DIR": str(runtime)})
    assert stale.exists()


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    monkeypatch.setattr(temporary, "SHARED_MEMORY", tmp_path / "no-mount")
    with pytest.raises(FolderError, match="missing: No such file or directory"):
        base_of({})
