"""Documents: what is cited is there, and links between documents lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.paths import ROOT
from webhook.cli.main import parser
from webhook.tokens.audit.trace import Request
from webhook.tokens.audit.watch import Finding
from webhook.tokens.inspection.description import inspect, report
from webhook.tokens.inspection.verification import Verification

FOLDERS = (".ci", ".github", "certs", "docs", "manifests", "tests", "webhook")
TEXTS = {".md", ".py", ".sh", ".toml", ".yaml", ".yml", ".go", ""}
URL = re.compile(r"(?:https?://|\}\}/)\S+")  # or what a template of the chart makes one of
CITATION = re.compile(r"(?<![\w./-])[\w./-]*\w\.md\b")
SECTION = re.compile(r"([\w./-]*\w\.md),? sections? (\d+)(?: and (\d+))?")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
OURS = re.compile(r"`((?:certs|docs|manifests|tests|webhook)/[\w./-]*)`")
COMMAND = re.compile(r"(?:^|\| |`)boundtoken ((?!/)[a-z][^|`#\n]*)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def texts() -> Iterator[Path]:
    """Every file that people write and that may name a document."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXTS)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts:
                yield path


FILES = sorted(path for path in texts() if ".md" in path.read_text(errors="ignore"))
DOCUMENTS = sorted(path for path in texts() if path.suffix == ".md")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def document(cited: str, where: Path) -> Path | None:
    """The file that a citation means: by its path from the root, or beside the file that cites
    it; in the settings of the site, by its place on the site.
    """
    cited = cited.removeprefix("repository/")
    places = [ROOT / cited.lstrip("/"), where.parent / cited]
    if where.name == "zensical.toml":
        places.append(ROOT / "docs" / cited)
    return next((path for path in places if path.is_file()), None)


def anchors(path: Path) -> set[str]:
    """What a link may name behind `#`: the headings, spelled as a forge does."""
    headings = HEADING.findall(FENCE.sub("", path.read_text()))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_document_that_is_cited_exists(path: Path) -> None:
    text = URL.sub("", path.read_text())
    assert [cited for cited in CITATION.findall(text) if document(cited, path) is None] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_section_that_is_cited_exists(path: Path) -> None:
    for cited, *numbers in SECTION.findall(path.read_text()):
        found = document(cited, path)
        assert found is not None, cited
        there = re.findall(r"^## (\d+)\. ", found.read_text(), re.MULTILINE)
        assert [number for number in numbers if number and number not in there] == [], cited


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_of_ours_that_a_document_names_exists(path: Path) -> None:
    assert [named for named in OURS.findall(path.read_text()) if not (ROOT / named).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(CODE.sub("", FENCE.sub("", path.read_text()))):
        if ":" in target.partition("#")[0]:
            continue
        file, _, anchor = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def commands(path: Path) -> Iterator[str]:
    """Every command line of ours that a document shows as code."""
    text = path.read_text()
    for code in (*FENCE.findall(text), *CODE.findall(FENCE.sub("", text))):
        yield from (found.strip() for found in COMMAND.findall(code))


def parses(words: list[str]) -> bool:
    try:
        parser().parse_args(words)
    except SystemExit as problem:
        return not problem.code
    return True


LEFT_OUT: tuple[list[str], ...] = (
    *([], ["FILE"], ["ACCOUNT", "COMMAND"], ["ACCOUNT", "--to", "DIR"]),
    ["bash"],
)
"""What a command needs, and a sentence about it leaves out."""


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_of_ours_that_a_document_shows_exists(path: Path) -> None:
    lines = [shlex.split(command) for command in commands(path)]
    unknown = [words for words in lines if not any(parses([*words, *more]) for more in LEFT_OUT)]
    assert unknown == []


def test_the_list_of_decisions_has_each_with_its_title_and_status() -> None:
    rows = []
    for path in sorted((ROOT / "docs/decisions").glob("[0-9]*")):
        title, status = re.findall(r"^(?:# \d+\. |Status: )(.+)$", path.read_text(), re.MULTILINE)
        rows.append(f"| [{path.name[:4]}]({path.name}) | {title} | {status} |")
    page = (ROOT / "docs/decisions/README.md").read_text()
    assert re.findall(r"^\| \[.+\|$", page, re.MULTILINE) == rows


def test_the_pages_for_admins_show_commands_of_every_group() -> None:
    pages = (ROOT / "README.md", ROOT / "docs/operations.md", ROOT / "docs/emergency.md")
    shown = {command.split()[0] for page in pages for command in commands(page)}
    assert {"certs", "config", "export"} <= shown


def test_the_json_of_the_token_commands_is_described() -> None:
    rows = dict(
        re.findall(
            r"^\| `token ([a-z -]+)` \|[^|]*\| (.*) \|$",
            (ROOT / "docs/reference.md").read_text(),
            re.MULTILINE,
        )
    )
    inspection = inspect("eyJhbGciOiJub25lIn0.e30.", 0.0)
    made = {
        "inspect": [*report(inspection, 0.0), "file", "verifications", *Verification._fields],
        "trace": [field.encode_name for field in msgspec.structs.fields(Request)],
        "watch": [field.encode_name for field in msgspec.structs.fields(Finding)],
    }
    for command, fields in made.items():
        assert set(fields) <= set(re.findall(r"`(\w+)`", rows[command])), command
