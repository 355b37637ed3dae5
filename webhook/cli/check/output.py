"""Results as a list for people, as JSON, and as JUnit for pipelines."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from ...checks.model import NOT_INSTALLED, Result, Status, status_of
from ...core.text import one_line, without_tokens
from ..arguments import safe
from ..explain.report import cleaned
from ..explain.tree import WIDTH, can_write, is_coloured, wrapped

MARKS: dict[Status, str] = {"passed": "✓", "warning": "‼", "failed": "×", "unknown": "?"}  # noqa: RUF001
ASCII_MARKS: dict[Status, str] = {"passed": "+", "warning": "!", "failed": "x", "unknown": "?"}
COLOURS: dict[Status, str] = {"passed": "32", "warning": "33", "failed": "31", "unknown": "36"}
WORDS: dict[Status, str] = {
    "passed": "passed",
    "warning": "with a warning",
    "failed": "failed",
    "unknown": "not found out",
}
INDENT = "    "
PAGE = "docs/checks.md"
HELP = "boundtoken help checks"
"""The same page on a terminal, for who has no checkout; with an id that section of it."""
_WORD = re.compile(r"(?:'[^']*'|\S)+")
"""Of a shell, as far as commands here have such."""
API_SERVER = "api-server"
"""The check that everything else depends on."""


def lines(results: Sequence[Result], *, with_commands: bool) -> Iterator[str]:
    """The list, in the manner of `linkerd check`; no line has more than WIDTH columns, but that of
    a command with a longer word.
    """
    results, rest = _ran(results)
    coloured = is_coloured()
    marks = MARKS if can_write("".join(MARKS.values())) else ASCII_MARKS
    group = ""
    for result in results:
        if result.group != group:
            yield from ([""] if group else [])
            group = result.group
            yield from (group, "-" * len(group))
        mark = marks[result.status]
        if coloured:
            mark = f"\033[{COLOURS[result.status]}m{mark}\033[0m"
        yield from _of_one(result, mark, with_commands=with_commands)
    if rest:
        is_absent = rest[0].finding.text == NOT_INSTALLED
        what = "of what is installed" if is_absent else "that ask the API server"
        yield from ("", f"not run: {len(rest)} checks {what}")
    yield from ("", _total((*results, *rest)))


def _ran(results: Sequence[Result]) -> tuple[Sequence[Result], Sequence[Result]]:
    """Those that ran, and those that could not because the API server did not answer, or because
    nothing is installed: all but those that say so.
    """
    absent = [one for one in results if one.finding.text == NOT_INSTALLED]
    if absent:
        return [one for one in results if one.finding.text != NOT_INSTALLED], absent
    failed = [one for one in results if one.id == API_SERVER and one.status == "failed"]
    if not failed:
        return results, ()
    rest = [one for one in results if one.status == "unknown"]
    return [one for one in results if one.status != "unknown"], rest


def _of_one(result: Result, mark: str, *, with_commands: bool) -> Iterator[str]:
    text = safe(result.finding.text)
    if not can_write("…"):
        text = text.replace("…", "...")
    is_passed = result.status == "passed"
    title = f"{result.sentence}: {text}" if is_passed and text else result.sentence
    for number, line in enumerate(wrapped(title, WIDTH - 2)):
        yield f"  {line}" if number else f"{mark} {line}"
    if is_passed:
        return
    for paragraph in (text, result.cure if result.status != "unknown" else ""):
        yield from (INDENT + line for line in wrapped(paragraph, WIDTH - 4) if line)
    if with_commands:
        for command in result.finding.commands:
            yield from _folded(safe(command))
    yield f"{INDENT}see {HELP} {result.id}"


def _folded(command: str) -> Iterator[str]:
    """A command in lines that a shell takes as one. A word of the shell is never broken, however
    long it is: within quotes a backslash would stay.
    """
    lines: list[str] = []
    for word in _WORD.findall(command):
        if lines and len(lines[-1]) + len(word) < WIDTH - 10:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    *first, last = lines or [""]
    yield from (f"{INDENT}{'  ' * bool(number)}{line} \\" for number, line in enumerate(first))
    yield f"{INDENT}{'  ' * bool(first)}{last}"


def _total(results: Sequence[Result]) -> str:
    counts = _counts(results)
    parts = [f"{counts[status]} {word}" for status, word in WORDS.items() if counts[status]]
    return f"{len(results)} checks: {', '.join(parts)}"


def _counts(results: Iterable[Result]) -> dict[Status, int]:
    found: dict[Status, int] = dict.fromkeys(WORDS, 0)
    for result in results:
        found[result.status] += 1
    return found


def document(results: Sequence[Result]) -> str:
    """The results as JSON."""
    report: dict[str, Any] = {
        "status": status_of(results),
        "counts": _counts(results),
        "checks": [
            {
                "id": result.id,
                "group": result.group,
                "sentence": result.sentence,
                "status": result.status,
                "text": result.finding.text,
                "cure": result.cure,
                "commands": list(result.finding.commands),
                "see": f"{PAGE}#{result.id}",
            }
            for result in results
        ],
    }
    return json.dumps(cleaned(report), indent=2)


def junit(results: Sequence[Result]) -> str:
    """The results as JUnit: a warning is a passed case with a text, what could not be found out is
    an error.
    """
    groups = dict.fromkeys(result.group for result in results)
    suites = [_suite(group, [one for one in results if one.group == group]) for group in groups]
    counts = _counts(results)
    head = f'<testsuites tests="{len(results)}" failures="{counts["failed"]}" errors="{counts["unknown"]}">'
    return "\n".join(('<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>"))


def _suite(group: str, results: Sequence[Result]) -> str:
    counts = _counts(results)
    numbers = f'failures="{counts["failed"]}" errors="{counts["unknown"]}"'
    head = f'  <testsuite name={quoteattr(group)} tests="{len(results)}" {numbers}>'
    return "\n".join((head, *map(_case, results), "  </testsuite>"))


def _case(result: Result) -> str:
    # XML 1.0 has no control characters at all, not even escaped ones.
    text = one_line(without_tokens(result.finding.text))
    title = quoteattr(result.sentence)
    head = f'    <testcase classname="boundtoken.check" name={title} file="{PAGE}#{result.id}">'
    element = {"failed": "failure", "unknown": "error", "warning": "system-out"}.get(result.status)
    if element is None:
        return f"{head}</testcase>"
    if element == "system-out":
        return f"{head}<system-out>{escape(text)}</system-out></testcase>"
    told = escape(f"{text} {result.cure}".strip())
    return f"{head}<{element} message={quoteattr(text)}>{told}</{element}></testcase>"
