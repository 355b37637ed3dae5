"""The page of a scan as a text: what is in it before any browser has read it."""

import base64
import hashlib
import html as markup
import json
import os
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flit_core import buildapi

from tests.support.paths import ROOT
from tests.support.scan_reports import HOSTILE, SOURCES, empty, hostile, sample
from webhook.cli.scan.formats.html import STATIC_ROWS, html
from webhook.cli.scan.formats.page import tables
from webhook.cli.scan.formats.page.markup import MAX_CHARACTERS, clean, data, element
from webhook.cli.scan.formats.page.tables import COLUMNS, LIVES, life

REPORTS = [
    pytest.param(sample(60), id="sample"),
    pytest.param(sample(60, complete=False), id="incomplete"),
    pytest.param(empty(), id="empty"),
    pytest.param(hostile(), id="hostile"),
]


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and what stands in script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.visible: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "input"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]][-1] += data
        else:
            self.visible.append(data)


def parsed(report: dict[str, Any]) -> Parsed:
    return Parsed(html(report))


@pytest.mark.parametrize("report", REPORTS)
def test_its_policy_allows_its_one_script_and_its_one_style_and_nothing_else(
    report: dict[str, Any],
) -> None:
    page = parsed(report)
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    _, script = page.texts["script"]
    (style,) = page.texts["style"]
    assert str(policy).split("; ") == [
        "default-src 'none'",
        f"script-src {source(script)}",
        f"style-src {source(style)}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]


def source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@pytest.mark.parametrize("report", REPORTS)
def test_it_refers_to_no_other_place_and_has_no_style_or_handler_in_an_attribute(
    report: dict[str, Any],
) -> None:
    page = parsed(report)
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert attributes.get("href", "#") == "#" or str(attributes["href"]).startswith("#")
        assert not {"src", "style", "action", "srcdoc"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    for text in (*page.texts["style"], page.texts["script"][1]):
        assert not re.search(r"https?://|url\(|@import|innerHTML|outerHTML|eval\(", text)


@pytest.mark.parametrize("report", REPORTS)
def test_its_data_are_all_rows_of_the_report(report: dict[str, Any]) -> None:
    text, _ = parsed(report).texts["script"]
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert text.isascii()
    given = {table["id"]: table for table in json.loads(text)["tables"]}
    assert given.keys() == COLUMNS.keys()
    for name, table in given.items():
        field = {"accounts": "serviceAccounts"}.get(name, name)
        assert len(table["rows"]) == len(report[field])
        assert {len(row) for row in table["rows"]} <= {len(table["columns"])}


def test_the_sample_has_every_state() -> None:
    report = sample(60)
    assert {life(token) for token in report["tokens"]} == LIVES.keys()
    assert {token["source"] for token in report["tokens"]} == {source for source, *_ in SOURCES}
    assert {one["level"] for one in report["namespaces"]} == {"none", "bound", "strict"}
    assert {one["severity"] for one in report["findings"]} == {"error", "warning", "note"}
    mounts = [mount for token in report["tokens"] for mount in token["mounts"]]
    states = {(mount["readOnly"], mount["subPath"]) for mount in mounts}
    assert states >= {(True, False), (False, False), (True, True)}


def test_every_fact_of_a_report_is_on_the_page() -> None:
    report = sample(60, complete=False)
    page = parsed(report)
    everything = "\n".join(
        [*page.visible, json.dumps(json.loads(page.texts["script"][0]), ensure_ascii=False)]
    )

    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in leaves(part)]
        if isinstance(value, list):
            return [leaf for part in value for leaf in leaves(part)]
        return [value] if isinstance(value, str) and value else []

    unseen = {text for text in leaves(report) if json.dumps(text)[1:-1] not in everything}
    # The kind of the document, and the sign for the whole cluster, which has words here.
    assert unseen - {"*"} == {"Scan"}


def test_a_text_that_an_attacker_chose_stays_a_text() -> None:
    page = html(hostile())
    for literal in HOSTILE[:6]:
        assert literal not in page.replace("javascript:window", "")
    assert markup.escape(HOSTILE[0]) in page
    assert page.count("</script>") == 2
    assert "eyJhbGciOi" not in page
    assert page.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_clean_text_is_short_and_printable(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) <= MAX_CHARACTERS


def test_markup_escapes_what_is_not_markup() -> None:
    inner = element("b", "<&\"'>")
    assert inner == "<b>&lt;&amp;&quot;&#x27;&gt;</b>"
    assert element("p", inner, "<") == f"<p>{inner}&lt;</p>"
    assert element("a", title='"><', hidden=True, disabled=False, data_x=1, class_="c") == (
        '<a title="&quot;&gt;&lt;" hidden data-x="1" class="c"></a>'
    )
    assert data("</script><!--\u2028") == '"\\u003c/script\\u003e\\u003c!--\\u2028"'


@pytest.mark.parametrize(
    ("seconds", "lifetime", "key"),
    [
        (None, "never", "never"),
        (None, "unknown", "unknown"),
        (31_536_000, "1 year", "year"),
        (31_535_999, "364 d", "days"),
        (86_400, "1 d", "days"),
        (86_399, "23 h", "hours"),
        (3_601, "1 h", "hours"),
        (3_600, "1 h", "hour"),
        (600, "10 min", "hour"),
    ],
)
def test_the_life_of_a_token(seconds: int | None, lifetime: str, key: str) -> None:
    assert life({"lifetimeSeconds": seconds, "lifetime": lifetime}) == key
    assert key in LIVES


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (empty(), "No token was seen."),
        (sample(60), "5 of 60 tokens live for a year or longer."),
        (
            sample(60, complete=False),
            "5 of the 60 tokens that were seen live for a year or longer.",
        ),
        (sample(1), "None of 1 tokens lives for a year or longer."),
    ],
)
def test_the_first_sentence(report: dict[str, Any], sentence: str) -> None:
    assert sentence in parsed(report).visible


def test_what_limits_the_report_stands_above_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    report = sample(60, complete=False)
    report["unread"] = [{"what": f"part {number}", "why": "a right"} for number in range(9)]
    monkeypatch.setattr(tables, "MAX_ROWS", 50)
    visible = parsed(report).visible
    text = "".join(visible)
    assert "This scan is incomplete." in visible
    assert "part 4 (a right) and 4 more." in text
    assert "The first 50 of 60 tokens are on this page; -o json has all of them." in visible
    assert text.index("This scan is incomplete.") < text.index("that were seen live for a year")


def test_without_a_script_the_worst_findings_are_there_and_the_others_are_counted() -> None:
    report = sample(2_000)
    page = parsed(report)
    rows = page.visible.count("error") + page.visible.count("warning") + page.visible.count("note")
    more = len(report["findings"]) - STATIC_ROWS
    assert rows == STATIC_ROWS + 4  # and one in each kind of the summary
    assert f"{more:,} more findings are shown by a script." in page.visible


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_a_width_for_each_of_its_columns(table: str) -> None:
    style = parsed(empty()).texts["style"][0]
    found = re.search(rf'\.grid\[data-table="{table}"\] {{ --columns: ([^;]+); }}', style)
    assert found is not None
    widths = re.findall(r"minmax\([^)]*\)|\S+", found[1])
    assert len(widths) == sum(1 for column in COLUMNS[table] if column.kind != "hidden")


@pytest.mark.filterwarnings("default")
def test_the_wheel_has_the_files_of_the_page(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        wheel = buildapi.build_wheel(str(tmp_path))
    finally:
        os.chdir(before)
    files = set(zipfile.ZipFile(tmp_path / wheel).namelist())
    page = Path("webhook/cli/scan/formats/page")
    assert {f"{page}/page.{suffix}" for suffix in ("html", "css", "js")} <= files
