"""What became of each object, on standard error: a line, or one document in JSON."""

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence

from ...core.text import one_line, without_tokens
from ..arguments import safe
from .changing import Changed, Entry

MAX_NAMES = 300
"""Characters of what changed in one line."""


def show(results: Iterable[Changed], form: str, problems: Sequence[str] = ()) -> None:
    """Write the report in this form, text or json. `problems` are those of all objects."""
    entries = [entry for result in results for entry in result.entries]
    if form == "json":
        found: dict[str, object] = {"objects": [_fields(entry) for entry in entries]}
        if problems:
            found["warnings"] = list(problems)
        text = json.dumps(found, indent=2)
        _write(without_tokens(text))
        return
    for problem in problems:
        _write(safe(f"Warning: {problem}"))
    for entry in entries:
        _write(safe(one_line(line(entry))))
        for warning in entry.warnings:
            _write(safe(one_line(f"Warning: {entry.kind}/{entry.name}: {warning}")))


def line(entry: Entry) -> str:
    """One line about an object."""
    where = f" in {entry.namespace}" if entry.namespace else ""
    title = f"{entry.kind}/{entry.name}" if entry.kind else f"{entry.file}, line {entry.line}"
    what = "; ".join(entry.changes) or "unchanged"
    shown = what if len(what) <= MAX_NAMES else what[: MAX_NAMES - 1] + "…"
    remark = f" ({entry.remark})" if entry.remark else ""
    return f"{title}{where}: {entry.reason}: {shown}{remark}"


def _fields(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = {
        **entry._asdict(),
        "changes": list(entry.changes),
        "warnings": list(entry.warnings),
    }
    return {name: value for name, value in found.items() if value != ""}


def _write(text: str) -> None:
    # Where standard error is closed, print would write to standard output.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(text, file=sys.stderr)
