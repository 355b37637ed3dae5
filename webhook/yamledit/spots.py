"""Edits of a text, and the lines around a value."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from .nodes import OTHERS, STRINGS, Node, Refused
from .writing import Style


class Edit(NamedTuple):
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


_DASHES = re.compile(r"[ ]*(- +)*")
_BEFORE_CONTENT = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+)*")


def applied(text: str, edits: Iterable[Edit], line: int) -> tuple[str, list[Edit]]:
    """The text with these edits, and the edits that lead back.

    Raises: Refused, if two of them overlap
    """
    pieces, back, done, length = [], [], 0, 0
    for edit in sorted(edits, key=_place):
        if edit.start < done:
            raise Refused(line, "two changes would meet in one place: write it in block style")
        kept = text[done : edit.start]
        length += len(kept)
        back.append(Edit(length, length + len(edit.new), text[edit.start : edit.end]))
        pieces += [kept, edit.new]
        length += len(edit.new)
        done = edit.end
    return "".join((*pieces, text[done:])), back


def _place(edit: Edit) -> tuple[int, int]:
    return edit.start, edit.end


def joined(text: str, edits: Iterable[Edit]) -> list[Edit]:
    """The edits in order, with removals that meet as one. At the end of a text without a newline
    the newline before them goes too, so that the text ends as it did.
    """
    made: list[Edit] = []
    for edit in sorted(edits, key=_place):
        last = made[-1] if made else None
        if (
            last is not None
            and not last.new
            and not edit.new
            and last.start < edit.start <= last.end
        ):
            made[-1] = Edit(last.start, max(last.end, edit.end), "")
        else:
            made.append(edit)
    if made and not made[-1].new and made[-1].end == len(text) and text[-1:] != "\n":
        start = made[-1].start
        before = (
            text[:start].removesuffix("\n").removesuffix("\r")
            if text[:start].endswith("\n")
            else text[:start]
        )
        made[-1] = Edit(len(before), len(text), "")
    return made


class Spots:
    """The lines around the values of a text."""

    def __init__(self, text: str, root: Node, line: int) -> None:
        self.text, self.root, self.line = text, root, line
        self.style = _style(text, root)

    def column(self, position: int) -> int:
        return position - self.line_start(position)

    def line_start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def begins_line(self, position: int) -> bool:
        return not self.text[self.line_start(position) : position].strip()

    def indentation(self, position: int) -> str:
        """What stands before the first value of a line."""
        return self.text[self.line_start(position) : position]

    def after_line(self, position: int) -> int:
        """Where the line of the end of a value ends; a block scalar ends with its line."""
        if position and self.text[position - 1] == "\n":
            return position
        found = self.text.find("\n", position)
        return len(self.text) if found < 0 else found + 1

    def lines_at(self, position: int, lines: list[str]) -> Edit:
        """Lines of their own at the end of a line, or of a text that has no newline at its end."""
        newline = self.style.newline
        if position == len(self.text) and not self.text.endswith("\n"):
            return Edit(position, position, newline + newline.join(lines))
        return Edit(position, position, "".join(line + newline for line in lines))

    def without_lines(self, start: int, end: int) -> Edit:
        """From the line of `start` to that of `end`."""
        return Edit(self.line_start(start), self.after_line(end), "")

    def dash(self, item: Node) -> int:
        """Where the dash of an item is. Raises: Refused"""
        place = _before_blanks(self.text, item.start) - 1
        if self.text[place : place + 1] != "-":
            raise Refused(item.line, "a comment between a dash and its item: put it elsewhere")
        return place

    def colon(self, key: Node) -> int:
        """The place after the colon of a key in block style. Raises: Refused"""
        found = re.compile(r"[ \t]*:").match(self.text, key.end)
        before = self.text[self.line_start(key.start) : key.start]
        if found is None or not _DASHES.fullmatch(before):
            raise Refused(
                key.line, "a key must stand alone before its colon, without a question mark"
            )
        return found.end()

    def content(self, node: Node) -> int:
        """Where a value begins that is replaced: after its anchor, and with its tag, if that is one
        of YAML's own for scalars.

        Raises: Refused, for any other tag
        """
        if node.tag in (*STRINGS, *OTHERS) and not node.anchor:
            return node.start
        if node.tag:
            raise Refused(
                node.line, f"a value with the tag {node.tag[:40]} would change: take it off"
            )
        match = _BEFORE_CONTENT.match(self.text, node.start, node.end) if node.anchor else None
        return match.end() if match else node.start

    def inline_end(self, node: Node) -> int:
        """Where a value ends, without the newline of a block scalar."""
        if node.style in ("|", ">"):
            return len(self.text[: node.end].rstrip("\r\n"))
        return node.end


def _style(text: str, root: Node) -> Style:
    """How the document is written, by the first of its maps and lists that show it."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if root.kind in ("map", "seq") and root.flow:
        inside = text[root.start : root.end]
        lines = re.search(r"\n([ \t]+)\S", inside)
        colon = re.search(r'":( *)', inside)
        spaced = colon is None or bool(colon[1])
        comma = ", " if spaced else ","
        return Style(
            newline,
            is_json=True,
            comma=comma,
            colon=": " if spaced else ":",
            indent=lines[1] if lines else "  ",
        )
    steps: list[int] = []
    dashes: list[int] = []
    _measure(text, root, steps, dashes)
    return Style(newline, steps[0] if steps else 2, dashes[-1] if dashes else 0)


def _before_blanks(text: str, position: int) -> int:
    """The place after the last character before `position` that is no blank and no newline."""
    while position and text[position - 1] in " \t\r\n":
        position -= 1
    return position


def _measure(text: str, node: Node, steps: list[int], dashes: list[int]) -> None:
    if node.kind == "map" and not node.flow:
        for key, value in node.pairs():
            if value.kind in ("map", "seq") and not value.flow and value.items:
                own = key.start - text.rfind("\n", 0, key.start)
                first = value.items[0].start
                if value.kind == "seq":
                    first = _before_blanks(text, first) - 1
                deeper = first - text.rfind("\n", 0, first) - own
                (steps if value.kind == "map" else dashes).append(deeper)
                _measure(text, value, steps, dashes)
    elif node.kind == "seq" and not node.flow:
        for item in node.items:
            _measure(text, item, steps, dashes)
