"""What a person does with the page of a scan, in a real browser."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.support.scan_pages import SECTIONS, opened
from tests.support.scan_reports import empty, hostile, sample
from webhook.cli.scan.formats.page.tables import life

REPORT = sample(60)
VIEWS = [
    pytest.param(scheme, width, id=f"{scheme}-{width}")
    for scheme, width in (("light", 1600), ("dark", 1600), ("light", 390))
]


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_axe_finds_nothing_serious_in_any_section(
    chromium: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    view = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    with opened(chromium, tmp_path, sample(20, complete=False), **view) as it:
        for section in SECTIONS:
            it.show(section)
            result = Axe().run(it.page, options={"resultTypes": ["violations"]})
            found = [
                (violation["id"], violation["impact"], node["html"][:200])
                for violation in result.response["violations"]
                for node in violation["nodes"]
            ]
            assert found == [], section
            assert len(result.response["passes"]) > 15


@pytest.mark.parametrize("width", [390, 800, 1200, 1600])
@pytest.mark.parametrize("report", [REPORT, hostile(), empty()], ids=["sample", "hostile", "empty"])
def test_nothing_is_wider_than_the_window(
    chromium: Browser, tmp_path: Path, report: dict[str, object], width: int
) -> None:
    with opened(chromium, tmp_path, report, viewport={"width": width, "height": 900}) as it:
        for section in SECTIONS:
            it.show(section)
            wider = it.page.evaluate(
                """() => [...document.querySelectorAll("main *, header *, footer *")]
                .filter(one => !one.closest(".unseen") && one.getBoundingClientRect().right > innerWidth + 1)
                .map(one => one.outerHTML.slice(0, 200))"""
            )
            assert wider == [], section
            assert it.page.evaluate("document.documentElement.scrollWidth") <= width
        assert it.faults() == []


def test_a_column_is_sorted_by_the_keyboard_and_says_so(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.show("tokens")
        given = it.rows("tokens")
        button = it.page.get_by_role("button", name="Lives for")
        header = it.page.get_by_role("columnheader", name="Lives for")
        button.focus()
        lasts = [
            (-1, float("inf"))[life(token) == "never"]
            if token["lifetimeSeconds"] is None
            else token["lifetimeSeconds"]
            for token in REPORT["tokens"]
        ]
        order = sorted(range(len(given)), key=lambda at: (lasts[at], at))
        it.page.keyboard.press("Enter")
        expect(header).to_have_attribute("aria-sort", "ascending")
        assert it.rows("tokens") == [given[at] for at in order]
        expect(it.page.get_by_role("status")).to_have_text("Sorted by Lives for, ascending")
        it.page.keyboard.press("Space")
        expect(header).to_have_attribute("aria-sort", "descending")
        order = sorted(range(len(given)), key=lambda at: (-lasts[at], at))
        assert it.rows("tokens") == [given[at] for at in order]
        it.page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") is None
        assert it.rows("tokens") == given


def test_numbers_and_levels_are_sorted_by_what_they_mean(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, sample(500)) as it:
        it.show("namespaces")
        it.page.get_by_role("button", name="Level").click()
        levels = it.column("namespaces", 2)
        assert levels == sorted(levels, key=("none", "bound", "strict").index)
        assert len(set(levels)) == 3
        it.page.get_by_role("button", name="Pods").click()
        pods = [int(text) for text in it.column("namespaces", 5)]
        assert pods == sorted(pods)
        assert it.page.locator("table[data-table=namespaces] th[aria-sort]").count() == 1


def test_the_filter_is_reached_used_and_cleared_by_the_keyboard(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.show("tokens")
        total = len(REPORT["tokens"])
        field = it.page.get_by_role("searchbox", name="Filter")
        it.page.keyboard.press("/")
        expect(field).to_be_focused()
        it.page.keyboard.type("CSI shop")
        expected = [
            token
            for token in REPORT["tokens"]
            if token["source"] == "csi" and "shop" in token["namespace"]
        ]
        status = f"{len(expected)} of {total} tokens, filtered by “CSI shop”"
        expect(it.page.get_by_role("status")).to_have_text(status)
        assert 0 < len(expected) == len(it.rows("tokens"))
        tab = it.page.get_by_role("tab", name="Tokens")
        expect(tab).to_have_text(f"Tokens{len(expected)}")
        it.page.keyboard.press("Escape")
        expect(field).to_have_value("")
        expect(tab).to_have_text(f"Tokens{total}")
        assert len(it.rows("tokens")) == total


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("level=none", lambda token: token["level"] == "none"),
        ("-level=none", lambda token: token["level"] != "none"),
        ("level=none|bound", lambda token: token["level"] in ("none", "bound")),
        ("namespace:shop", lambda token: "shop" in token["namespace"]),
        ("namespace=shop", lambda token: token["namespace"] == "shop"),
        ("life=never", lambda token: token["lifetime"] == "never"),
        ("hours", lambda _: False),  # which only a column has that is not shown
        ('level=""', lambda _: False),
        ('audience="https://vault.example"', lambda token: token["audience"]),
        ("-csi -projected", lambda token: token["source"] not in ("csi", "projected")),
        ('"3607 s" yes', lambda token: token["requestedSeconds"] == 3607),
        ("https://vault", lambda token: token["audience"]),
        ("no-such-word", lambda token: token["source"] == "none"),
    ],
)
def test_a_filter_shows_just_its_rows(
    chromium: Browser, tmp_path: Path, text: str, matches: object
) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.show("tokens")
        it.filter(text)
        expected = [token["object"] for token in REPORT["tokens"] if matches(token)]  # type: ignore[operator]
        shown = it.column("tokens", 1)
        assert len(shown) == len(expected)
        assert all(map(str.startswith, shown, expected))
        nothing = it.page.locator("#tokens").get_by_text("No row has all of these words.")
        assert nothing.is_visible() == (not expected)


def test_a_number_of_the_summary_leads_to_its_rows(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        for key, name in (("never", "never expires"), ("year", "1 year or longer")):
            expected = sum(1 for token in REPORT["tokens"] if life(token) == key)
            it.show("summary")
            row = it.page.locator(".legend li", has_text=name)
            expect(row.locator(".count")).to_have_text(str(expected))
            row.get_by_role("link").click()
            expect(it.page.get_by_role("tab", name="Tokens")).to_have_attribute(
                "aria-selected", "true"
            )
            assert len(it.rows("tokens")) == expected > 0
        it.show("summary")
        it.page.get_by_role("link", name="year-long", exact=True).click()
        assert {row[1] for row in it.rows("findings")} == {"year-long"}


def test_the_focus_goes_where_a_link_of_the_summary_leads(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.page.get_by_role("link", name="year-long", exact=True).press("Enter")
        expect(it.page.locator("#findings")).to_be_focused()
        it.page.keyboard.press("Tab")
        expect(it.page.locator("#findings th button").first).to_be_focused()
        it.page.get_by_role("tab", name="Tokens").press("Enter")
        expect(it.page.get_by_role("tab", name="Tokens")).to_be_focused()


def test_places_secrets_and_what_a_restart_makes_are_shown(
    chromium: Browser, tmp_path: Path
) -> None:
    report = sample(60)
    report["findings"][0]["place"] = "shop/cart.yaml:7"
    report["tokens"][0] |= {"volume": "v", "file": "api", "secret": "old-secret"}
    report["namespaces"][0] |= {"level": "none", "afterRestart": "strict"}
    with opened(chromium, tmp_path, report) as it:
        for section, text in (
            ("findings", "in shop/cart.yaml:7"),
            ("tokens", "volume v, file api, Secret old-secret"),
            ("namespaces", "strict after a restart"),
        ):
            it.show(section)
            expect(it.page.get_by_text(text)).to_be_visible()
    with opened(chromium, tmp_path, report, java_script_enabled=False) as it:
        expect(it.page.get_by_text("in shop/cart.yaml:7")).to_be_visible()


def test_no_word_is_broken_at_1000_pixels(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, REPORT, viewport={"width": 1000, "height": 900}) as it:
        it.show("tokens")
        broken = it.page.evaluate(
            """() => [...document.querySelectorAll("[data-table=tokens] tbody td.text")]
            .filter((cell) => cell.firstChild && /^[a-z]+$/.test(cell.textContent))
            .filter((cell) => {
              const range = document.createRange();
              range.selectNodeContents(cell);
              return range.getClientRects().length > 1;
            }).map((cell) => cell.textContent)"""
        )
        assert broken == []


def test_the_pictures_have_the_shares_and_say_them(chromium: Browser, tmp_path: Path) -> None:
    report = sample(10_000)
    with opened(chromium, tmp_path, report) as it:
        label = it.page.get_by_role("img", name="Tokens by life").get_attribute("aria-label") or ""
        lives = [life(token) for token in report["tokens"]]
        assert f"never expires {lives.count('never'):,}" in label
        assert f"1 hour or less {lives.count('hour'):,}" in label
        widths = it.page.locator("svg.strip").first.evaluate(
            "svg => Object.fromEntries([...svg.children].map(bar => [bar.classList[0],"
            " bar.getBoundingClientRect().width / svg.getBoundingClientRect().width]))"
        )
        assert widths["good"] == pytest.approx(lives.count("hour") / 10_000, abs=0.02)
        assert widths["worst"] == pytest.approx(lives.count("never") / 10_000, abs=0.02)


def test_sections_are_changed_by_arrows_and_by_their_address(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.page.get_by_role("tab", name="Summary").focus()
        for key, section in (
            ("ArrowRight", "findings"),
            ("End", "unread"),
            ("ArrowRight", "summary"),
            ("ArrowLeft", "unread"),
            ("Home", "summary"),
        ):
            it.page.keyboard.press(key)
            expect(it.page.locator(f"#{section}")).to_be_visible()
            assert it.page.locator("main > section:visible").count() == 1
        it.page.goto(f"{it.address}#minters")
        expect(it.page.locator("#minters")).to_be_visible()
        assert len(it.rows("minters")) == 3
        assert it.page.evaluate("scrollY") == 0


def test_it_is_light_or_dark_as_the_system_is_until_the_switch_is_used(
    chromium: Browser, tmp_path: Path
) -> None:
    shade = "parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    for scheme, other in (("light", "Dark"), ("dark", "Light")):
        with opened(chromium, tmp_path, REPORT, color_scheme=scheme) as it:
            assert (it.page.evaluate(shade) > 128) == (scheme == "light")
            button = it.page.locator("#theme")
            expect(button).to_have_text(other)
            button.press("Enter")
            assert (it.page.evaluate(shade) > 128) == (scheme == "dark")
            expect(button).to_have_text(scheme.capitalize())


def test_a_command_is_copied(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        it.show("findings")
        command = next(finding["fix"] for finding in it_sorted() if finding["fix"])
        button = it.page.get_by_role("button", name="Copy").first
        button.press("Enter")
        expect(it.page.get_by_role("button", name="Copied")).to_be_visible()
        assert it.page.evaluate("navigator.clipboard.readText()") == command


def it_sorted() -> list[dict[str, str]]:
    """The findings in the order in which they are shown."""
    worst = ("error", "warning", "note")
    return sorted(REPORT["findings"], key=lambda finding: worst.index(finding["severity"]))


def test_where_nothing_may_be_copied_the_command_is_selected(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, tmp_path, REPORT) as it:
        it.page.evaluate("navigator.clipboard.writeText = () => Promise.reject(Error()); 0")
        it.show("findings")
        it.page.get_by_role("button", name="Copy").first.click()
        expect(it.page.get_by_role("button", name="Selected")).to_be_visible()
        command = next(finding["fix"] for finding in it_sorted() if finding["fix"])
        assert it.page.evaluate("String(getSelection())") == command


def test_without_a_script_the_summary_and_the_findings_are_there(
    chromium: Browser, tmp_path: Path
) -> None:
    report = sample(60, complete=False)
    with opened(chromium, tmp_path, report, java_script_enabled=False) as it:
        expect(it.page.get_by_text("This scan is incomplete.")).to_be_visible()
        expect(it.page.get_by_text("tokens that were seen live for a year")).to_be_visible()
        expect(it.page.get_by_role("img", name="Tokens by life")).to_be_visible()
        rows = it.page.locator("table[data-table=findings] tbody tr")
        expect(rows).to_have_count(len(report["findings"]))
        expect(rows.first).to_be_visible()
        expect(it.page.locator("table[data-table=unread]")).to_contain_text("needs list on secrets")
        expect(it.page.get_by_text("This table needs JavaScript").first).to_be_visible()
        expect(it.page.locator("#filter")).to_be_hidden()
        assert it.page.locator("main > section:visible").count() == len(SECTIONS)


def test_rows_that_are_not_made_yet_are_made_for_the_printer(
    chromium: Browser, tmp_path: Path
) -> None:
    with opened(chromium, tmp_path, sample(2_000)) as it:
        rows = it.page.evaluate(
            """() => {
              document.querySelector("#tab-tokens").click();
              const rows = () => document.querySelectorAll("[data-table=tokens] tbody tr").length;
              const before = rows();
              dispatchEvent(new Event("beforeprint"));
              return [before, rows()];
            }"""
        )
        assert rows[0] < rows[1] == 2_000
        assert len(it.rows("minters")) == 3


def test_all_of_it_is_printed(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, sample(600), color_scheme="dark") as it:
        pdf = it.page.pdf(prefer_css_page_size=True)
        pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
        assert pages > 15
        assert len(it.rows("tokens")) == 600
        it.page.emulate_media(media="print")
        for section in SECTIONS:
            expect(it.page.locator(f"#{section}")).to_be_visible()
        expect(it.page.locator("#filter")).to_be_hidden()
        paper = it.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(255, 255, 255)"
        head = it.page.locator("table[data-table=tokens] thead")
        expect(head).to_have_css("display", "table-header-group")
        expect(head.locator("button").first).to_be_hidden()
        label = (
            "getComputedStyle(document.querySelector('[data-table=tokens] th'), '::before').content"
        )
        assert it.page.evaluate(label) == '"Namespace"'
