"""CSV: a line for each token. Of a comparison the lines of tokens that are gone come last.

A cell that a spreadsheet would take for a formula begins with an apostrophe, as OWASP advises
against CSV injection; so does one that begins with an apostrophe itself, so that who reads the file
can take it off again.
"""

import csv
import io
from collections.abc import Iterator

from ....core.text import one_line
from ....scanning.report import Report, Token
from .texts import mounts_text

HEADER = (
    "change", "namespace", "object", "owner", "serviceAccount", "source", "audience", "requestedSeconds",
    "lifetimeSeconds", "lifetime", "rotated", "level", "volume", "secret", "file", "mounts",
)  # fmt: skip
FORMULA = (*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula, also in full width, which some spreadsheets take for the same."""


def render(report: Report) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(HEADER)
    for change, token in _rows(report):
        writer.writerow([guarded(cell) for cell in (change, *_cells(token))])
    return text.getvalue()


def guarded(cell: str) -> str:
    """The text of a cell, which is no formula, on one line."""
    return f"'{one_line(cell)}" if cell.startswith(FORMULA) else one_line(cell)


def _rows(report: Report) -> Iterator[tuple[str, Token]]:
    since = report.since
    for token in report.tokens:
        yield "new" if since is not None else "", token
    for token in since.tokens if since is not None else ():
        yield "gone", token


def _cells(token: Token) -> Iterator[str]:
    yield from (token.namespace, token.object, token.owner, token.service_account)
    yield from (token.source, token.audience)
    for seconds in (token.requested_seconds, token.lifetime_seconds):
        yield "" if seconds is None else str(seconds)
    yield from (token.lifetime, str(token.rotated).lower(), token.level, token.volume)
    yield from (token.secret, token.file, mounts_text(token))
