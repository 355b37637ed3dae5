"""Draws docs/images/scan.png, the first thing that the page of a scan shows, of the sample report.

Its fonts are those of tests/browser, so that two machines draw the same.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.build import browser
from tests.support.paths import ROOT
from tests.support.scan_pages import opened
from tests.support.scan_reports import sample

PICTURE = ROOT / "docs/images/scan.png"
VIEW = {"viewport": {"width": 1360, "height": 860}, "color_scheme": "light"}


def draw(path: Path) -> None:
    """Write the picture."""
    found = browser()
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        running = driver.chromium.launch(executable_path=found.executable, env=dict(found.environ))
        with opened(running, Path(folder), sample(3_000), **VIEW) as it:
            it.page.screenshot(path=path)
        running.close()


if __name__ == "__main__":
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    draw(PICTURE)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1000} KB")
