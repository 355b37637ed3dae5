"""Files that change under us: read again every second and told of when their content differs; never
by time stamps.

Why content: the kubelet swaps a symlink, editors rename, and a mount may keep the time stamp. The
files are small. They are read in a thread, because a disk of a network may keep its reader waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec

from .. import documents
from ..errors import BadInput

EVERY_SECONDS = 1.0


class Unreadable(msgspec.Struct, frozen=True):
    """A file that cannot be read; `reason` says what it must be."""

    reason: str


Contents = Mapping[Path, bytes | Unreadable]


def read(paths: list[Path], limit: int) -> Contents:
    """The content of each file, at most one byte more than `limit`, by which a longer one is
    known.
    """
    return {path: _content(path, limit) for path in paths}


async def changes(
    paths: Callable[[], list[Path]], first: Contents, limit: int
) -> AsyncIterator[Contents]:
    """The contents each time they differ from the last; `paths` is asked anew, as a folder may gain
    files.
    """
    last = first
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        now = await asyncio.to_thread(lambda: read(paths(), limit))
        if now != last:
            last = now
            yield now


def _content(path: Path, limit: int) -> bytes | Unreadable:
    try:
        return documents.read(path, limit)
    except BadInput as problem:
        return Unreadable(str(problem))
