"""A log that grows, and that others rename or cut meanwhile: what `tail -F` reads, and what was put
aside while nobody looked.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from ...errors import BadInput
from .files import GZ, Progress, beside, content_beside, identity, opened
from .lines import BLOCK_BYTES, Tally, whole_lines

POLL_SECONDS = 0.25
"""The API server writes each event at once."""

Pause = Callable[[float], object]


def following(
    path: str, tally: Tally, progress: Progress, pause: Pause = time.sleep
) -> Iterator[bytes]:
    """Blocks of whole lines of a file, from its begin and then as it grows, for ever.

    Another file of its name (the API server and logrotate rename the old one) is read from its
    begin, after the rest of the old one and what else was put aside meanwhile. A file that has
    become shorter (logrotate's copytruncate) is read from its begin.

    Raises: BadInput, where the file cannot be opened at first, or is gz
    """
    is_first = True
    while True:
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(opened(path))
            except BadInput:
                if is_first:
                    raise
                pause(POLL_SECONDS)  # it is being renamed
                continue
            is_first = False
            tally.files += 1
            before = {_plain_name(older) for older in beside(path, tally)}
            yield from whole_lines(_until_renamed(path, descriptor, progress, pause), tally)
            own = identity(descriptor)
            for older in _put_aside_since(beside(path, tally), own, before):
                yield from whole_lines(content_beside(older, own, tally, progress), tally)


def _until_renamed(path: str, descriptor: int, progress: Progress, pause: Pause) -> Iterator[bytes]:
    """What is in the file now, and what comes, until another one has its name."""
    position, ends_a_line = 0, True
    while True:
        # Before the read, so that what was written until the file was renamed is read as well.
        is_another = _is_another(path, descriptor)
        while block := os.read(descriptor, BLOCK_BYTES):
            if not position and block.startswith(GZ):
                raise BadInput(f"{path}: a gz file does not grow; leave --follow out")
            position += len(block)
            ends_a_line = block.endswith(b"\n")
            progress(len(block))
            yield block
        if is_another:
            return
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size < position:
            os.lseek(descriptor, 0, os.SEEK_SET)
            position = 0
            if not ends_a_line:
                yield b"\n"  # else the first line would continue the last one
        else:
            pause(POLL_SECONDS)


def _is_another(path: str, descriptor: int) -> bool:
    try:
        return identity(path) != identity(descriptor)
    except OSError:  # between being renamed and being made again
        return False


def _put_aside_since(older: list[Path], own: tuple[int, int], before: set[str]) -> list[Path]:
    """The files that came into being and were put aside after the one that is `own`."""
    for number, path in enumerate(older):
        if _has_identity(path, own):
            return older[number + 1 :]
    # It was compressed or deleted already. The names that were not there before begin with its own,
    # where they have times; numbers tell nothing.
    is_timed = [path for path in older if path.name.removesuffix(".gz")[-1:].isalpha()]
    return [path for path in is_timed if _plain_name(path) not in before][1:]


def _has_identity(path: Path, own: tuple[int, int]) -> bool:
    try:
        return identity(str(path)) == own
    except OSError:
        return False


def _plain_name(path: Path) -> str:
    return path.name.removesuffix(".gz")
