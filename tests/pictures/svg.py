"""What a command shows on a terminal as a picture: SVG of text, without a font or a link."""

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

COLUMNS = 80
MAX_BYTES = 100_000
"""Of a picture on a page that people open on a phone."""
CELL, LINE, MARGIN = 8.4, 18, 14
"""Pixels of a character of 14, of a line, and around all."""
STYLE = """\
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328;white-space:pre}
rect{fill:#f6f8fa;stroke:#d1d9e0}.b{font-weight:700}.d{opacity:.65}
.c31{fill:#b3261e}.c32{fill:#116329}.c33{fill:#7a4d05}.c34{fill:#0550ae}.c35{fill:#6f3fb5}.c36{fill:#0b6b75}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#0d1117;stroke:#30363d}
.c31{fill:#ff7b72}.c32{fill:#56d364}.c33{fill:#e3b341}.c34{fill:#79c0ff}.c35{fill:#d2a8ff}.c36{fill:#39c5cf}}"""
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_OTHER = re.compile(
    r"\x1b(\[[0-9;?]*[A-Za-ln-z]|\][^\x07]*(\x07|\x1b\\)|[=>])|[\x00-\x08\x0b\x0c\x0e-\x1a]"
)
_COLOURS = range(31, 37)


class Run(NamedTuple):
    """Characters that look alike; `column` is where they begin."""

    column: int
    text: str
    classes: str


def picture(title: str, shown: str) -> str:
    """The SVG of a command and of what it has shown, in the colours of whoever looks at it.

    Raises: ValueError, where it would be too large
    """
    lines = [f"$ {title}", *(_last(line) for line in shown.rstrip("\n").split("\n"))]
    width = 2 * MARGIN + CELL * max(COLUMNS, *(_columns(_SGR.sub("", line)) for line in lines))
    height = 2 * MARGIN + LINE * len(lines)
    texts = []
    for number, line in enumerate(lines):
        y = MARGIN + LINE * number + 14
        texts += [_text(run, y) for run in runs(line) if run.text.strip()]
    made = "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img">',
            f"<title>{html.escape(title)}</title><style>{STYLE}</style>",
            f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1}" rx="8"/>',
            *texts,
            "</svg>",
            "",
        ]
    )
    if len(made.encode()) > MAX_BYTES:
        raise ValueError(f"a picture of {len(made.encode())} bytes: at most {MAX_BYTES}")
    return made


def _last(line: str) -> str:
    """What is left of a line that a progress bar has written anew."""
    return _OTHER.sub("", line.rstrip("\r").rpartition("\r")[2])


def runs(line: str) -> Iterator[Run]:
    """The parts of a line that look alike."""
    column, codes, place = 0, set[int](), 0
    for found in [*_SGR.finditer(line), None]:
        text = line[place : found.start() if found else None]
        if text:
            yield Run(column, text, _classes(codes))
        column += _columns(text)
        if found is None:
            return
        place = found.end()
        for code in map(int, (found[1] or "0").split(";")):
            codes = _after(codes, code)


def _after(codes: set[int], code: int) -> set[int]:
    if code == 0:
        return set()
    if code in (22, 39):
        return codes - ({1, 2} if code == 22 else set(_COLOURS))
    return (codes - set(_COLOURS) if code in _COLOURS else codes) | {code}


def _classes(codes: set[int]) -> str:
    words = {1: "b", 2: "d", **{code: f"c{code}" for code in _COLOURS}}
    return " ".join(words[code] for code in sorted(codes & set(words)))


def _text(run: Run, y: int) -> str:
    """Its length is given, so that columns stand below each other in any font."""
    classes = f' class="{run.classes}"' if run.classes else ""
    x, length = MARGIN + CELL * run.column, CELL * _columns(run.text)
    return f'<text x="{x:g}" y="{y}" textLength="{length:g}"{classes}>{html.escape(run.text, quote=False)}</text>'


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
