"""Markdown, for a comment on a change or a ticket: tables of GitHub's flavour. Nothing of an object
is markup in it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from ....core.text import one_line
from ....scanning.report import Finding, Report
from . import texts

MAX_FINDINGS = 50
"""Of each code: a comment on GitHub has at most 65,536 characters."""
MAX_NAMESPACES = 100
MAX_CELL = 400
_LINK = re.compile(r"(www)\.", re.IGNORECASE)
"""What becomes a link without any markup (GitHub's extended autolinks)."""
_SPECIAL = frozenset("\\`*_{}[]<>()#+!|~&$@:")


def render(report: Report) -> str:
    return "\n".join(_lines(report)) + "\n"


def escaped(text: str) -> str:
    """The text as it stands: no link, no HTML, no mention of somebody, on one line."""
    line = one_line(text)
    cut = line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"
    text = "".join(f"&#{ord(char)};" if char in _SPECIAL else char for char in cut)
    return _LINK.sub(r"\1&#46;", text)


def _lines(report: Report) -> Iterator[str]:
    where = f" of {escaped(report.context)}" if report.context else ""
    yield f"## Tokens{where}"
    yield ""
    yield f"{report.time}" + ("" if report.complete else ", interrupted")
    if report.since is not None:
        yield f"What is new or gone since {escaped(report.since.time)}."
    yield from _table(
        ("lifetime", "tokens", "sources"),
        ((life, f"{count:,}", sources) for life, count, sources in texts.lifetimes(report.tokens)),
    )
    if report.since is None:
        yield from _namespaces(report)
    yield from _findings(report.findings, "")
    if report.since is not None:
        yield from _findings(report.since.findings, "gone: ")
        yield from _table(("not comparable", "why"), texts.incomparable(report))
    if report.unread:
        yield from _table(("not seen", "why"), ((one.what, one.why) for one in report.unread))


def _namespaces(report: Report) -> Iterator[str]:
    shown = [one for one in report.namespaces if one.tokens]
    yield from _table(
        ("namespace", "inject", "level", "enforce", "pods", "tokens", "a year"),
        (
            (one.name, one.inject, one.level, one.enforce, str(one.pods), str(one.tokens), str(one.year_long))
            for one in shown[:MAX_NAMESPACES]
        ),
    )  # fmt: skip
    yield from _more(len(shown), MAX_NAMESPACES)


def _findings(findings: Iterable[Finding], prefix: str) -> Iterator[str]:
    for code, found in texts.by_code(findings).items():
        yield ""
        yield f"### {prefix}{code} ({len(found):,}): {escaped(texts.MEANINGS[code])}"
        yield from _table(
            ("object", "finding", "what to do"),
            ((texts.title(one), one.message, one.fix) for one in found[:MAX_FINDINGS]),
        )
        yield from _more(len(found), MAX_FINDINGS)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = [f"| {' | '.join(escaped(cell) or ' ' for cell in row)} |" for row in rows]
    if lines:
        yield ""
        yield f"| {' | '.join(header)} |"
        yield f"|{'---|' * len(header)}"
        yield from lines


def _more(count: int, limit: int) -> Iterator[str]:
    if count > limit:
        yield ""
        yield f"And {count - limit:,} more."
