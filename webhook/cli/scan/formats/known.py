"""The formats by name. A format is a function that makes the text of a report."""

from collections.abc import Callable

from ....scanning.report import Report
from . import csv_rows, html, junit, machine, markdown, sarif, table

FORMATS: dict[str, Callable[[Report], str]] = {
    "table": table.render,
    "wide": table.render_wide,
    "json": machine.render_json,
    "yaml": machine.render_yaml,
    "csv": csv_rows.render,
    "sarif": sarif.render,
    "junit": junit.render,
    "html": html.render,
    "markdown": markdown.render,
}
"""Their names stand in `arguments.FORMATS` as well, so that the parser needs none of them."""
