"""Rows in columns, for people: aligned by the first rows, and printed as they come from then on.

What others wrote into a log may hold anything, so a cell is cut, and has no control characters.
"""

from collections.abc import Sequence

from ...core.text import one_line, truncate

ALIGNED_ROWS = 500
"""As kubectl, which aligns a page of its list."""
MAX_CELL_CHARS = 80
GAP = "   "


class Table:
    """Prints rows under a header; `done` prints what is left. A cell has at most `longest`
    characters.
    """

    def __init__(self, *header: str, longest: int | None = MAX_CELL_CHARS) -> None:
        self._longest = longest
        self._header = header
        self._rows: list[Sequence[str]] = []
        self._widths: list[int] | None = None

    def add(self, *cells: str) -> None:
        self._rows.append([cell(text, self._longest) for text in cells])
        if self._widths is not None or len(self._rows) >= ALIGNED_ROWS:
            self.done()

    def done(self) -> None:
        if self._widths is None and self._rows:
            rows = [self._header, *self._rows]
            self._widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            self._print(self._header)
        for row in self._rows:
            self._print(row)
        self._rows = []

    def _print(self, row: Sequence[str]) -> None:
        cells = (text.ljust(width) for text, width in zip(row, self._widths or (), strict=True))
        print(GAP.join(cells).rstrip())


def cell(text: str, longest: int | None = MAX_CELL_CHARS) -> str:
    """The text without control characters, cut; `-` for an empty one."""
    return one_line(text if longest is None else truncate(text, longest)) or "-"
