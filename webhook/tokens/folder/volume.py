"""A folder of files that change all at once, laid out as the kubelet's volumes are.

    FOLDER/token               a symlink to ..data/token; ca.crt and namespace likewise
    FOLDER/..data              a symlink to the version that is shown; a change replaces it
    FOLDER/..2026_…            a version: the files
    FOLDER/..lock              locked by the process that writes

Source of the layout: kubernetes/pkg/volume/util/atomic_writer.go. Two things differ. The symlinks
of files are made before `..data`, so that all files appear at once the first time too. And the
version before is removed a moment later than there: a reader may be between the symlink and the
file.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from ..errors import FolderError, FolderGone
from .directories import open_directory

FILES = ("token", "ca.crt", "namespace")
DATA, NEXT_DATA, LOCK = "..data", "..data_tmp", "..lock"
VERSION = re.compile(r"\.\.\d{4}(_\d\d){5}\.\d{1,20}")
MAX_ENTRIES = 1000
"""Of a folder that is looked at: three files, and two entries for each run that was killed."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TokenFolder:
    """The folder `path`, locked against other writers until `close`; made where it is not there.

    `mode` is that of the files: 0o600 for this user only, 0o644 for everybody. A folder that has
    anything else in it is refused and left as it is. Nothing outside of the folder is changed,
    whoever else may write into it: no symlink in it is followed.

    Raises: FolderError
    """

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self.path = path
        self._mode = mode
        self._folder_mode = 0o755 if mode & stat.S_IROTH else 0o700
        self.is_tidy = False
        """Whether there is nothing for `tidy` to remove."""
        self._version = ""
        self._files: dict[str, bytes] = {}
        self._lock = -1
        self._fd = open_directory(path, make=self._folder_mode)
        try:
            self._check_owner()
            self._check_content()
            self._take_lock()
            self._version = self._shown()
            self.tidy()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write. What the folder shows stays."""
        for fd in (self._lock, self._fd):
            if fd >= 0:
                os.close(fd)
        self._lock = self._fd = -1

    def write(self, files: Mapping[str, bytes]) -> bool:
        """Show these files and no others; gives whether anything changed. The names are some of
        FILES. After an error the folder shows what it showed before.

        Raises: FolderGone; FolderError
        """
        self._check_place()
        with self._problems():
            if files == self._files and self._shown() == self._version:
                return False
            has_shown = self._shown() != ""
            self._version = self._replace(files)
            self._files = dict(files)
            self.is_tidy = self.is_tidy and not has_shown
            for name in set(FILES) - files.keys():
                self._unlink(name)
        return True

    def tidy(self) -> None:
        """Remove the versions that are not shown, and what a killed process has left behind.

        Raises: FolderError
        """
        with self._problems():
            self._unlink(NEXT_DATA)
            shown = self._shown()
            for name in self._names():
                if VERSION.fullmatch(name) and name != shown and self._is_ours(name):
                    self._remove(name)
        self.is_tidy = True

    def _replace(self, files: Mapping[str, bytes]) -> str:
        """Make a version and show it; gives its name."""
        at = time.strftime("%Y_%m_%d_%H_%M_%S", time.gmtime())
        version = f"..{at}.{secrets.randbelow(10**10)}"
        os.mkdir(version, 0o700, dir_fd=self._fd)
        try:
            self._fill(version, files)
            for name in files:
                self._link(f"{DATA}/{name}", name)
            self._unlink(NEXT_DATA)
            os.symlink(version, NEXT_DATA, dir_fd=self._fd)
            os.rename(NEXT_DATA, DATA, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except BaseException:
            with contextlib.suppress(OSError, FolderError):
                if self._shown() != version:  # a signal may come just after the rename
                    self._remove(version)
                    self._unlink(NEXT_DATA)
            raise
        return version

    def _fill(self, version: str, files: Mapping[str, bytes]) -> None:
        folder = os.open(version, _FOLDER, dir_fd=self._fd)
        try:
            if os.fstat(folder).st_uid != os.geteuid():
                raise FolderError(self.path, f"another user has replaced {version}")
            for name, content in files.items():
                self._write_file(folder, name, content)
            os.fchmod(folder, self._folder_mode)
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write_file(self, folder: int, name: str, content: bytes) -> None:
        file = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fchmod(file, self._mode)
            os.fsync(file)  # a disk may say only here that it is full
        finally:
            os.close(file)

    def _link(self, target: str, name: str) -> None:
        if self._target(name) != target:
            self._unlink(name)
            os.symlink(target, name, dir_fd=self._fd)

    def _unlink(self, name: str) -> None:
        """Remove a symlink, where there is one."""
        if self._target(name):
            os.unlink(name, dir_fd=self._fd)

    def _target(self, name: str) -> str:
        """Where a symlink leads; empty where there is none.

        Raises: OSError; FolderError, for any other file, which somebody else has made
        """
        try:
            return os.readlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return ""
        except OSError as problem:
            if problem.errno == errno.EINVAL:
                raise FolderError(self.path, f"{name} in it must be a symlink") from None
            raise

    def _remove(self, version: str) -> None:
        folder = os.open(version, _FOLDER, dir_fd=self._fd)
        try:
            for name in FILES:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(version, dir_fd=self._fd)

    def _shown(self) -> str:
        """The version that the folder shows; empty where it shows none of ours."""
        target = self._target(DATA)
        return target if VERSION.fullmatch(target) else ""

    def _names(self) -> list[str]:
        """Raises: OSError; FolderError, for a folder of more than MAX_ENTRIES"""
        names = []
        with os.scandir(self._fd) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) > MAX_ENTRIES:
                    raise FolderError(self.path, f"has more than {MAX_ENTRIES} entries")
        return names

    def _check_place(self) -> None:
        try:
            found, opened = self.path.stat(), os.fstat(self._fd)
        except OSError as problem:
            raise FolderGone(self.path, f"the folder is gone: {problem.strerror}") from None
        if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
            raise FolderGone(self.path, "the folder is gone: another one is in its place")

    def _check_owner(self) -> None:
        """Who owns a folder can replace its files. Root may write for another user."""
        owner, user = os.fstat(self._fd).st_uid, os.geteuid()
        if user != 0 and owner not in (0, user):
            raise FolderError(
                self.path, f"belongs to user {owner}, who could replace the files in it"
            )

    def _check_content(self) -> None:
        with self._problems():
            for name in self._names():
                if not self._is_ours(name):
                    raise FolderError(
                        self.path,
                        f"has {name!a} in it, which boundtoken did not make; give a folder that is empty or not there yet",
                    )

    def _is_ours(self, name: str) -> bool:
        """Also what has just gone: another process may be writing."""
        with contextlib.suppress(FileNotFoundError):
            kind = stat.S_IFMT(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
            if VERSION.fullmatch(name):
                return kind == stat.S_IFDIR and self._has_our_files(name)
            if name == LOCK:
                return kind == stat.S_IFREG
            if kind != stat.S_IFLNK or name not in (*FILES, DATA, NEXT_DATA):
                return False
            target = os.readlink(name, dir_fd=self._fd)
            if name in FILES:
                return target == f"{DATA}/{name}"
            return VERSION.fullmatch(target) is not None
        return True

    def _has_our_files(self, version: str) -> bool:
        folder = os.open(version, _FOLDER, dir_fd=self._fd)
        try:
            with os.scandir(folder) as entries:
                return all(
                    entry.name in FILES and entry.is_file(follow_symlinks=False)
                    for entry in entries
                )
        finally:
            os.close(folder)

    def _take_lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self._problems():
            self._lock = os.open(LOCK, flags, 0o600, dir_fd=self._fd)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderError(self.path, "another process is writing into it") from None

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise FolderError(
                self.path, f"{problem.strerror}; its files stay as they are"
            ) from None
