"""Files that change under us: read again every second and told of when their content differs; never by time stamps.

Why content: the kubelet swaps a symlink, editors rename, and a mount may keep the time stamp. The files are small.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

EVERY_SECONDS = 1.0

Contents = Mapping[Path, bytes | None]


def read(paths: list[Path]) -> Contents:
    """The content of each file, None where it cannot be read."""
    return {path: _content(path) for path in paths}


async def changes(paths: Callable[[], list[Path]], first: Contents, every: float = EVERY_SECONDS) -> AsyncIterator[Contents]:
    """The contents each time they differ from the last; `paths` is asked anew, as a folder may gain files."""
    last = first
    while True:
        await asyncio.sleep(every)
        now = read(paths())
        if now != last:
            last = now
            yield now


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
