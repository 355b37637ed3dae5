"""A report whose every text was chosen by an attacker, in a real browser."""

from pathlib import Path

from playwright.sync_api import Browser

from tests.support.scan_pages import SECTIONS, opened
from tests.support.scan_reports import HOSTILE, hostile, sample

TAGS = {
    *("A", "BODY", "BUTTON", "CODE", "DD", "DIV", "DL", "DT", "FIGCAPTION", "FIGURE", "FOOTER"),
    *("FORM", "H1", "H2", "H3", "HEAD", "HEADER", "HTML", "INPUT", "KBD", "LABEL", "LI", "MAIN"),
    *("META", "NAV", "OL", "P", "SCRIPT", "SECTION", "SMALL", "SPAN", "STRONG", "STYLE", "TABLE"),
    *("TBODY", "TD", "TH", "THEAD", "TIME", "TITLE", "TR", "UL", "rect", "svg"),
}
SURVEY = r"""() => ({
  tags: [...new Set([...document.querySelectorAll("*")].map(one => one.tagName))],
  handlers: [...document.querySelectorAll("*")].flatMap(one => one.getAttributeNames())
    .filter(name => name.startsWith("on")),
  styles: [...document.querySelectorAll("[style]")].map(one => one.getAttribute("style"))
    .filter(style => !/^--chunk: \d+px;$/.test(style)),
  links: [...document.querySelectorAll("[href], [src]")]
    .map(one => one.getAttribute("href") ?? one.getAttribute("src"))
    .filter(target => !target.startsWith("#")),
  scripts: document.scripts.length,
  broken: window.broken ?? null,
  text: document.body.innerText,
})"""

SEEN = """() => new Promise(resolve => {
  const look = () => violations.length ? resolve() : setTimeout(look, 20);
  look();
})"""


def test_no_text_of_a_cluster_becomes_markup_or_runs(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, hostile()) as it:
        for section in SECTIONS:
            it.show(section)
            it.filter("window")
            it.page.keyboard.press("Escape")
        found = it.page.evaluate(SURVEY)
        assert set(found["tags"]) <= TAGS
        assert (found["handlers"], found["styles"], found["links"]) == ([], [], [])
        assert found["broken"] is None
        assert found["scripts"] == 2
        assert it.faults() == []


def test_a_hostile_text_is_shown_as_it_is_written(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, hostile()) as it:
        it.show("tokens")
        rows = it.rows("tokens")
        assert len(rows) == 24
        text = "\n".join(cell for row in rows for cell in row)
        for literal in HOSTILE[:3]:
            assert literal in text
        assert "${policy} $style {{7*7}} &lt;b&gt; ]]>" in text
        assert "\\u202etxt.exe\\x00\\x1b[31m" in text
        assert "(a token)" in text
        assert "eyJhbGciOi" not in it.page.content()
        assert all(char.isprintable() or char == "\n" for char in text)
        assert max(len(cell) for row in rows for cell in row) < 10_000


def test_the_page_asks_nothing_of_the_outside(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, sample(300)) as it:
        for section in SECTIONS:
            it.show(section)
        it.filter("csi")
        it.page.locator("#theme").click()
        it.page.wait_for_load_state("networkidle")
        assert it.requests == [it.address]
        assert it.faults() == []


def test_the_policy_stops_what_a_mistake_would_let_in(chromium: Browser, tmp_path: Path) -> None:
    """The second wall: were a text to become markup, the browser would not run or load it."""
    attempts = {
        "document.body.innerHTML = '<b>x</b>'": "require-trusted-types-for",
        "document.body.append(Object.assign(document.createElement('img'), {src: 'https://x.example/'}))": "img-src",
        "document.head.append(Object.assign(document.createElement('style'), {textContent: 'a{}'}))": "style-src-elem",
        "fetch('https://x.example/').catch(() => 0)": "connect-src",
        "document.body.setAttribute('onclick', 'window.broken = 1')": "require-trusted-types-for",
        "document.body.append(Object.assign(document.createElement('a'), {href: 'javascript:window.broken = 1', id: 'x'})), x.click()": "script-src-elem",
    }
    for attempt, directive in attempts.items():
        with opened(chromium, tmp_path, sample(7)) as it:
            it.page.evaluate(f"() => {{ try {{ {attempt} }} catch (error) {{ String(error) }} }}")
            it.page.evaluate(SEEN)
            assert directive in it.page.evaluate("violations[0]"), attempt
            assert it.page.evaluate("window.broken ?? null") is None
