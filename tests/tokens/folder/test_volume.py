"""The folder as a reader sees it: whole at every moment, whoever writes, is killed or gets in the
way.
"""

import fcntl
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.folders import entries
from tests.support.paths import ROOT
from webhook.tokens.errors import FolderError, FolderGone
from webhook.tokens.folder.volume import DATA, FILES, LOCK, MAX_ENTRIES, NEXT_DATA, TokenFolder


def files(version: str, *names: str) -> dict[str, bytes]:
    """Files whose content says which version they are of; large enough to be seen half-written."""
    return {name: version.encode() * 5000 for name in names or FILES}


def shown(folder: Path) -> dict[str, bytes]:
    """What a reader finds by the names, as the kubelet's volumes are read."""
    return {name: (folder / name).read_bytes() for name in FILES if os.path.lexists(folder / name)}


def seen_at_once(folder: Path) -> Mapping[str, bytes]:
    """What a reader finds in one version."""
    fd = os.open(folder / DATA, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return {
            name: Path(f"/proc/self/fd/{fd}/{name}").read_bytes()
            for name in entries(Path(f"/proc/self/fd/{fd}"))
        }
    finally:
        os.close(fd)


def versions(folder: Path) -> list[str]:
    return [name for name in entries(folder) if name.startswith("..2")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_all_files_are_shown_and_changed_together(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        assert writer.write(files("a"))
        assert shown(folder) == files("a")
        assert not writer.write(files("a"))
        assert writer.write(files("b"))
        assert shown(folder) == seen_at_once(folder) == files("b")
        assert len(versions(folder)) == 2, "a reader may still be in the one before"
        assert not writer.is_tidy
        writer.tidy()
        assert len(versions(folder)) == 1
        assert writer.is_tidy
    assert shown(folder) == files("b")


def test_a_file_that_is_not_written_any_more_goes(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        writer.write(files("b", "token"))
        assert sorted(shown(folder)) == ["token"]
        assert not os.path.lexists(folder / "ca.crt")
        writer.write(files("c"))
    assert shown(folder) == files("c")


@pytest.mark.parametrize(("mode", "of_folders"), [(0o600, 0o700), (0o644, 0o755)])
def test_modes_are_those_of_the_flag_whatever_the_umask_is(
    folder: Path, mode: int, of_folders: int
) -> None:
    before = os.umask(0o777)
    try:
        with TokenFolder(folder, mode) as writer:
            writer.write(files("a"))
    finally:
        os.umask(before)
    (version,) = versions(folder)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in FILES} == {mode}
    assert stat.S_IMODE(folder.stat().st_mode) == of_folders
    assert stat.S_IMODE((folder / version).stat().st_mode) == of_folders


def test_the_mode_of_a_folder_that_was_there_stays(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777


def test_a_second_writer_is_refused_until_the_first_has_closed(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        with pytest.raises(FolderError, match="another process is writing into it"):
            TokenFolder(folder)
        assert shown(folder) == files("a")
    with TokenFolder(folder) as second:
        second.write(files("b"))
    assert shown(folder) == files("b")


def test_a_new_writer_always_writes(folder: Path) -> None:
    """The content of a folder may be of another mode, or changed by somebody."""
    for mode in (0o600, 0o644):
        with TokenFolder(folder, mode) as writer:
            assert writer.write(files("a"))
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda folder: (folder / "precious").write_text("x"), id="another file"),
        pytest.param(lambda folder: (folder / "token").write_text("x"), id="a file named token"),
        pytest.param(lambda folder: (folder / "token").mkdir(), id="a folder named token"),
        pytest.param(lambda folder: (folder / "token").symlink_to("/etc"), id="another symlink"),
        pytest.param(lambda folder: (folder / DATA).symlink_to("/etc"), id="..data to elsewhere"),
        pytest.param(lambda folder: (folder / DATA).mkdir(), id="..data as a folder"),
        pytest.param(lambda folder: (folder / LOCK).symlink_to("/etc/passwd"), id="..lock"),
        pytest.param(lambda folder: os.mkfifo(folder / LOCK), id="..lock as a pipe"),
        pytest.param(
            lambda folder: (folder / "..2026_01_01_00_00_00.1").symlink_to("/etc"), id="a version"
        ),
        pytest.param(
            lambda folder: (
                (folder / "..2026_01_01_00_00_00.1").mkdir(),
                (folder / "..2026_01_01_00_00_00.1/other").write_text("x"),
            ),
            id="a version of a ConfigMap",
        ),
    ],
)
def test_a_folder_with_anything_else_in_it_is_refused_and_left_alone(
    folder: Path, make: Any
) -> None:
    folder.mkdir()
    make(folder)
    before = entries(folder)
    with pytest.raises(FolderError, match="which boundtoken did not make"):
        TokenFolder(folder)
    assert entries(folder) == before


def test_a_folder_with_more_entries_than_we_would_make_is_not_looked_through(folder: Path) -> None:
    folder.mkdir()
    for number in range(MAX_ENTRIES + 1):
        (folder / f"..2026_01_01_00_00_00.{number}").mkdir()
    with pytest.raises(FolderError, match="more than 1000 entries"):
        TokenFolder(folder)


def test_what_killed_runs_left_behind_is_removed(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
    leftover = folder / "..2026_01_01_00_00_00.1"
    leftover.mkdir()
    (leftover / "token").write_text("half")
    (folder / NEXT_DATA).symlink_to(leftover.name)
    with TokenFolder(folder) as writer:
        assert shown(folder) == files("a")
        writer.write(files("b"))
        writer.tidy()
    assert not leftover.exists()
    assert entries(folder) == sorted([DATA, LOCK, *FILES, *versions(folder)])
    assert len(versions(folder)) == 1


@pytest.mark.parametrize("when", ["first", "again"])
def test_killed_after_each_step_the_folder_is_whole_and_the_next_start_cleans_up(
    folder: Path, when: str
) -> None:
    command = [sys.executable, "-m", "tests.support.killing", str(folder), when]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(done.stdout) > 70


def test_readers_never_find_a_file_missing_or_half_written(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        stop = threading.Event()
        wrong: list[object] = []

        def read() -> None:
            while not stop.is_set():
                try:
                    content = (folder / "token").read_bytes()
                    at_once = seen_at_once(folder)
                except OSError as problem:
                    wrong.append(problem)
                    return
                if len(set(content)) != 1 or len(content) != 5000:
                    wrong.append(content[:10])
                if len(set(b"".join(at_once.values()))) != 1 or len(at_once) != len(FILES):
                    wrong.append(at_once.keys())

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(150):
            writer.write(files(chr(98 + number % 20)))
        stop.set()
        for reader in readers:
            reader.join()
        assert wrong == []
        assert len(versions(folder)) == 151


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=40", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_and_the_old_content_stays(small_disk: Path) -> None:
    folder = small_disk / "tokens"
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        writer.tidy()
        for size in (12_000, 20_000, 100_000):
            with pytest.raises(FolderError, match="No space left on device; its files stay"):
                writer.write(dict.fromkeys(FILES, b"x" * size) | {"token": b"y" * 100_000})
            assert shown(folder) == seen_at_once(folder) == files("a")
            assert len(versions(folder)) == 1, "what was begun is removed"
        assert writer.write(files("b"))


def test_a_disk_without_inodes_is_told_and_the_old_content_stays(small_disk: Path) -> None:
    folder = small_disk / "tokens"
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        taken: list[Path] = []
        try:
            while True:
                taken.append(small_disk / f"file-{len(taken)}")
                taken[-1].touch()
        except OSError:
            pass
        for _ in range(4):
            with pytest.raises(FolderError, match="No space left on device"):
                writer.write(files("b"))
            assert shown(folder) == files("a")
            assert len(versions(folder)) == 1
            taken.pop(0).unlink()
        for place in taken[:-1]:
            place.unlink()
        assert writer.write(files("b"))


def test_a_limit_of_the_file_size_is_told_and_the_old_content_stays(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        try:
            with pytest.raises(FolderError, match="File too large; its files stay as they are"):
                writer.write(files("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert shown(folder) == files("a")
        assert len(versions(folder)) == 1


def test_a_folder_that_has_become_read_only_is_told(small_disk: Path) -> None:
    folder = small_disk / "tokens"
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(FolderError, match="Read-only file system"):
        TokenFolder(folder)
    with pytest.raises(FolderError, match="Read-only file system"):
        TokenFolder(small_disk / "new")
    assert shown(folder) == files("a")


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_gone_is_told_and_its_successor_left_alone(
    folder: Path, again: bool
) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        folder.rename(folder.with_name("old"))
        if again:
            folder.mkdir()
        with pytest.raises(FolderGone, match="the folder is gone"):
            writer.write(files("b"))
        assert shown(folder.with_name("old")) == files("a")
        assert not again or entries(folder) == []


def test_a_folder_that_somebody_has_emptied_is_filled_again(folder: Path) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        for name in entries(folder):
            if name.startswith("..2"):
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink()
        assert writer.write(files("a"))
        assert shown(folder) == files("a")


@pytest.mark.parametrize("name", [DATA, NEXT_DATA, "token"])
def test_a_symlink_that_is_planted_meanwhile_is_replaced_and_never_followed(
    folder: Path, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "token").write_text("precious")
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
        writer.write(files("b"))
        writer.tidy()
    assert shown(folder) == files("b")
    assert (victim / "token").read_text() == "precious"
    assert entries(victim) == ["token"]


@pytest.mark.parametrize("name", [NEXT_DATA, "token", DATA])
def test_a_file_that_is_planted_meanwhile_is_told_and_not_destroyed(
    folder: Path, name: str
) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a", "namespace"))
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text("precious")
        with pytest.raises(FolderError, match=f"{name} in it must be a symlink"):
            writer.write(files("b"))
        assert (folder / name).read_text() == "precious"
        assert len(versions(folder)) == 1


def test_a_version_that_leads_elsewhere_is_not_cleaned_up(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "token").write_text("precious")
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        (folder / "..2026_01_01_00_00_00.1").symlink_to(victim)
        (folder / "..2026_01_01_00_00_00.2").mkdir()
        (folder / "..2026_01_01_00_00_00.2/precious").write_text("x")
        writer.tidy()
        assert (victim / "token").exists()
        assert (folder / "..2026_01_01_00_00_00.2/precious").exists()


def test_a_signal_just_after_the_change_leaves_what_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TokenFolder(folder) as writer:
        writer.write(files("a"))
        rename = os.rename

        def interrupted(*arguments: object, **named: object) -> None:
            rename(*arguments, **named)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.write(files("b"))
        monkeypatch.undo()
        assert shown(folder) == files("b")
        writer.tidy()
        assert shown(folder) == files("b")
        assert len(versions(folder)) == 1


AS_NOBODY = """
import os, sys
from pathlib import Path
from typing import Any
from webhook.tokens.errors import FolderError
from webhook.tokens.folder.volume import TokenFolder
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with TokenFolder(Path(sys.argv[1])) as folder:
        folder.write({"token": b"a"})
except FolderError as problem:
    print(problem)
"""


def as_nobody(folder: Path) -> str:
    """What another user hears."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    command = [sys.executable, "-c", AS_NOBODY, str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_folder_of_another_user_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Path("/dev/shm") / f"boundtoken-test-{os.getpid()}"
    place.mkdir(mode=0o777)
    try:
        place.chmod(0o777)
        os.chown(place, 1234, -1)
        assert "belongs to user 1234" in as_nobody(place)
        os.chown(place, 0, -1)
        assert as_nobody(place) == "", "as an emptyDir is, which root has made"
        assert (place / "token").read_text() == "a"
        os.chown(place, 65534, -1)
        assert as_nobody(place) == ""
    finally:
        shutil.rmtree(place)


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    place = Path("/dev/shm") / f"boundtoken-test-{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        assert as_nobody(place) == f"{place}: Permission denied; its files stay as they are\n"
        assert as_nobody(place / "new") == f"{place}/new: Permission denied\n"
    finally:
        shutil.rmtree(place)


def test_the_lock_is_not_inherited_by_a_program_that_is_started(folder: Path) -> None:
    with TokenFolder(folder):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with TokenFolder(folder):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_lock_of_another_process_counts(folder: Path) -> None:
    with TokenFolder(folder):
        pass
    with (folder / LOCK).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FolderError, match="another process"):
            TokenFolder(folder)
