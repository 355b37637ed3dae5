"""A chapter of a page in Markdown as plain text for a terminal of 80 columns.

Only what docs/reference.md uses is known: headings, paragraphs, lists of one level, tables, code.
"""

import re
import textwrap
from collections.abc import Iterator

WIDTH = 80
MAX_COLUMNS = 44
"""Of all cells of a row but the last, where a table is shown side by side."""
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")
_BOLD = re.compile(r"\*\*([^*]+)\*\*|(?<![\w*])\*([^*\s][^*]*)\*(?!\w)")
_HEADING = re.compile(r"^(#+) (.*)$")


def chapter(text: str, heading: str, *, deeper: bool = True) -> str:
    """The text below a heading, up to the next of its level; without the deeper ones, if not
    wanted.

    Raises: ValueError, where there is no such heading
    """
    lines = text.splitlines()
    start = lines.index(heading) + 1
    level = heading.index(" ")
    taken: list[str] = []
    for line in lines[start:]:
        found = _HEADING.match(line)
        if found and (len(found[1]) <= level or not deeper):
            break
        taken.append(line)
    return "\n".join(taken).strip("\n")


def rendered(title: str, text: str) -> str:
    """The text of a page with this title."""
    blocks = [title.upper(), *("\n".join(block) for block in _blocks(text.splitlines()))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    number = 0
    while number < len(lines):
        taken = _block(lines, number)
        block, number = lines[number : number + taken], number + taken
        first = block[0]
        if not first.strip() or first.startswith("<!--"):
            continue
        if first.startswith("```"):
            yield [f"    {line}" for line in block[1:-1]]
        elif first.startswith("|"):
            yield list(
                _table([_cells(line) for line in block if not re.match(r"^\|[-|: ]+\|$", line)])
            )
        elif found := _HEADING.match(first):
            yield [plain(found[2]).upper()]
        elif first.startswith("- "):
            yield _wrapped(plain(" ".join(line.strip() for line in block)[2:]), "- ", "  ")
        else:
            yield _wrapped(plain(" ".join(block)))


def _block(lines: list[str], start: int) -> int:
    """How many lines belong together."""
    first = lines[start]
    if first.startswith("```"):
        return lines.index("```", start + 1) - start + 1
    if not first.strip() or _HEADING.match(first):
        return 1
    end = start + 1
    while end < len(lines) and lines[end].strip():
        is_row = lines[end].startswith("|")
        if is_row != first.startswith("|") or lines[end].startswith(("- ", "```", "#", "<!--")):
            break
        end += 1
    return end - start


def _cells(row: str) -> list[str]:
    return [plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def _table(rows: list[list[str]]) -> Iterator[str]:
    """A table side by side where all cells but the last are narrow; any other as paragraphs, the
    first cell over the others, which have the header of their column.
    """
    header, *rows = rows
    widths = [max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)][:-1]
    has_header = len(header) > 2
    if sum(widths) <= MAX_COLUMNS:
        for *cells, last in [header, *rows][not has_header :]:
            first = "".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
            yield from _wrapped(last, first, " " * sum(widths)) or [first.rstrip()]
        return
    for number, (term, *others) in enumerate(rows):
        yield from [""] * (number > 0)
        yield from _wrapped(term, "", "  ")
        for name, text in zip(header[1:], others, strict=True):
            label = f"{name}: " if has_header and name else ""
            if text:
                yield from _wrapped(label + text, "    ", "      " if label else "    ")


def plain(text: str) -> str:
    """Markdown's marks taken off; code and links keep their text."""
    text = text.replace("<br>", ", ").replace("\\|", "|")
    text = _LINK.sub(lambda found: found[1], text)
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part[1:-1] if part.startswith("`") else _BOLD.sub(lambda found: found[1] or found[2], part)
        for part in parts
    )


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=True,
    )
