"""Files that change while we run: read again every second, and compared by their content.

Why not by time stamps: the kubelet swaps a symlink, editors rename, and a mount may keep the time
stamp. The files are small. They are read in a thread, because a network disk may block.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import msgspec

from .. import documents
from ..errors import BadInput

EVERY_SECONDS = 1.0


class Unreadable(msgspec.Struct, frozen=True):
    """A file that cannot be read; `reason` is a sentence without the path."""

    reason: str


Contents = Mapping[Path, bytes | Unreadable]


def read(paths: list[Path], limit: int) -> Contents:
    """The content of each file, at most `limit` + 1 bytes: one more than allowed shows that a file
    is too long.
    """
    return {path: _content(path, limit) for path in paths}


async def changes(
    paths: Callable[[], list[Path]], first: Contents, limit: int
) -> AsyncIterator[Contents]:
    """The contents of the files whenever they differ from the last, for ever. `paths` is called
    each time, because a folder may have new files.
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
