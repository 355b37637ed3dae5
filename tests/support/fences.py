"""The fenced blocks of README.md and docs/, and what stands above each: the test that runs it, or
why none does.

    <!-- run by tests/FILE.py::TEST -->         the test reads the block from the page
    <!-- not run: WHY -->
    ```text                                     what something prints; needs no mark
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

OTHERS = ("docs/tokens.md", "docs/pipelines.md")
"""Pages with marks of their own: tests/support/pages.py, tests/support/examples.py."""
_FENCE = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A block: its page, the comment above it, its language, its text."""

    page: str
    mark: str
    language: str
    text: str

    @property
    def title(self) -> str:
        return f"{self.page}: {self.text.partition(chr(10))[0][:50].strip()}"


def pages() -> list[Path]:
    """README.md and every page of docs/ that has no marks of its own."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if str(path.relative_to(ROOT)) not in OTHERS]


def fences() -> Iterator[Fence]:
    """Every block of these pages."""
    for path in pages():
        for found in _FENCE.findall(path.read_text()):
            yield Fence(str(path.relative_to(ROOT)), *found)


def run_by(test: str) -> list[Fence]:
    """The blocks that a test runs, by `tests/FILE.py::TEST`."""
    return [fence for fence in fences() if fence.mark == f"run by {test}"]
