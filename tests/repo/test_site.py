"""docs/ as a site: what the pages have is there, and nothing is loaded from elsewhere."""

import posixpath
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from docs.website.__main__ import BuildError, build
from docs.website.staging import REPOSITORY, BadLink, staged
from tests.support.paths import ROOT

MD = ".md"
STAGED = {name: content.decode() for name, content in staged(ROOT).items() if name.endswith(".md")}
PAGE, GONE = "page" + MD, "gone" + MD
LOADS = {"script": "src", "img": "src", "iframe": "src", "object": "data", "source": "src"}


class Elements(HTMLParser):
    """How often each element stands in the article of a page, and all that the page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.loaded: list[str] = []
        self.is_article = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.is_article |= tag == "article"
        if self.is_article:
            self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.loaded.append(given.get("href") or "")
        self.loaded.append(given.get(LOADS.get(tag, ""), "") or "")

    def handle_endtag(self, tag: str) -> None:
        self.is_article &= tag != "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


def page_of(site: Path, name: str) -> Elements:
    path = (site / name).with_suffix(".html")
    return Elements((path.with_stem("index") if path.stem == "README" else path).read_text())


@pytest.mark.parametrize("name", STAGED)
def test_a_page_has_every_table_row_item_and_block_of_its_text(site: Path, name: str) -> None:
    text = STAGED[name]
    code = re.findall(r"^ *```.*?^ *```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    rows = len(re.findall(r"^\|.*\|$", prose, re.MULTILINE))
    rules = len(re.findall(r"^\|[-:| ]+\|$", prose, re.MULTILINE))
    counts = page_of(site, name).counts
    assert counts.get("tr", 0) == rows - rules
    assert counts.get("table", 0) == rules
    assert counts.get("pre", 0) == len(code)
    assert counts.get("li", 0) == len(re.findall(r"^ *(?:-|\d+\.) ", prose, re.MULTILINE))
    headings = sum(counts.get(f"h{level}", 0) for level in range(1, 7))
    assert headings == len(re.findall(r"^#+ ", prose, re.MULTILINE))


@pytest.mark.parametrize("name", STAGED)
def test_a_page_loads_nothing_from_elsewhere(site: Path, name: str) -> None:
    page = page_of(site, name)
    assert [url for url in page.loaded if re.match(r"(\w+:)?//", url)] == []
    assert any(page.loaded)


def in_menu(entries: list[Any]) -> Iterator[str]:
    """The pages of a menu, with those of its folds."""
    for entry in entries:
        for page in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [page] if isinstance(page, str) else in_menu(page)


def test_the_menu_of_each_page_has_every_page_of_docs_once(site: Path) -> None:
    settings = tomllib.loads((ROOT / "docs/website/zensical.toml").read_text())
    listed = sorted(in_menu(settings["project"]["nav"]))
    ours = {name for name in STAGED if not name.startswith(f"{REPOSITORY}/")}
    assert len(ours) > 40
    assert {f"{REPOSITORY}/README.md", f"{REPOSITORY}/manifests/chart/README.md"} <= set(listed)
    assert listed == sorted(ours | {name for name in listed if name.startswith(f"{REPOSITORY}/")})
    text = (site / "runbooks/BoundtokenSlow.html").read_text()
    links = re.findall(r'href="([^"]+)" class="md-nav__link', text)
    there = {posixpath.normpath(posixpath.join("runbooks", link)) for link in links}
    expected = {re.sub(r"(README)?\.md$", ".html", name) for name in listed}
    assert expected - {re.sub(r"index(?=\.html)", "", link) for link in there} == set()


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    there = {str(path.relative_to(site)) for path in (site / "repository").rglob("*.html")}
    names = ("index", "CHANGELOG", "certs/index", "manifests/30-rbac-yaml")
    assert {f"repository/{name}.html" for name in names} <= there


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / PAGE
    page.write_text("# Page\n[there](../LICENSE) `[code](../no)`\n```\n[code](../no)\n```\n")
    (tmp_path / "LICENSE").write_text("as it is")
    assert f"[there](repository/LICENSE{MD})" in staged(tmp_path)[PAGE].decode()
    for target in (f"../{GONE}", "..", GONE):
        page.write_text(f"[a\nlink]({target})\n")
        with pytest.raises(BadLink, match=re.escape(f"docs/{PAGE}: {target}")):
            staged(tmp_path)


def test_a_file_that_is_too_long_for_a_page_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / PAGE).write_text("[it](../LICENSE)\n")
    (tmp_path / "LICENSE").write_text("as it is")
    monkeypatch.setattr("docs.website.staging.MAX_BYTES", 7)
    with pytest.raises(BadLink, match="LICENSE"):
        staged(tmp_path)


def test_an_anchor_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"README.md": b"# Page\n[a](#other)\n"}
    monkeypatch.setattr("docs.website.__main__.staged", lambda _: sources)
    with pytest.raises(BuildError, match="anchor"):
        build(tmp_path / "site")
    sources["README.md"] = b"# Page\n## Other\n[a](#other)\n"
    build(tmp_path / "site")


def test_lists_and_bars_are_written_as_python_markdown_reads_them(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    text = "| a |\n|---|\n| `x \\| y` |\n\ntext:\n- one\n  more\n- two\n"
    (tmp_path / "docs" / PAGE).write_text(text)
    assert staged(tmp_path)[PAGE].decode() == text.replace("\\|", "|").replace("text:", "text:\n")
