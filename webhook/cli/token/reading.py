"""What the commands that read an audit log share: the token from a file, progress, and what was
read, said on standard error.
"""

import sys
import time

from ...core.claims import MAX_TOKEN_BYTES
from ...errors import BadInput
from ...tokens.audit import files
from ...tokens.audit.lines import Tally
from ..input import read, title
from ..process import say

PROGRESS_SECONDS = 0.25
MEGABYTE = 1_000_000


def token_text(file: str) -> str:
    """The token in a file, or from standard input (-).

    Raises: BadInput
    """
    content = read(file, MAX_TOKEN_BYTES)
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise BadInput(f"{title(file)}: must hold a token, which is ASCII") from None


def check_log(given: object) -> None:
    """Why not by the parser: that --audit-log is missing is told without the whole usage.

    Raises: BadInput
    """
    if not given:
        raise BadInput(
            "--audit-log FILE is required: the API server's audit log, or - for standard input"
        )


class Progress:
    """How much of the files is read, on standard error where that is a terminal."""

    def __init__(self, paths: list[str], *, rotated: bool) -> None:
        self._begun = time.monotonic()
        self._shows = sys.stderr is not None and sys.stderr.isatty()
        self._total = sum(files.size_of(path, rotated=rotated) for path in paths)
        self._read = 0
        self._is_shown = False
        self._next = self._begun + PROGRESS_SECONDS

    def __call__(self, count: int) -> None:
        self._read += count
        if self._shows and (now := time.monotonic()) >= self._next:
            self._next = now + PROGRESS_SECONDS
            of = f" of {self._total / MEGABYTE:,.0f}" if self._total else ""
            print(f"\r{self._read / MEGABYTE:,.0f}{of} MB", end="", file=sys.stderr, flush=True)
            self._is_shown = True

    def clear(self) -> None:
        """Make room for a result, which may go to the same terminal."""
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False

    def done(self, tally: Tally) -> None:
        """Say what was read, and what was not."""
        seconds = max(time.monotonic() - self._begun, 1e-3)
        self.clear()
        for problem in tally.problems:
            say(problem)
        megabytes = tally.bytes / MEGABYTE
        say(
            f"read {number(tally.lines, 'line')} of {number(tally.files, 'file')} "
            f"({megabytes:,.1f} MB, {megabytes / seconds:,.0f} MB/s)"
        )
        if tally.broken:
            say(f"{number(tally.broken, 'line')} left out: no event in JSON")
        if tally.too_long:
            say(f"{number(tally.too_long, 'line')} left out: too long for an event")


def number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
