"""The pages of `boundtoken help` are chapters of docs/reference.md, and docs/checks.md, for
terminals of 80 columns.
"""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.processes import boundtoken
from tests.topics.__main__ import FOLDER, pages
from tests.topics.render import WIDTH, chapter, rendered
from webhook.checks import before, workload
from webhook.checks.installation import checks
from webhook.checks.model import Check
from webhook.cli.help.arguments import TOPICS, sections
from webhook.core import names
from webhook.core.decision import REASONS

PAGES = pages()


@pytest.mark.parametrize("topic", PAGES)
def test_a_page_is_what_make_topics_makes_of_the_reference(topic: str) -> None:
    assert (FOLDER / f"{topic}.txt").read_text() == PAGES[topic], "make topics"
    assert boundtoken("help", topic).stdout == PAGES[topic]


def test_every_topic_has_a_page_and_is_named_in_the_reference() -> None:
    assert set(PAGES) == set(TOPICS) == {path.stem for path in FOLDER.iterdir()}
    section = chapter((ROOT / "docs/reference.md").read_text(), "### Help")
    assert re.findall(r"`([a-z-]+)`", section)[: len(TOPICS)] == list(TOPICS)


@pytest.mark.parametrize("topic", PAGES)
def test_a_page_is_plain_text_of_80_columns(topic: str) -> None:
    text = PAGES[topic]
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert not re.search(r"`|\]\(|\*\*|<br>|\\\||^#", text, re.MULTILINE)


def test_the_pages_have_every_annotation_reason_and_variable() -> None:
    for name in names.FOR_PODS | names.FOR_NAMESPACES:
        assert name in PAGES["annotations"]
    for reason in REASONS:
        assert re.search(rf"^{reason} ", PAGES["reasons"], re.MULTILINE)
    for path in (ROOT / "webhook").rglob("*.py"):
        for variable in re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', path.read_text()):
            assert variable in PAGES["environment"], path


@pytest.mark.parametrize("words", ["help enforcement", "help environment", "serve --help"])
def test_a_terminal_that_shows_ascii_only_gets_escapes(words: str) -> None:
    result = boundtoken(*words.split(), environ={"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, "")
    assert r"\u2026" in result.stdout


def test_without_a_topic_all_are_listed() -> None:
    result = boundtoken("help")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.findall(r"^  ([a-z-]+)  ", result.stdout, re.MULTILINE) == list(TOPICS)


def test_each_check_is_a_section_that_can_be_printed_alone() -> None:
    every: list[Check[Any]] = [*checks(with_token=True), *before.checks(), *workload.checks()]
    found = sections(PAGES["checks"])
    assert list(found) == list(dict.fromkeys(check.id for check in every))
    for check in every:
        text = " ".join(found[check.id].split()).lower()
        assert text.startswith(f"{check.id} {check.sentence}. ".lower())
        assert text.endswith(f"cure: {check.cure}".lower())
    result = boundtoken("help", "checks", "endpoints")
    assert (result.returncode, result.stdout) == (0, found["endpoints"])


@pytest.mark.parametrize("words", ["token", "token request", "help"])
def test_the_help_of_a_command_is_its_own(words: str) -> None:
    result = boundtoken("help", *words.split())
    assert (result.returncode, result.stdout) == (0, boundtoken(*words.split(), "--help").stdout)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("nonsense", "'nonsense' (choose from annotations, "),
        ("token nonsense", "'nonsense' (choose from request, "),
        ("token request x", "'x' (token request is the last)"),
        ("checks nonsense", "'nonsense' (choose from api-server, "),
        ("checks endpoints x", "'x' (checks endpoints is the last)"),
        ("reasons explain", "'explain' (reasons is the last)"),
    ],
)
def test_a_word_that_is_no_command_is_told_what_may_stand_there(words: str, why: str) -> None:
    result = boundtoken("help", *words.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert why in result.stderr


def test_a_wheel_has_the_pages(tmp_path: Path) -> None:
    python = str(BOUNDTOKEN.with_name("python"))
    wheel = [
        python,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(wheel, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    topics = {name for name in zipfile.ZipFile(built).namelist() if "/topics/" in name}
    assert topics == {f"webhook/cli/help/topics/{topic}.txt" for topic in TOPICS}
    # Also where the wheel is read as it stands, as a zip archive of kubectl's plugins is.
    code = f"import sys; sys.path.insert(0, {str(built)!r}); from webhook.cli.help.command import page; print(page('reasons'))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout == PAGES["reasons"] + "\n"


TEXT = """# Page
## One
A **bold** *word*, `code **x**` and [a link](docs/reference.md#y)
goes on.
- an item
  of two lines
- `other`

| a | b |
|---|---|
| `x` | a\\|b<br>c |

| name | one | two |
|---|---|---|
| a very long first cell that is wider than half of the page | | text |

```
as it *is*
```
### Deeper
end
## Two
not this
"""


def test_what_the_reference_uses_of_markdown_becomes_plain() -> None:
    assert rendered("One", chapter(TEXT, "## One")).splitlines() == [
        "ONE", "",
        "A bold word, code **x** and a link goes on.", "",
        "- an item of two lines", "", "- other", "",
        "x  a|b, c", "",
        "a very long first cell that is wider than half of the page",
        "    two: text", "",
        "    as it *is*", "",
        "DEEPER", "", "end",
    ]  # fmt: skip
    assert "Deeper" not in chapter(TEXT, "## One", deeper=False)
    with pytest.raises(ValueError, match="Three"):
        chapter(TEXT, "## Three")
