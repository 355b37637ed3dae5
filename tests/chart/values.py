"""The comments of values.yaml as the table of the chart's README."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.paths import ROOT

FOLDER = ROOT / "manifests/chart"
BEGIN, END = "<!-- values: written by make chart -->\n", "<!-- end of values -->\n"
_KEY = re.compile(r"( *)([A-Za-z]+):(?: (.+))?")


class Value(NamedTuple):
    """A value with a comment: its path, its default where it is in the same line, the comment."""

    path: str
    default: str
    comment: str


def values(text: str) -> Iterator[Value]:
    """Every value of a values.yaml that a comment is right above."""
    above: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.lstrip().startswith("# "):
            above.append(line.lstrip().removeprefix("# "))
            continue
        if found := _KEY.fullmatch(line):
            depth = len(found[1])
            folders = [*((at, name) for at, name in folders if at < depth), (depth, found[2])]
            if above:
                path = ".".join(name for _, name in folders)
                yield Value(path, found[3] or "", " ".join(above))
        above = []


def readme() -> str:
    """The README with the table that values.yaml gives."""
    text = (FOLDER / "README.md").read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md must have {BEGIN.strip()} and {END.strip()}")
    rows = [
        f"| `{value.path}` | {f'`{value.default}`' if value.default else ''} | {_cell(value.comment)} |\n"
        for value in values((FOLDER / "values.yaml").read_text())
    ]
    return f"{before}{begin}| value | default | |\n|---|---|---|\n{''.join(rows)}{end}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
