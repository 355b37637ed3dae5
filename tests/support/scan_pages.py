"""A page of a scan, opened in a browser that records what it should not do."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from webhook.cli.scan.formats.html import html

SECTIONS = ("summary", "findings", "tokens", "namespaces", "secrets", "minters", "unread")
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.effectiveDirective}: ${event.sample || event.blockedURI}`));
"""


@dataclass
class Opened:
    """A page, and what it has requested, logged and thrown so far."""

    page: Page
    address: str
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def show(self, section: str) -> None:
        """Open one of the sections, as its name in the bar does."""
        self.page.locator(f'#sections a[href="#{section}"]').click()

    def rows(self, table: str) -> list[list[str]]:
        """The texts of all rows of a table, in their order."""
        given: list[list[str]] = self.page.locator(f'table[data-table="{table}"]').evaluate(
            "table => [...table.tBodies].flatMap(body => [...body.rows])"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )
        return given

    def column(self, table: str, place: int) -> list[str]:
        return [row[place] for row in self.rows(table)]

    def filter(self, text: str) -> None:
        """Filter by the keyboard, and wait for it."""
        self.page.keyboard.press("/")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def faults(self) -> Sequence[str]:
        """What it should not have done: requests but for itself, violations, errors, messages."""
        violations: list[str] = self.page.evaluate("window.violations")
        return [*(url for url in self.requests if url != self.address), *violations, *self.problems]


@contextmanager
def opened(
    chromium: Browser, folder: Path, report: dict[str, Any], **options: Any
) -> Iterator[Opened]:
    """The page of a report, from a file as people open it. The report goes through JSON first, as
    one of another run does.
    """
    path = folder / "scan.html"
    path.write_text(html(json.loads(json.dumps(report))), encoding="utf-8")
    options = {"viewport": {"width": 1600, "height": 1000}, **options}
    context = chromium.new_context(**options)
    try:
        context.add_init_script(WATCH)
        page = context.new_page()
        started = Opened(page, path.as_uri())
        page.on("request", lambda request: started.requests.append(request.url.split("#")[0]))
        page.on("console", lambda message: started.problems.append(message.text))
        page.on("pageerror", lambda error: started.problems.append(str(error)))
        page.on("dialog", lambda dialog: started.problems.append(dialog.message))
        page.goto(path.as_uri())
        yield started
    finally:
        context.close()
