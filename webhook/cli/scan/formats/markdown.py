"""Markdown, for a comment on a change or a ticket: tables of GitHub's flavour. Nothing of an object
is markup in it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from ....core.text import one_line
from ....scanning.report import Finding, Minter, Report, Secret, Token
from ....scanning.rights import in_short, is_of_kubernetes
from . import texts

MAX_FINDINGS = 50
"""Of each code: a comment on GitHub has at most 65,536 characters."""
MAX_NAMESPACES = 100
MAX_ROWS = 50
"""Of tokens, Secrets and rights each."""
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
    if more := texts.left_out(report):
        yield from ("", f"And {more}, of which the worst are told.")
    if report.since is None:
        yield from _namespaces(report)
    yield from _findings(report.findings, "")
    yield from _tokens(report.tokens, "Tokens")
    yield from _secrets(report.secrets)
    yield from _rights(report.minters)
    if report.since is not None:
        yield from _findings(report.since.findings, "gone: ")
        yield from _tokens(report.since.tokens, "gone: Tokens")
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


def _tokens(tokens: Sequence[Token], title: str) -> Iterator[str]:
    """Those of pods that are alike in one row, as `table` has them."""
    counted = texts.alike(tokens)
    header = ("namespace", "object", "source", "lifetime", "level", "tokens")
    rows = ((*key, f"{count:,}") for key, count in list(counted.items())[:MAX_ROWS])
    yield from _part(title, len(counted), _table(header, rows))


def _secrets(secrets: Sequence[Secret]) -> Iterator[str]:
    header = ("namespace", "Secret", "service account", "last used", "mounted by")
    rows = (
        (one.namespace, one.name, one.service_account, one.last_used, ", ".join(one.mounted_by))
        for one in secrets[:MAX_ROWS]
    )
    yield from _part("Secrets with tokens that never expire", len(secrets), _table(header, rows))


def _rights(minters: Sequence[Minter]) -> Iterator[str]:
    own = [one for one in minters if not is_of_kubernetes(one)]
    rows = (
        (
            "everywhere" if one.namespace == "*" else one.namespace,
            one.subject,
            in_short(one.can),
            one.by,
        )
        for one in own[:MAX_ROWS]
    )
    title = (
        f"Rights to get tokens of others, {len(minters) - len(own):,} of Kubernetes itself aside"
    )
    yield from _part(title, len(own), _table(("namespace", "who", "may", "by"), rows))


def _part(title: str, count: int, table: Iterable[str]) -> Iterator[str]:
    if count:
        yield ""
        yield f"### {title} ({count:,})"
        yield from table
        yield from _more(count, MAX_ROWS)


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
