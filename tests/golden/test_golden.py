"""`boundtoken inject` gives what the golden files say, and what it gives leads back."""

from pathlib import Path

import pytest

from tests.golden.cases import folders, results, run, the_input, there


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_it_gives_what_the_files_say(folder: Path) -> None:
    assert results(folder) == there(folder), "make golden shows the difference"


GIVING = [folder for folder in folders() if list(folder.glob("output.*"))]


@pytest.mark.parametrize("folder", GIVING, ids=lambda folder: folder.name)
def test_uninject_gives_the_input_and_inject_changes_its_own_output_no_more(folder: Path) -> None:
    (output,) = folder.glob("output.*")
    words = (folder / "arguments").read_text().split("\n")[:-1]
    paths = [word for word in words if word.startswith("--template-path")]
    assert run(["uninject", output.name, *paths], folder)[:2] == (0, the_input(folder).read_bytes())
    assert run(["inject", output.name, *words], folder)[:2] == (0, output.read_bytes())
    assert run(["diff", output.name, *words], folder)[:2] == (0, b"")
