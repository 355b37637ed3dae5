"""How far reading is, on standard error where that is a terminal."""

import contextlib
import sys

BAR = 24
"""Characters."""


class Progress:
    """One line, which is written over."""

    def __init__(self) -> None:
        self._shows = sys.stderr is not None and sys.stderr.isatty()
        self._is_shown = False

    def __call__(self, what: str, count: int, total: int) -> None:
        """Show that so many objects of all were read."""
        if self._shows and total:
            done = BAR * count // total
            bar = "#" * done + "-" * (BAR - done)
            self._write(f"\r\033[K[{bar}] {what}: {count:,} of {total:,}\r")
            self._is_shown = True

    def clear(self) -> None:
        """Make room for the result, which may go to the same terminal."""
        if self._is_shown:
            self._write("\r\033[K")
            self._is_shown = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(text, end="", file=sys.stderr, flush=True)
