"""For people: where the namespaces stand, which tokens there are, and what is to be done. `table`
has 80 columns and shows the first of each; `wide` shows everything.
"""

import re
from collections.abc import Iterator

from ....core.text import one_line, truncate
from ....scanning.report import Finding, Minter, Namespace, Report, Token
from ....scanning.rights import in_short, is_of_kubernetes
from ...explain.tree import WIDTH, columns, wrapped
from . import texts

MAX_ROWS = 20
"""Of each part of `table`: a terminal has 24 lines, and nobody reads a thousand."""
MAX_FINDINGS = 5
"""Of each code."""
MAX_CELL = 330
"""Columns of `wide`: a kind and a name have at most 253 characters and some. An annotation or a
manifest may have a million, which the JSON has."""
MAX_MOUNTS = 4000
MAX_TEXT = 2000
"""Characters of a sentence with names in it."""
INDENT = "  "
NAMESPACE_COLUMNS = (
    ("NAMESPACE", 24),
    ("INJECT", 8),
    ("LEVEL", 6),
    ("ENFORCE", 7),
    ("PODS", 6),
    ("TOKENS", 6),
    ("YEAR", 6),
)
TOKEN_COLUMNS = (("NAMESPACE", 14), ("OBJECT", 24), ("SOURCE", 13), ("LIFE", 8), ("LEVEL", 6), ("TOKENS", 6))  # fmt: skip
WIDE_COLUMNS = (
    "NAMESPACE", "OBJECT", "OWNER", "ACCOUNT", "SOURCE", "AUDIENCE", "LIFE", "REQUESTED", "ROTATED", "LEVEL", "VOLUME", "MOUNTS",
)  # fmt: skip


def render(report: Report) -> str:
    """At most 80 columns."""
    return "\n".join(_lines(report, is_wide=False)) + "\n"


def render_wide(report: Report) -> str:
    """All of it, as wide as it is; a text that is longer than a name may be is cut."""
    return "\n".join(_lines(report, is_wide=True)) + "\n"


def _lines(report: Report, *, is_wide: bool) -> Iterator[str]:
    limit = None if is_wide else MAX_ROWS
    since = report.since
    yield from _summary(report)
    # Namespaces are compared by what is in them.
    if since is None:
        yield from _part("", _namespaces(report.namespaces, limit))
    new = "new " * (since is not None)
    yield from _part(f"{new}tokens" * bool(new), _tokens(report.tokens, is_wide=is_wide))
    yield from _findings(report.findings, new, is_wide=is_wide)
    yield from _part(f"{new}rights to get tokens of others", _minters(report.minters, limit))
    if since is not None:
        yield from _part("tokens that are gone", _tokens(since.tokens, is_wide=is_wide))
        yield from _findings(since.findings, "gone: ", is_wide=is_wide)
        yield from _part("rights that are gone", _minters(since.minters, limit))
        lines = [_folded(f"{what}: {why}") for what, why in texts.incomparable(report)]
        yield from _part("not comparable", (line for some in lines for line in some))
    unread = [_folded(f"{texts.fit(one.what, MAX_CELL)}: {one.why}") for one in report.unread]
    yield from _part("not seen", (line for lines in unread for line in lines))


def _part(heading: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        if heading:
            yield heading
        yield from found


def _summary(report: Report) -> Iterator[str]:
    where = f"context {report.context}, " if report.context else ""
    cut = "" if report.complete else ", interrupted"
    yield texts.fit(f"{where}{report.time}{cut}", WIDTH)
    if report.since is not None:
        yield texts.fit(
            f"what is new or gone since {report.since.time or 'the earlier scan'}", WIDTH
        )
        return
    if report.unread and not (report.namespaces or report.tokens or report.left_out):
        yield "nothing could be read: what was not seen, and why, is below"
        return
    pods = sum(space.pods for space in report.namespaces)
    spaces = texts.number(len(report.namespaces), "namespace")
    left_out = sum(one.tokens for one in report.left_out)
    tokens = texts.number(len(report.tokens) + left_out, "token")
    yield f"{tokens}, {texts.number(pods, 'pod')}, {spaces}"
    found = texts.lifetimes(report.tokens)
    width = min(max((len(life) for life, *_ in found), default=0), WIDTH // 2)
    for life, count, sources in found[:MAX_ROWS]:
        yield texts.fit(f"{INDENT}{life.ljust(width)}  {count:>7,}  {sources}", WIDTH)
    if more := texts.left_out(report):
        yield f"{INDENT}and {more}, of which the worst are told"
    if levels := texts.levels(report):
        yield f"namespaces by the level that all their tokens reach: {levels}"


def _namespaces(spaces: tuple[Namespace, ...], limit: int | None) -> Iterator[str]:
    # Those with the most to do first.
    ordered = sorted(spaces, key=lambda one: (-one.year_long, -one.tokens, one.name))
    shown = [one for one in ordered if one.tokens or one.inject not in ("", "disabled")]
    if not shown:
        return
    cells = [
        (
            *(one.name, one.inject if one.covered else "(none)", one.level, one.enforce),
            *map(str, (one.pods, one.tokens, one.year_long)),
        )
        for one in shown[:limit]
    ]
    widths = [width if limit else MAX_CELL for _, width in NAMESPACE_COLUMNS]
    yield from texts.rows([name for name, _ in NAMESPACE_COLUMNS], cells, widths)
    yield from _more(len(shown), limit)


def _tokens(tokens: tuple[Token, ...], *, is_wide: bool) -> Iterator[str]:
    if not tokens:
        return
    if is_wide:
        widths = [*(MAX_CELL for _ in WIDE_COLUMNS[1:]), MAX_MOUNTS]
        yield from texts.rows(WIDE_COLUMNS, map(_wide, tokens), widths)
        return
    counted = texts.alike(tokens)
    cells = [(*key, str(count)) for key, count in list(counted.items())[:MAX_ROWS]]
    widths = [width for _, width in TOKEN_COLUMNS]
    yield from texts.rows([name for name, _ in TOKEN_COLUMNS], cells, widths)
    yield from _more(len(counted), MAX_ROWS)


def _wide(token: Token) -> tuple[str, ...]:
    requested = "" if token.requested_seconds is None else str(token.requested_seconds)
    volume = token.volume or (f"secret {token.secret}" if token.secret else "")
    return (
        *(token.namespace, token.object, token.owner, token.service_account, token.source),
        *(token.audience, token.lifetime, requested, "yes" if token.rotated else "no"),
        *(token.level, volume, texts.mounts_text(token)),
    )


def _findings(findings: tuple[Finding, ...], prefix: str, *, is_wide: bool) -> Iterator[str]:
    limit = None if is_wide else MAX_FINDINGS
    for code, found in texts.by_code(findings).items():
        yield ""
        yield texts.fit(f"{prefix}{code} ({len(found):,}): {texts.MEANINGS[code]}", WIDTH)
        for finding in found[:limit]:
            title = texts.fit(texts.title(finding), MAX_CELL)
            message = one_line(truncate(finding.message, MAX_TEXT))
            if is_wide:
                yield f"{INDENT}{title}: {message}"
            else:
                yield from _folded(f"{title}: {message}")
            yield from _command(truncate(finding.fix, MAX_TEXT), is_wide=is_wide)
        yield from _more(len(found), limit)


def _minters(minters: tuple[Minter, ...], limit: int | None) -> Iterator[str]:
    own = [one for one in minters if limit is None or not is_of_kubernetes(one)]
    for one in own[:limit]:
        where = "everywhere" if one.namespace == "*" else one.namespace
        who, by = (texts.fit(text, MAX_CELL) for text in (f"{where}: {one.subject}", one.by))
        yield from _folded(f"{who}: {in_short(one.can)} ({by})")
    yield from _more(len(own), limit)
    if others := len(minters) - len(own):
        yield f"{INDENT}and {others:,} of Kubernetes itself: -o wide"


def _more(count: int, limit: int | None) -> Iterator[str]:
    if limit is not None and count > limit:
        yield f"{INDENT}and {count - limit:,} more: -o wide"


_WORD = re.compile(r"(?:'[^']*'|[^\s'])+|'")
"""What a shell takes for one word."""


def _command(text: str, *, is_wide: bool) -> Iterator[str]:
    """A command, whole, so that it can be copied: folded as a shell takes it, where a word of it
    is not longer than a line itself.
    """
    line, room = INDENT * 2, WIDTH - len(" \\")
    for word in _WORD.findall(one_line(text)) if text and not is_wide else ():
        if line.strip() and columns(line) + 1 + columns(word) > room:
            yield f"{line} \\"
            line = INDENT * 3
        line += word if not line.strip() else f" {word}"
    if text:
        yield f"{INDENT * 2}{one_line(text)}" if is_wide else line


def _folded(text: str) -> list[str]:
    lines = wrapped(one_line(truncate(text, MAX_TEXT)), WIDTH - 2 * len(INDENT))
    return [INDENT * (2 if number else 1) + line for number, line in enumerate(lines)]
