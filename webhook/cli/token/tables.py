"""Tables as kubectl prints them."""

from collections.abc import Sequence

GAP = 3


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, as wide as their longest cell. What a terminal would obey in the text of a
    cell is escaped.
    """
    lines = [list(headings), *([escaped(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headings))]
    return [
        "".join(cell.ljust(width + GAP) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def escaped(text: str) -> str:
    """A text without what a terminal would obey."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
