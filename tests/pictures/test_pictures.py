"""Pictures of what commands show, made by a script."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.pictures.__main__ import FOLDER, PICTURES, shown, write
from tests.pictures.flow import STEPS, WIDTH, flow
from tests.pictures.svg import CELL, COLUMNS, MARGIN, MAX_BYTES, picture, runs
from tests.support.paths import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_command_shows_now(name: str, tmp_path: Path) -> None:
    made = write(name, PICTURES[name], tmp_path).read_text()
    assert (FOLDER / f"{name}.svg").read_text() == made, "make pictures"
    assert len(made.encode()) < MAX_BYTES
    assert 'class="c32"' in made  # coloured, as on a terminal


def test_every_picture_that_is_there_is_on_a_page() -> None:
    pages = "".join(
        path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    )
    assert [
        path.name
        for path in FOLDER.glob("*.svg")
        if f"(pictures/{path.name})" not in pages and f"(docs/pictures/{path.name})" not in pages
    ] == []


def test_the_picture_of_the_flow_is_what_the_script_draws() -> None:
    made = flow()
    assert (FOLDER / "flow.svg").read_text() == made, "make pictures"
    texts = [
        (float(text.get("x", "")), "".join(text.itertext()))
        for text in ET.fromstring(made).iter(f"{SVG}text")
    ]
    assert [text for _, text in texts if any(step.title == text for step in STEPS)] == [
        step.title for step in STEPS
    ]
    assert [text for x, text in texts if x + 7 * len(text) > WIDTH] == []  # of 14 px
    assert not re.search(r"url\(|@import|href|http(?!://www\.w3\.org/2000/svg)", made)


def test_text_is_text_and_nothing_is_loaded_from_elsewhere() -> None:
    made = picture('x <"&>', "\x1b[1m<script>\x1b[0m & \x1b]0;title\x07\x1b[2Jend")
    root = ET.fromstring(made)
    assert ["".join(text.itertext()) for text in root.iter(f"{SVG}text")] == [
        '$ x <"&>',
        "<script>",
        " & end",
    ]
    assert {element.tag for element in root.iter()} <= {
        SVG + tag for tag in ("svg", "title", "style", "rect", "text")
    }
    assert not re.search(r"url\(|@import|href|http(?!://www\.w3\.org/2000/svg)", made)


def test_columns_stand_below_each_other() -> None:
    root = ET.fromstring(picture("x", "ab\x1b[31mcd\x1b[0m\n日本\x1b[31mcd"))
    _, _, first, _, second = root.iter(f"{SVG}text")
    assert (first.get("x"), second.get("x")) == (f"{MARGIN + 2 * CELL:g}", f"{MARGIN + 4 * CELL:g}")
    assert (first.get("class"), first.get("textLength")) == ("c31", f"{2 * CELL:g}")


def test_a_progress_bar_leaves_what_it_has_shown_last() -> None:
    assert "10 pods" not in (made := picture("x", "10 pods\r20 pods\r\n30 pods"))
    assert "20 pods" in made
    assert "30 pods" in made


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a\x1b[1;31mb\x1b[32mc\x1b[22md\x1b[39me\x1b[mf", ["", "b c31", "b c32", "c32", "", ""]),
        ("\x1b[2ma\x1b[0;99mb", ["d", ""]),
    ],
)
def test_what_looks_alike_is_one_run(line: str, expected: list[str]) -> None:
    assert [run.classes for run in runs(line)] == expected


def test_a_picture_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 100000"):
        picture("x", "line\n" * 10_000)


def test_a_command_has_a_terminal_of_80_columns() -> None:
    assert shown("sh -c 'test -t 1 && test -t 2 && stty size'") == f"50 {COLUMNS}\r\n"
