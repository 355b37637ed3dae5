"""A private folder: what is trusted, what is replaced, and one lock for many processes."""

import multiprocessing
import os
import resource
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webhook.tokens.kubectl.private_folder import (
    Busy,
    PrivateFolder,
    Untrusted,
    cache_home,
    write_private,
)

NAME = "0" * 32 + ".json"
LOCK = "0" * 32 + ".lock"
SOMEBODY = 65534
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[PrivateFolder]:
    with PrivateFolder(tmp_path, "boundtoken", "tokens") as opened:
        yield opened


def test_it_is_made_for_this_user_alone_and_so_are_its_files(folder: PrivateFolder) -> None:
    previous = os.umask(0)
    try:
        folder.write(NAME, b"x")
        folder.append("0" * 32 + ".callers", b"x", 10)
        with folder.locked(LOCK, 1):
            pass
    finally:
        os.umask(previous)
    modes = {path.name[33:]: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
    assert modes == {"json": 0o600, "callers": 0o600, "lock": 0o600}
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.path, folder.path.parent)] == [
        0o700,
        0o700,
    ]
    assert folder.read(NAME, 1) == b"x"
    assert folder.read("1" * 32 + ".json", 1) is None


def test_a_umask_that_takes_the_owners_rights_does_no_harm(folder: PrivateFolder) -> None:
    previous = os.umask(0o777)
    try:
        folder.write(NAME, b"x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((folder.path / NAME).stat().st_mode) == 0o600


def widened(path: Path) -> None:
    path.chmod(0o640)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def named_twice(path: Path) -> None:
    path.with_name("twin").hardlink_to(path)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def given_away(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)


def grown(path: Path) -> None:
    path.write_bytes(b"x" * 100)


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (widened, "its mode is 640, and must be 600"),
    (linked, "Too many levels of symbolic links"),
    (named_twice, "must have one name, and has 2"),
    (piped, "must be a regular file"),
    (given_away, "its owner is user 65534, and must be 0"),
    (grown, "has more than 10 bytes"),
]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(*row, id=row[0].__name__, marks=[is_root] * (row[0] is given_away))
        for row in SPOILT
    ],
)
def test_a_file_that_is_not_as_it_was_made_is_not_read_and_is_replaced(
    folder: PrivateFolder, spoil: Callable[[Path], None], message: str
) -> None:
    folder.write(NAME, b"planted")
    spoil(folder.path / NAME)
    with pytest.raises(Untrusted) as refused:
        folder.read(NAME, 10)
    assert str(refused.value) == f"{folder.path / NAME}: {message}"
    folder.write(NAME, b"ours")
    assert folder.read(NAME, 10) == b"ours"
    if spoil is linked:
        assert (folder.path / "elsewhere").read_bytes() == b"planted"


@pytest.mark.parametrize("spoil", [widened, linked, named_twice, piped])
def test_what_is_appended_to_a_file_that_is_not_ours_begins_a_new_one(
    folder: PrivateFolder, spoil: Callable[[Path], None]
) -> None:
    folder.append(NAME, b"planted", 100)
    spoil(folder.path / NAME)
    folder.append(NAME, b"ours", 100)
    assert folder.read(NAME, 100) == b"ours"


def test_a_file_that_is_appended_to_begins_anew_above_its_limit(folder: PrivateFolder) -> None:
    for _ in range(4):
        folder.append(NAME, b"1234", 10)
    assert folder.read(NAME, 100) == b"1234"


@pytest.mark.parametrize("spoil", [widened, linked, named_twice, piped])
def test_a_lock_that_is_not_ours_is_replaced(
    folder: PrivateFolder, spoil: Callable[[Path], None]
) -> None:
    with folder.locked(LOCK, 1):
        pass
    spoil(folder.path / LOCK)
    with folder.locked(LOCK, 1) as lock:
        lock.leave(b"note")
        assert lock.note(10) == b"note"
    assert stat.S_IMODE((folder.path / LOCK).lstat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["boundtoken", "boundtoken/tokens"])
@pytest.mark.parametrize("spoil", ["mode", "owner", "link", "file"])
def test_a_folder_that_is_not_this_users_alone_is_not_used(
    tmp_path: Path, name: str, spoil: str
) -> None:
    PrivateFolder(tmp_path, "boundtoken", "tokens").close()
    path = tmp_path / name
    if spoil == "mode":
        path.chmod(0o750 if name.endswith("tokens") else 0o720)
    elif spoil == "owner":
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        os.chown(path, SOMEBODY, SOMEBODY)
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere") if spoil == "link" else path.touch()
    with pytest.raises(Untrusted, match=str(path)):
        PrivateFolder(tmp_path, "boundtoken", "tokens")


@is_root
def test_in_somebody_elses_folder_nothing_is_made_unless_it_is_sticky(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    os.chown(base, SOMEBODY, SOMEBODY)
    with pytest.raises(Untrusted, match="its owner is user 65534"):
        PrivateFolder(base, "boundtoken")
    assert list(base.iterdir()) == []
    base.chmod(0o1777)
    PrivateFolder(base, "boundtoken").close()


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(folder: PrivateFolder) -> None:
    folder.write(NAME, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            folder.write(NAME, b"x" * 100_000)
        with pytest.raises(OSError, match="File too large"):
            write_private(folder.path / "other", b"x" * 100_000, replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.read(NAME, 10) == b"old"
    assert [path.name for path in folder.path.iterdir()] == [NAME]


def test_one_process_at_a_time_has_the_lock(folder: PrivateFolder, tmp_path: Path) -> None:
    inside: list[int] = []
    most = [0]

    def enter() -> None:
        with PrivateFolder(tmp_path, "boundtoken", "tokens") as own, own.locked(LOCK, 30):
            inside.append(1)
            most[0] = max(most[0], len(inside))
            time.sleep(0.002)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def hold(path: Path, ready: "multiprocessing.Queue[int]") -> None:
    with PrivateFolder(path, "boundtoken", "tokens") as own, own.locked(LOCK, 1):
        ready.put(1)
        time.sleep(60)


def test_who_waits_gives_up_in_time_and_gets_the_lock_when_its_holder_is_killed(
    folder: PrivateFolder, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    ready: multiprocessing.Queue[int] = context.Queue()
    holder = context.Process(target=hold, args=(tmp_path, ready))
    holder.start()
    ready.get(timeout=30)
    started = time.monotonic()
    with pytest.raises(Busy), folder.locked(LOCK, 0.2):
        pass
    assert 0.2 <= time.monotonic() - started < 5
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    started = time.monotonic()
    with folder.locked(LOCK, 30):
        assert time.monotonic() - started < 10


def test_a_sweep_takes_old_files_of_ours_and_leaves_locks_in_use_and_others(
    folder: PrivateFolder,
) -> None:
    for number in range(3):
        folder.write(f"{number}" * 32 + ".json", b"x")
    (folder.path / "README").touch()
    (folder.path / ("4" * 32 + ".json.0123456789abcdef.tmp")).touch(0o600)
    used, unused = "a" * 32 + ".lock", "b" * 32 + ".lock"
    with folder.locked(unused, 1):
        pass
    with folder.locked(used, 1):
        for path in folder.path.iterdir():
            os.utime(path, (1000, 1000))
        folder.write("2" * 32 + ".json", b"new")
        folder.sweep(2000)
        assert {path.name for path in folder.path.iterdir()} == {
            "README",
            used,
            "2" * 32 + ".json",
        }


def test_a_lock_that_was_swept_while_somebody_waited_is_made_again(
    folder: PrivateFolder, tmp_path: Path
) -> None:
    order: list[str] = []

    def wait() -> None:
        with PrivateFolder(tmp_path, "boundtoken", "tokens") as own, own.locked(LOCK, 30):
            order.append("waiter")
            assert (own.path / LOCK).exists()

    with folder.locked(LOCK, 1):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        folder.remove(LOCK)
        with folder.locked(LOCK, 30):
            time.sleep(0.3)
            assert order in ([], ["waiter"])
    thread.join(30)
    assert order == ["waiter"]


def test_others_may_know_of_the_folder_around_it(tmp_path: Path) -> None:
    PrivateFolder(tmp_path, "boundtoken", "tokens").close()
    (tmp_path / "boundtoken").chmod(0o755)
    PrivateFolder(tmp_path, "boundtoken", "tokens").close()


def test_a_home_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        PrivateFolder(tmp_path / "home" / ".cache", "boundtoken")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(Untrusted, match="HOME must be an absolute path"):
        cache_home({})


def test_a_lock_of_a_file_that_was_swept_is_none(folder: PrivateFolder) -> None:
    fd = folder._lock_file(LOCK)
    assert folder._has_locked(fd, LOCK)
    folder.remove(LOCK)
    assert not folder._has_locked(fd, LOCK)
    os.close(fd)


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"XDG_CACHE_HOME": "/x"}, Path("/x")),
        ({"XDG_CACHE_HOME": "x"}, Path.home() / ".cache"),
        ({"XDG_CACHE_HOME": ""}, Path.home() / ".cache"),
        ({}, Path.home() / ".cache"),
    ],
)
def test_the_cache_is_where_the_specification_says(environ: dict[str, str], path: Path) -> None:
    assert cache_home(environ) == path


def test_a_private_file_is_whole_new_and_replaces_only_where_it_may(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, b"one", replace=False)
    with pytest.raises(FileExistsError):
        write_private(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    path.chmod(0o644)
    write_private(path, b"two", replace=True)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"two", 0o600)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
