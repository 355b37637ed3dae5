"""A tree of sentences for a terminal of 80 columns."""

import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ..arguments import safe

WIDTH = 80
MIN_TEXT = 20
"""Columns of a sentence at the least, however deep it stands."""
Mood = Literal["plain", "good", "bad", "dim", "title"]
_COLOURS: dict[Mood, str] = {"good": "32", "bad": "31", "dim": "2", "title": "1"}
_DRAWN = ("├─ ", "└─ ", "│  ", "   ")
_ASCII = ("|- ", "`- ", "|  ", "   ")


class Node(NamedTuple):
    """A sentence, and what belongs to it."""

    text: str
    children: "tuple[Node, ...]" = ()
    mood: Mood = "plain"


def lines(root: Node, *, coloured: bool, drawn: bool) -> Iterator[str]:
    """The lines of a tree, none of which has more than WIDTH columns."""
    marks = _DRAWN if drawn else _ASCII
    yield from _sentence(root, "", "", coloured=coloured)
    yield from _below(root, "", marks, coloured=coloured)


def _below(node: Node, indent: str, marks: tuple[str, ...], *, coloured: bool) -> Iterator[str]:
    for number, child in enumerate(node.children, 1):
        is_last = number == len(node.children)
        rest = indent + marks[3 if is_last else 2]
        # A sentence that goes on keeps the line to its own children.
        hanging = rest + (marks[2] if child.children else "   ")
        yield from _sentence(child, indent + marks[is_last], hanging, coloured=coloured)
        yield from _below(child, rest, marks, coloured=coloured)


def _sentence(node: Node, first: str, rest: str, *, coloured: bool) -> Iterator[str]:
    width = max(MIN_TEXT, WIDTH - max(len(first), len(rest)))
    for number, text in enumerate(wrapped(safe(node.text), width)):
        prefix = rest if number else first
        colour = _COLOURS.get(node.mood, "") if coloured else ""
        yield prefix + (f"\033[{colour}m{text}\033[0m" if colour else text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, folded at blanks where there are any."""
    one_line = " ".join(text.split())
    if one_line.isascii():
        return textwrap.wrap(one_line, width, break_on_hyphens=False) or [""]
    found, line, used = [], "", 0
    for word in one_line.split(" "):
        for piece in _pieces(word, width):
            length = columns(piece)
            if line and used + 1 + length > width:
                found.append(line)
                line, used = "", 0
            line, used = (f"{line} {piece}", used + 1 + length) if line else (piece, length)
    return [*found, line]


def _pieces(word: str, width: int) -> Iterator[str]:
    piece, used = "", 0
    for char in word:
        length = columns(char)
        if used + length > width:
            yield piece
            piece, used = "", 0
        piece, used = piece + char, used + length
    yield piece


def columns(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def is_coloured() -> bool:
    """Colours are for terminals, and for people who want them (https://no-color.org)."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def is_drawn() -> bool:
    """Whether the lines of a tree can be written in the encoding of the output."""
    return can_write("".join(_DRAWN))


def can_write(text: str) -> bool:
    """Whether the encoding of the output has every character of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeError:
        return False
    return True
