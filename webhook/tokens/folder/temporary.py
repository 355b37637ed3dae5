"""A folder for one run of a program that nobody else can look into, in memory where it can be."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from ..errors import FolderError
from .volume import LOCK

PREFIX = "boundtoken-run-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (each folder in it gets a name that nobody can foresee)
TMPFS = b"tmpfs"
STALE_SECONDS = 60.0
"""After which a folder without a lock is one of a run that was killed, and not one that begins."""
MAX_LOOKED_AT = 10_000
SERVICE_ACCOUNT = "serviceaccount"
"""Of the folder of a run: the folder of the token."""
_LOCK = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def run_folder(environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """A new folder of mode 0700, removed afterwards: in XDG_RUNTIME_DIR, else in shared memory,
    else where temporary files are. What runs that were killed have left there is removed too.

    Raises: FolderError
    """
    base = _base(environ)
    _remove_stale(base)
    try:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    except OSError as problem:
        raise FolderError(base, problem) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _base(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_private(Path(runtime)):
        return Path(runtime)
    if _is_in_memory(SHARED_MEMORY) and os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return SHARED_MEMORY
    return Path(tempfile.gettempdir())


def _is_private(path: Path) -> bool:
    """Whether it is what the specification of XDG_RUNTIME_DIR demands: ours, for nobody else."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        and os.access(path, os.W_OK | os.X_OK)
    )


def _is_in_memory(path: Path) -> bool:
    try:
        mounts = Path("/proc/self/mounts").read_bytes()
    except OSError:
        return False
    fields = (line.split(b" ") for line in mounts.splitlines())
    return any(len(field) > 2 and field[1] == bytes(path) and field[2] == TMPFS for field in fields)  # noqa: PLR2004


def _remove_stale(base: Path) -> None:
    """Nothing here is worth an error: it is the next run that needs no cleaning."""
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in islice(entries, MAX_LOOKED_AT):
            if entry.name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_stale(Path(entry.path))


def _remove_if_stale(path: Path) -> None:
    found = path.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_ours or time.time() - found.st_mtime < STALE_SECONDS:
        return
    try:
        lock = os.open(path / SERVICE_ACCOUNT / LOCK, _LOCK)
    except FileNotFoundError:
        shutil.rmtree(path)
        return
    try:
        # Not by TokenFolder, which would leave a token beside what the program has put there.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)  # nobody uses it any more
    finally:
        os.close(lock)
