"""What a terminal of 80 columns and 24 lines shows of a program's output."""

import re
from typing import NamedTuple

COLUMNS, LINES = 80, 24
_PIECE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|.", re.DOTALL)


class Screen(NamedTuple):
    """The lines, those that have scrolled away too; how many of them the terminal itself had to
    break, and whether anything had a colour.
    """

    lines: list[str]
    broken: int
    is_coloured: bool


def screen(output: str) -> Screen:
    """What is left to read. Raises: AssertionError, for what no such terminal is told here"""
    lines, column, broken, is_coloured = [""], 0, 0, False
    for piece in _PIECE.finditer(output):
        match piece[2], piece[0]:
            case "m", _:
                is_coloured |= piece[1] not in ("", "0")
            case "K", _:
                lines[-1] = lines[-1][:column]
            case None, "\r":
                column = 0
            case None, "\n":
                lines.append("")
                column = 0
            case None, char:
                assert char.isprintable(), ascii(char)
                if column == COLUMNS:
                    lines.append("")
                    column, broken = 0, broken + 1
                lines[-1] = lines[-1][:column] + char + lines[-1][column + 1 :]
                column += 1
            case other:
                raise AssertionError(other)
    return Screen(lines, broken, is_coloured)
