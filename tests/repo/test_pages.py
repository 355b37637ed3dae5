"""Every block of docs/tokens.md says what it is, so that a test runs it."""

from pathlib import Path

import pytest

from tests.support import pages
from tests.support.paths import ROOT

MARKED = "<!-- sender: a -->\n```python\nprint(1)\n```\n"
MANIFEST = "<!-- manifest: sender -->\n```yaml\nkind: Pod\n---\nkind: Role\n```\n"


def page_of(folder: Path, text: str) -> pages.Page:
    (folder / "page").write_text(text)
    return pages.page(folder / "page")


@pytest.mark.parametrize(
    "path", [pages.TOKENS, ROOT / "tests/cluster_e2e/programs/page.md"], ids=lambda path: path.stem
)
def test_every_block_of_a_page_says_what_it_is(path: Path) -> None:
    assert pages.page(path).unmarked == []


def test_every_program_has_a_pod_and_every_receiver_that_is_named_is_there() -> None:
    page = pages.page()
    for program in page.programs.values():
        assert page.pod(program)["metadata"]["namespace"] == "shop"
        assert not program.to or page.programs[program.to].role == "receiver"


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n",
        "<!-- sender: a -->\n\n```python\nprint(1)\n```\n",
        "<!-- sneder: a -->\n```python\nprint(1)\n```\n",
        "<!-- sender: a -->\n```yaml\nkind: Pod\n```\n",
        "```go\npackage main\n```\n",
        "```yaml\nkind: Pod\n```\n",
    ],
)
def test_a_block_that_says_nothing_is_found(tmp_path: Path, text: str) -> None:
    found = page_of(tmp_path, MARKED + text)
    assert (list(found.programs), len(found.unmarked)) == (["a"], 1)


def test_a_program_knows_its_role_its_receiver_and_its_pod(tmp_path: Path) -> None:
    other = MARKED.replace("a -->", "b to c -->").replace("1", "2")
    found = page_of(tmp_path, MANIFEST + MARKED + other)
    first, second = found.programs.values()
    assert first == ("sender", "a", "", "python", "print(1)\n")
    assert second == ("sender", "b", "c", "python", "print(2)\n")
    assert (found.pod(first), found.others()) == ({"kind": "Pod"}, [{"kind": "Role"}])


def test_a_name_is_of_one_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two programs have the name a"):
        page_of(tmp_path, MARKED + MARKED)
