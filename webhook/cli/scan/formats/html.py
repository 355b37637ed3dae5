"""The page of a scan: one file that asks nothing of the outside, for a browser or a printer.

Every text of the cluster is hostile: markup escapes it, the tables' data are JSON in a script
element that is no script, and page.js makes text nodes of them and nothing else. The page's own
policy has a browser refuse all else: it may run one script and apply one style, known by their
hashes, and no text can become markup (`require-trusted-types-for`).
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template

from .... import __version__
from ....scanning import report as scanning
from . import machine
from .page.markup import Markup, clean, data, element, joined
from .page.summary import notices, summary
from .page.tables import Cell, Column, Report, Table, tables

STATIC_ROWS = 500
"""Findings that are there without a script; a script replaces them by all."""
PARTS = {
    "Summary": (),
    "Findings": ("findings",),
    "Tokens": ("tokens",),
    "Namespaces": ("namespaces",),
    "Secrets and accounts": ("secrets", "accounts"),
    "Who may mint": ("minters",),
    "Not seen": ("unread",),
}
"""The sections, and their tables; the first table names the section."""
STATIC = ("findings", "unread")


def render(report: scanning.Report) -> str:
    return html(machine.plain(report))


def html(report: Report) -> str:
    """Return the page.

    Shape: of `report`, what `boundtoken scan -o json` prints
    """
    made = tables(report)
    style, script = _file("page.css"), _file("page.js")
    context = clean(report["context"]) or "files"
    return Template(_file("page.html")).substitute(
        policy=_policy(style, script),
        title=element("title", f"boundtoken scan: {context}, {clean(report['time'])}"),
        style=style,
        header=_header(report, context),
        bar=_bar(made),
        content=joined(
            notices(report, made),
            summary(report),
            *(
                _section(title, [made[name] for name in names])
                for title, names in PARTS.items()
                if names
            ),
        ),
        footer=_footer(),
        data=data({"tables": [table.document() for table in made.values()]}),
        script=script,
    )


def _file(name: str) -> str:
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may do. Frames of others cannot be forbidden here: a header could.

    Source: Content Security Policy Level 3, Trusted Types
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_source(script)}",
            f"style-src {_source(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _header(report: Report, context: str) -> Markup:
    scanned = element("time", clean(report["time"]), datetime=clean(report["time"]))
    finished = "complete" if report["complete"] else "incomplete"
    return element(
        "header",
        element(
            "div",
            element("h1", "Service account tokens"),
            element(
                "p",
                element("span", context, class_="context"),
                " scanned ",
                scanned,
                " by boundtoken ",
                __version__,
                ", ",
                element("span", finished, class_="finished", data_value=finished),
            ),
        ),
        element("button", "Dark", id="theme", type="button", hidden=True),
        class_="top",
    )


def _bar(made: Mapping[str, Table]) -> Markup:
    """The sections' names, and the filter, which needs a script."""
    links = []
    for title, names in PARTS.items():
        total = sum(made[name].total for name in names)
        count = [element("span", f"{total:,}", class_="count")] if names else []
        links.append(element("a", title, *count, href=f"#{_identifier(title, names)}"))
    search = element(
        "form",
        element("label", "Filter", for_="filter"),
        element(
            "input",
            id="filter",
            type="search",
            autocomplete="off",
            spellcheck="false",
            placeholder="Words, or level=none",
            aria_describedby="filter-help",
        ),
        element("kbd", "/", aria_hidden="true"),
        element(
            "span",
            "Shows the rows that have all of these words, in every section. ",
            element("code", "-csi"),
            " without the word, ",
            element("code", "namespace:shop"),
            " in one column, ",
            element("code", "level=none|bound"),
            " exactly one of these, ",
            element("code", '"a b"'),
            " with a space. Esc clears.",
            id="filter-help",
        ),
        role="search",
        hidden=True,
    )
    return element(
        "div",
        element("nav", element("div", *links, id="sections"), aria_label="Sections"),
        search,
        class_="bar",
    )


def _identifier(title: str, names: Sequence[str]) -> str:
    return names[0] if names else title.lower()


def _section(title: str, shown: Sequence[Table]) -> Markup:
    parts = []
    for table in shown:
        is_static = table.id in STATIC
        hint = (
            _grid(table)
            if is_static
            else element(
                "p",
                f"{table.total:,} {table.noun}. This table needs JavaScript; ",
                "boundtoken scan -o csv writes the same rows.",
                class_="quiet",
            )
        )
        parts.append(
            element(
                "div",
                element("h2", table.title),
                hint,
                class_="table",
                data_table=table.id,
            )
        )
    return element("section", *parts, id=_identifier(title, [table.id for table in shown]))


def _grid(table: Table) -> Markup:
    """A table as page.js would make it, without what needs a script."""
    if not table.rows:
        return element("p", table.empty, class_="quiet")
    rows = table.rows[:STATIC_ROWS]
    header = element(
        "tr",
        *(
            element("th", column.label, role="columnheader", scope="col")
            for column in table.columns
        ),
        role="row",
    )
    body = (element("tr", *_cells(table.columns, row), role="row") for row in rows)
    grid = element(
        "table",
        element("thead", header, role="rowgroup"),
        element("tbody", *body, role="rowgroup"),
        class_="grid",
        role="table",
        data_table=table.id,
        aria_label=table.title,
    )
    if len(rows) == table.total:
        return grid
    more = f"{table.total - len(rows):,} more {table.noun} are shown by a script."
    return joined(grid, element("p", more, class_="quiet"))


def _cells(columns: Sequence[Column], row: Sequence[Cell]) -> Iterable[Markup]:
    for column, cell in zip(columns, row, strict=True):
        text = str(cell[0] if isinstance(cell, tuple) else cell)
        shown: str = text
        if column.kind == "badge":
            shown = element("span", text, class_="tag", data_value=text)
        elif column.kind == "command" and text:
            shown = element("code", text)
        if isinstance(cell, tuple) and cell[2]:
            shown = joined(element("span", shown), element("small", cell[2]))
        yield element("td", shown, class_=column.kind, role="cell", data_label=column.label)


def _footer() -> Markup:
    return element(
        "footer",
        element(
            "p",
            "Judged by the rules of boundtoken's webhooks. This page holds all that it shows and asks"
            " nothing of any other place.",
        ),
    )
