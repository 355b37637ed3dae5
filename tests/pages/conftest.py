"""One Chromium for the tests of a page.

It ends with their module: while it runs, no other test of the process can run an event loop.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.build import browser
from tests.support.waiting import PATIENCE


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """It has no sandbox of its own, which root cannot have in a container; it opens our files."""
    found = browser()
    expect.set_options(timeout=PATIENCE * 5_000)
    with sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=found.executable, env=dict(found.environ), chromium_sandbox=False
        )
        yield running
        running.close()
