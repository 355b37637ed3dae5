"""The golden cases of `boundtoken inject`: one folder each, with what goes in and what comes out.

arguments   of the command, one on a line
input.*     the manifest, as it is given
output.*    what is printed; none where the manifest is refused
report.json what --report json says, or report.txt, the messages of a refusal
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT
from webhook.cli.main import main

FOLDER = ROOT / "tests/golden/cases"


def folders() -> list[Path]:
    return sorted(path for path in FOLDER.iterdir() if path.is_dir())


def the_input(folder: Path) -> Path:
    (path,) = folder.glob("input.*")
    return path


def results(folder: Path) -> dict[str, bytes]:
    """What the command gives now, by the name of its file."""
    path = the_input(folder)
    words = (folder / "arguments").read_text().split("\n")[:-1]
    code, output, errors = run(["inject", path.name, "--report", "json", *words], folder)
    assert code in (0, 2), errors
    if code:
        return {"report.txt": errors}
    return {f"output{path.suffix}": output, "report.json": errors}


def run(words: list[str], folder: Path) -> tuple[int, bytes, bytes]:
    """The exit code, standard output and standard error of a command in this folder."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    errors = io.StringIO()
    with (
        _inside(folder),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        code = main(words)
    output.flush()
    return code, output.buffer.getvalue(), errors.getvalue().encode()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def there(folder: Path) -> dict[str, bytes]:
    """What the files say that it gives."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name.startswith(("output.", "report."))
    }
