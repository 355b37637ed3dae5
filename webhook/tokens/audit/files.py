"""The files of an audit log: what the API server or logrotate has put aside, gz, pipes.

The API server renames its file to `audit-2026-01-31T23-59-59.123.log` and begins a new one
(gopkg.in/natefinch/lumberjack.v2); with --audit-log-compress it makes a `.gz` of it a little later.
logrotate writes `audit.log.1`, `audit.log.2.gz` or `audit.log-20260131`.
"""

import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from ...errors import BadInput
from .lines import BLOCK_BYTES, Tally, whole_lines

STANDARD_INPUT = "-"
GZ = b"\x1f\x8b"
GZ_BITS = 16 | zlib.MAX_WBITS
MAX_ROTATED = 10_000
"""The API server keeps 100 by default. It ends a listing of a folder that has no end."""

Progress = Callable[[int], None]
"""Is told how many bytes of files were read since its last call."""


class Unfinished(Exception):
    """A file that cannot be read to its end; the text says why."""


def blocks(path: str, tally: Tally, progress: Progress, *, rotated: bool) -> Iterator[bytes]:
    """Blocks of whole lines of a file or standard input (-), and where `rotated`, of those that
    were put aside before it, oldest first. What cannot be read to its end is in `tally.problems`.

    Raises: BadInput, where the file itself cannot be opened
    """
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise BadInput("standard input is closed")  # and 0 may be another file
        yield from whole_lines(_content(0, "standard input", tally, progress), tally)
        return
    # Opened first: what is renamed from now on is neither missed nor read twice.
    with opened(path) as descriptor:
        for older in beside(path, tally) if rotated else ():
            content = content_beside(older, identity(descriptor), tally, progress)
            yield from whole_lines(content, tally)
        yield from whole_lines(_content(descriptor, path, tally, progress), tally)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The descriptor of a file or pipe.

    Raises: BadInput
    """
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(_descriptor(path))
        except OSError as problem:
            raise BadInput(f"{path}: must be a readable file: {problem.strerror}") from problem
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise BadInput(f"{path}: must be a file, and is a folder")
        yield descriptor


def rotated_files(path: Path) -> list[Path]:
    """The files that were put aside from this one, oldest first; of a `.gz` and what it was made of
    only the latter.

    Raises: OSError; BadInput, where there are too many
    """
    pattern = _pattern(path)
    found: dict[str, re.Match[str]] = {}
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if (match := pattern.fullmatch(entry.name)) is not None:
                found[entry.name] = match
                if len(found) > MAX_ROTATED:
                    raise BadInput(f"{path}: more than {MAX_ROTATED} rotated files beside it")
    chosen = [name for name in found if name.removesuffix(".gz") not in found.keys() - {name}]
    return [path.parent / name for name in sorted(chosen, key=lambda name: _age(found[name]))]


def size_of(path: str, *, rotated: bool) -> int:
    """Bytes of the file, and where `rotated` of those beside it; 0 where that is not known."""
    if path == STANDARD_INPUT:
        return 0
    try:
        paths = [Path(path), *(rotated_files(Path(path)) if rotated else ())]
        return sum(file.stat().st_size for file in paths)
    except (OSError, ValueError, BadInput):
        return 0


def _pattern(path: Path) -> re.Pattern[str]:
    name, stem, ending = map(re.escape, (path.name, path.stem, path.suffix))
    return re.compile(
        rf"(?:{stem}-(?P<time>\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}){ending}"
        rf"|{name}-(?P<date>\d{{8}})|{name}\.(?P<number>\d{{1,6}}))(?:\.gz)?",
        re.ASCII,
    )


def _age(match: re.Match[str]) -> tuple[str, int]:
    """Sorts the oldest first: by time, and of numbers the greatest."""
    return match["time"] or match["date"] or "", -int(match["number"] or 0)


def beside(path: str, tally: Tally) -> list[Path]:
    """What `rotated_files` gives; that it cannot be told is in `tally.problems`."""
    try:
        return rotated_files(Path(path))
    except OSError as problem:
        tally.problems.append(f"{Path(path).parent}: {problem.strerror}")
        return []


def content_beside(
    path: Path, own: tuple[int, int], tally: Tally, progress: Progress
) -> Iterator[bytes]:
    """The content of a file beside the log, which others may have put there; nothing where it is
    the log itself (`own`).
    """
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(_descriptor(path, flags))
            except FileNotFoundError:  # it has become a .gz meanwhile
                path = path.with_name(f"{path.name}.gz")
                descriptor = stack.enter_context(_descriptor(path, flags))
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                tally.problems.append(f"{path}: is no regular file")
            elif identity(descriptor) != own:
                yield from _content(descriptor, str(path), tally, progress)
    except OSError as problem:
        tally.problems.append(f"{path}: {problem.strerror}")


def _content(descriptor: int, name: str, tally: Tally, progress: Progress) -> Iterator[bytes]:
    """What a file holds, uncompressed."""
    tally.files += 1
    try:
        yield from _plain(_read(descriptor, progress))
    except Unfinished as problem:
        tally.problems.append(f"{name}: {problem}")
    except OSError as problem:
        tally.problems.append(f"{name}: {problem.strerror}")


def _read(descriptor: int, progress: Progress) -> Iterator[bytes]:
    while block := os.read(descriptor, BLOCK_BYTES):
        progress(len(block))
        yield block


def _plain(raw: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, uncompressed where they are gz."""
    head = b""
    for block in raw:
        head += block
        if len(head) >= len(GZ):
            break
    if head.startswith(GZ):
        yield from _uncompressed(chain((head,), raw))
        return
    if head:
        yield head
    yield from raw


def _uncompressed(raw: Iterable[bytes]) -> Iterator[bytes]:
    """What a gz holds, of one member or of many.

    Raises: Unfinished
    """
    inflater = zlib.decompressobj(GZ_BITS)
    for compressed in raw:
        block = compressed
        while True:
            if inflater.eof:
                block = block.lstrip(b"\0")  # gzip allows them behind a member
                if not block:
                    break
                inflater = zlib.decompressobj(GZ_BITS)
            try:
                plain = inflater.decompress(block, BLOCK_BYTES)
            except zlib.error:
                raise Unfinished("its gz data is damaged") from None
            if plain:
                yield plain
            block = inflater.unconsumed_tail or inflater.unused_data
            # What the inflater may still have inside comes with the next block, at the latest with
            # the length and checksum at the end.
            if not block:
                break
    if not inflater.eof:
        raise Unfinished("its gz data ends in the middle")


@contextmanager
def _descriptor(path: str | Path, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def identity(of: int | str) -> tuple[int, int]:
    """What differs between two files, also after one of them was renamed. Raises: OSError"""
    found = os.stat(of)  # noqa: PTH116  (also of a descriptor)
    return found.st_dev, found.st_ino
