"""The comments of values.yaml as the table of the chart's README."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.paths import ROOT
from webhook import options

FOLDER = ROOT / "manifests/chart"
SET_OTHERWISE = frozenset(
    {
        "config",
        "context",
        "kubeconfig",
        "legacy-tokens",
        "listen",
        "namespace",
        "plain-listen",
        "tls-cert",
        "tls-key",
        "webhook-configurations",
    }
)
"""Flags that other values set, or that mean nothing in a chart whose objects have fixed names."""
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
    rows: list[str] = []
    given = list(values((FOLDER / "values.yaml").read_text()))
    paths = {value.path for value in given}
    for value in given:
        rows.append(_row(*value))
        if value.path == "options":
            rows += [_row(*flag) for flag in map(_of_flag, flags()) if flag.path not in paths]
    return f"{before}{begin}| value | default | |\n|---|---|---|\n{''.join(rows)}{end}{after}"


def flags() -> list[options.Option]:
    """The flags that are values below `options`."""
    return [option for option in options.OPTIONS if option.name not in SET_OTHERWISE]


def camel_case(flag: str) -> str:
    """The name of a flag as a value: logLevel for log-level."""
    return re.sub(r"-(\w)", lambda found: found[1].upper(), flag)


def _of_flag(option: options.Option) -> Value:
    return Value(f"options.{camel_case(option.name)}", option.default or "", f"{option.help}.")


def _row(path: str, default: str, comment: str) -> str:
    return f"| `{path}` | {f'`{default}`' if default else ''} | {_cell(comment)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
