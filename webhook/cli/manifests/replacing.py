"""Files that are replaced: all of them or none, each in one step."""

import contextlib
import os
import signal
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import BadInput, BoundtokenError

BACKUP = ".orig"
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Replacement(NamedTuple):
    """A file, and its bytes before and after."""

    path: Path
    before: bytes
    after: bytes


def replace(replacements: Sequence[Replacement], *, backup: bool) -> None:
    """Replace the content of these files. Their modes stay, and their owners as far as that is
    allowed; of a link its file is replaced. With `backup` the bytes before stay beside it, in a
    file whose name ends in .orig.

    A signal that ends the process does so when all files are replaced, or all are as they were.

    Raises: BadInput, where a backup is there already, or a file has changed since it was read;
    BoundtokenError, where a file cannot be written. Then every file is as it was.
    """
    with _signals_wait():
        _replace(replacements, backup=backup)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _replace(replacements: Sequence[Replacement], *, backup: bool) -> None:
    made: list[Path] = []
    done: list[tuple[Path, bytes]] = []
    steps, place = [], Path()
    try:
        for one in replacements:
            place = one.path
            steps.append(_prepared(one, made, backup=backup))
        for new, path, before in steps:
            new.replace(path)
            done.append((path, before))
    except (OSError, BoundtokenError) as problem:
        lost = _undo(done, made)
        for path in made:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        if isinstance(problem, BadInput):
            raise
        # A full disk names no file.
        name = getattr(problem, "filename", None) or place
        text = f"{name}: {getattr(problem, 'strerror', problem)}"
        more = f"; not put back: {', '.join(map(str, lost))}" if lost else "; no file has changed"
        raise BoundtokenError(text + more) from problem


def _prepared(one: Replacement, made: list[Path], *, backup: bool) -> tuple[Path, Path, bytes]:
    """The new file beside the old one, which it will replace."""
    if any(signal.getsignal(one) != signal.SIG_IGN for one in signal.sigpending() & _ENDING):
        raise BoundtokenError("stopped by a signal")
    path = Path(os.path.realpath(one.path))
    if path.read_bytes() != one.before:
        raise BadInput(f"{one.path}: has changed since it was read; run the command again")
    there = path.stat()
    if backup:
        kept = path.with_name(path.name + BACKUP)
        try:
            number = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise BadInput(f"{kept}: is there already; move it, or leave out --backup") from None
        made.append(kept)
        _write(number, one.before, there)
    return _beside(path, one.after, made), path, one.before


def _beside(path: Path, content: bytes, made: list[Path]) -> Path:
    """A file beside another one, with its owner and mode, that will replace it."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    made.append(Path(name))
    _write(number, content, path.stat())
    return Path(name)


def _write(number: int, content: bytes, there: os.stat_result) -> None:
    """Fill a file that nobody else may read yet, and give it the owner and the mode of another."""
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(number)
        for owner in ((-1, there.st_gid), (there.st_uid, -1)):
            with contextlib.suppress(OSError):  # only root may give a file away
                os.fchown(number, *owner)
        os.fchmod(number, stat.S_IMODE(there.st_mode))


def _undo(done: list[tuple[Path, bytes]], made: list[Path]) -> list[Path]:
    """Put back what was replaced. Returns the files of which that failed, which stay replaced."""
    lost = []
    for path, before in done:
        try:
            _beside(path, before, made).replace(path)
        except OSError:
            lost.append(path)
    return lost
