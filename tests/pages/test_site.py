"""The site of docs/ in a real browser: on a phone and a wide screen, light and dark."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize

from docs.website.__main__ import build

VIEWS = [
    pytest.param(scheme, width, id=f"{scheme}-{width}")
    for scheme in ("light", "dark")
    for width in (390, 1600)
]
Scheme = Literal["light", "dark"]
PAGES = ("index", "reference", "troubleshoot", "start")
BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(30, 33, 41)"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


@contextmanager
def opened(chromium: Browser, scheme: Scheme, width: int) -> Iterator[tuple[Page, list[str]]]:
    """A page, and all that it has requested so far."""
    view: ViewportSize = {"width": width, "height": 900}
    context = chromium.new_context(viewport=view, color_scheme=scheme)
    try:
        page = context.new_page()
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        yield page, requested
    finally:
        context.close()


def show(page: Page, site: Path, name: str) -> None:
    page.goto((site / f"{name}.html").as_uri())
    page.wait_for_selector("article h1")


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_a_page_has_its_scheme_and_is_no_wider_than_the_window(
    chromium: Browser, site: Path, scheme: Scheme, width: int
) -> None:
    with opened(chromium, scheme, width) as (page, requested):
        for name in PAGES:
            show(page, site, name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == BACKGROUNDS[scheme]
        assert [url for url in requested if not url.startswith(site.as_uri())] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_phone(
    chromium: Browser, site: Path, scheme: Scheme
) -> None:
    with opened(chromium, scheme, 390) as (page, _):
        for name in ("index", "reference"):
            show(page, site, name)
            result = Axe().run(page, options={"resultTypes": ["violations"]})
            found = [
                (violation["id"], violation["impact"], node["html"][:160])
                for violation in result.response["violations"]
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]
            assert found == [], name
            assert len(result.response["passes"]) > 15
