"""A unified diff of a file, made document by document: of a long stream in one piece it would take
minutes.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

from .changing import Changed

MAX_LINES = 5_000
"""Of one document: of a longer one, lines that are everywhere in it are not compared, because that
takes the square of their number."""
_Verb = Literal["replace", "delete", "insert", "equal"]
_Opcode = tuple[_Verb, int, int, int, int]


class _Known(SequenceMatcher[str]):
    """What is found already, to be put into groups."""

    def __init__(self, opcodes: list[_Opcode]) -> None:
        super().__init__()
        self._known = opcodes

    def get_opcodes(self) -> list[_Opcode]:
        return self._known


def unified(result: Changed, name: str) -> Iterator[str]:
    """The lines of the diff, which patch and git apply to a file of this name."""
    if not result.is_changed:
        return
    before, after, opcodes = _compared(result)
    yield f"--- a/{name}\n+++ b/{name}\n"
    for group in _Known(opcodes).get_grouped_opcodes():
        (_, i, _, k, _), (_, _, j, _, m) = group[0], group[-1]
        yield f"@@ -{_range(i, j)} +{_range(k, m)} @@\n"
        for verb, first, last, start, end in group:
            if verb == "equal":
                yield from (_line(" ", text) for text in before[first:last])
                continue
            yield from (_line("-", text) for text in before[first:last])
            yield from (_line("+", text) for text in after[start:end])


def _compared(result: Changed) -> tuple[list[str], list[str], list[_Opcode]]:
    """All lines before and after, and how one becomes the other."""
    before: list[str] = []
    after: list[str] = []
    opcodes: list[_Opcode] = []
    for old, new in _pairs(result):
        one, other = _lines(old), _lines(new)
        found: list[_Opcode] = (
            [("equal", 0, len(one), 0, len(other))]
            if old == new
            else SequenceMatcher(None, one, other, len(one) > MAX_LINES).get_opcodes()
        )
        i, k = len(before), len(after)
        for verb, first, last, start, end in found:
            step = verb, first + i, last + i, start + k, end + k
            if opcodes and opcodes[-1][0] == verb == "equal":
                former = opcodes.pop()
                step = verb, former[1], step[2], former[3], step[4]
            opcodes.append(step)
        before += one
        after += other
    return before, after, opcodes


def _pairs(result: Changed) -> Iterator[tuple[str, str]]:
    """The documents before and after; as one, where they meet in a line: YAML has other line ends
    than diff.
    """
    before = after = result.source.mark
    for old, new in zip(result.source.documents, result.documents, strict=True):
        before, after = before + old.text, after + new.text
        if before.endswith("\n"):
            yield before, after
            before = after = ""
    yield before, after


def _lines(text: str) -> list[str]:
    """Lines as patch counts them: they end with a newline only, not with other separators."""
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])


def _line(sign: str, text: str) -> str:
    return sign + (text if text.endswith("\n") else f"{text}\n\\ No newline at end of file\n")


def _range(start: int, end: int) -> str:
    """As diff writes it: an empty one begins after the line before it."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + (1 if length else 0)},{length}"
