"""A folder that only this user can read and write, on a disk that others share.

What is found there is not trusted by its place alone: whoever could write the folder once, or may
write above it, can have put it there. So an owner, a mode, a symbolic link or a hard link that is
not ours makes a file one that is not there, and is told.
"""

import contextlib
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

FOLDER_MODE, FILE_MODE = 0o700, 0o600
NAME = re.compile(r"[0-9a-f]{32}\.[a-z]{1,10}(\.[0-9a-f]{16}\.tmp)?")
"""Of the files in it; any other is left alone."""
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.005, 0.1
"""Between two tries to lock."""
NOTICE_SECONDS = 5.0
"""Of waiting, after which a person wants to know why."""
MAX_SWEPT = 1000
"""Names that one sweep looks at."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Untrusted(Exception):
    """Something is not as we would have made it; the text says what, and where."""


def cache_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's caches are (XDG Base Directory Specification). Raises: Untrusted"""
    given = environ.get("XDG_CACHE_HOME", "")
    if given.startswith("/"):  # the specification: relative ones are to be ignored
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError as problem:
        raise Untrusted(f"no cache folder: {problem}") from None
    if not home.is_absolute():
        raise Untrusted("no cache folder: HOME must be an absolute path")
    return home / ".cache"


class Busy(Exception):
    """Another process has had the lock for too long."""


class PrivateFolder:
    """The folder `path`/`names`…, made where it is not there; what `path` is in must be there.
    Close it, or use it in a `with`.

    Raises: Untrusted, where others can write to one of `names`, or read the last one; OSError
    """

    def __init__(self, path: Path, *names: str) -> None:
        self.path = path.joinpath(*names)
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _check_parent(path, os.fstat(self._fd))
            for name in names:
                path /= name
                self._enter(path, name, is_last=path == self.path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go; the files stay."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, name: str, limit: int) -> bytes | None:
        """The content of a file; None where there is none.

        Raises: Untrusted, also for one of more than `limit` bytes; OSError
        """
        try:
            fd = os.open(name, _READ, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise Untrusted(f"{self.path / name}: {problem.strerror}") from None
        with os.fdopen(fd, "rb") as file:
            _check_file(self.path / name, os.fstat(fd))
            content = file.read(limit + 1)
        if len(content) > limit:
            raise Untrusted(f"{self.path / name}: has more than {limit} bytes")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, whatever it was, so that who reads it finds the old or the new content.

        Raises: OSError; the old one stays then
        """
        draft = f"{name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(draft, flags, FILE_MODE, dir_fd=self._fd)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, FILE_MODE)  # a umask can only take away
                file.write(content)
            os.rename(draft, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except BaseException:
            self.remove(draft)
            raise

    def append(self, name: str, content: bytes, limit: int) -> None:
        """Add to the end of a file, which begins anew above `limit` bytes and where it is not to be
        trusted. Raises: OSError
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(name, flags | os.O_CLOEXEC, FILE_MODE, dir_fd=self._fd)
        except OSError:
            self.write(name, content)
            return
        with os.fdopen(fd, "ab", buffering=0) as file:
            try:
                found = os.fstat(fd)
                _check_file(self.path / name, found)
            except Untrusted:
                self.write(name, content)
                return
            if found.st_size > limit:
                os.ftruncate(fd, 0)
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file where there is one."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    @contextlib.contextmanager
    def locked(
        self, name: str, seconds: float, on_wait: Callable[[], None] = lambda: None
    ) -> Iterator["Lock"]:
        """Hold the lock of a file, for as long as the block runs; another process that wants it
        waits. `on_wait` is called once, where that takes more than NOTICE_SECONDS.

        Raises: Busy, after `seconds`, or at once where they are 0; Untrusted; OSError
        """
        started = time.monotonic()
        has_told = False
        pause = FIRST_PAUSE_SECONDS
        fd = self._lock_file(name)
        try:
            while not self._has_locked(fd, name):
                waited = time.monotonic() - started
                if waited >= seconds:
                    raise Busy
                if waited >= NOTICE_SECONDS and not has_told:
                    has_told = True
                    on_wait()
                time.sleep(pause)
                pause = min(pause * 1.5, MAX_PAUSE_SECONDS)
                if not self._is_at(fd, name):  # somebody has swept it away
                    os.close(fd)
                    fd = -1
                    fd = self._lock_file(name)
            yield Lock(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def sweep(self, older_than: float) -> None:
        """Remove files of ours that nobody has written since `older_than`, in seconds since 1970;
        not those that somebody has locked.
        """
        with contextlib.suppress(OSError), os.scandir(self._fd) as entries:
            for _, entry in zip(range(MAX_SWEPT), entries, strict=False):
                if NAME.fullmatch(entry.name):
                    with contextlib.suppress(OSError, Untrusted):
                        if entry.stat(follow_symlinks=False).st_mtime < older_than:
                            self._sweep(entry.name)

    def _sweep(self, name: str) -> None:
        if not name.endswith(".lock"):
            self.remove(name)
            return
        fd = self._lock_file(name)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.remove(name)
        finally:
            os.close(fd)

    def _enter(self, path: Path, name: str, *, is_last: bool) -> None:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, FOLDER_MODE, dir_fd=self._fd)
            fd = os.open(name, _FOLDER, dir_fd=self._fd)
        except OSError as problem:
            raise Untrusted(f"{path}: {problem.strerror}") from None
        os.close(self._fd)
        self._fd = fd
        found = os.fstat(fd)
        _check_owner(path, found)
        if found.st_mode & (0o077 if is_last else 0o022):
            raise Untrusted(f"{path}: its mode is {found.st_mode & 0o777:o}, and must be 700")

    def _lock_file(self, name: str) -> int:
        """An open file to lock; one that is not to be trusted is replaced."""
        try:
            return self._opened(name)
        except Untrusted:
            self.remove(name)
            return self._opened(name)

    def _opened(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, FILE_MODE, dir_fd=self._fd)
        except OSError as problem:
            raise Untrusted(f"{self.path / name}: {problem.strerror}") from None
        try:
            _check_file(self.path / name, os.fstat(fd))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _has_locked(self, fd: int, name: str) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # this file system has no locks: everybody asks for themselves
            return True
        return self._is_at(fd, name)

    def _is_at(self, fd: int, name: str) -> bool:
        """Whether the name still leads to the open file."""
        try:
            there = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(fd))


class Lock:
    """A lock that is held, and a note for those who wait for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def note(self, limit: int) -> bytes:
        """What the one before has left; empty where it left nothing."""
        return os.pread(self._fd, limit, 0)

    def leave(self, note: bytes) -> None:
        """Leave a note in the place of the one before. A full disk does not matter to it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, note, 0)


def write_private(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file that only this user can read; unless `replace`, only where there is none.

    Raises: OSError, FileExistsError among them; there is no half of it then
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    fd = os.open(draft, flags, FILE_MODE)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)  # unlike a rename, it replaces nothing
    finally:
        draft.unlink(missing_ok=True)


def _check_parent(path: Path, found: os.stat_result) -> None:
    """Whoever may rename what is in a folder can put another one in its place: only its owner may
    where it is sticky, as /tmp is.
    """
    if found.st_uid == os.geteuid() or found.st_mode & stat.S_ISVTX:
        return
    raise Untrusted(f"{path}: its owner is user {found.st_uid}, and must be {os.geteuid()}")


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Untrusted(f"{path}: must be a regular file")
    _check_owner(path, found)
    if found.st_mode & 0o077:
        raise Untrusted(f"{path}: its mode is {found.st_mode & 0o777:o}, and must be 600")
    if found.st_nlink > 1:
        raise Untrusted(f"{path}: must have one name, and has {found.st_nlink}")


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise Untrusted(f"{path}: its owner is user {found.st_uid}, and must be {os.geteuid()}")
