"""Folders that are opened step by step, so that no symlink of another user leads elsewhere.

Why not os.path.realpath before: what it found out may be another folder a moment later.
"""

import os
import stat
from pathlib import Path

from ..errors import FolderError

MAX_LINKS = 40
"""On the way to a folder, as many as the kernel follows (path_resolution(7))."""
MAX_STEPS = 1000
_PASS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""On the way nothing is read: a folder may let others pass and not look."""
_USE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_directory(path: Path, *, make: int | None = None) -> int:
    """A file descriptor of the folder `path`, which is made with the mode `make` where it is not
    there and its parent is.

    Symlinks on the way are followed only where root or the user of this process has made them.

    Raises: FolderError
    """
    try:
        return _opened(path, make)
    except FileNotFoundError as problem:
        parent = "; its parent folder must be there" if make is not None else ""
        raise FolderError(path, f"{problem.strerror}{parent}") from None
    except (OSError, ValueError) as problem:  # a name with NUL
        raise FolderError(path, problem if isinstance(problem, OSError) else str(problem)) from None


def _opened(path: Path, make: int | None) -> int:
    """Raises: OSError; FolderError, for a symlink that is not followed"""
    steps = [*reversed(path.parts)]
    here = os.open(".", _PASS)
    links, made = 0, False
    try:
        while steps:
            step = steps.pop()
            target = _link(path, step, here)
            if target:
                steps.extend(reversed(Path(target).parts))
                if (links := links + 1) > MAX_LINKS or len(steps) > MAX_STEPS:
                    raise FolderError(path, "has too many symlinks")
                continue
            made = make is not None and not steps and _make(step, here)
            following = os.open(step, _PASS, dir_fd=here)
            os.close(here)
            here = following
        opened = os.open(".", _USE, dir_fd=here)
        if made and make is not None:
            os.fchmod(opened, make)  # whatever the umask is
        return opened
    finally:
        os.close(here)


def _link(path: Path, step: str, here: int) -> str:
    """Where a symlink leads that may be followed; empty for anything else."""
    try:
        link = os.open(step, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except FileNotFoundError:
        return ""
    try:
        found = os.fstat(link)
        if not stat.S_ISLNK(found.st_mode):
            return ""
        if found.st_uid not in (0, os.geteuid()):
            raise FolderError(path, f"{step} on its way is a symlink of another user")
        return os.readlink("", dir_fd=link)  # of the one that was looked at
    finally:
        os.close(link)


def _make(step: str, here: int) -> bool:
    try:
        os.mkdir(step, 0o700, dir_fd=here)
    except FileExistsError:
        return False
    return True
