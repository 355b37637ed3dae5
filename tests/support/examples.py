"""The examples of docs/pipelines.md, as they stand in the page.

Before each block stands a comment, `<!-- example: FILE -->`, that names it. What a test replaces is
what only the reader has: the address of the cluster, paths of the machine, and programs that would
fetch something from the internet.
"""

import re
from pathlib import Path

from tests.support.paths import ROOT

PAGE = ROOT / "docs/pipelines.md"
MARKED = re.compile(r"^<!-- example: (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\w", re.MULTILINE)
CLUSTER = "https://kubernetes.example.com"


def examples(page: Path = PAGE) -> dict[str, str]:
    """Every example by its file.

    Raises: ValueError, for a block without a name, and for a name that two have
    """
    text = page.read_text()
    found = MARKED.findall(text)
    if len(found) != len(BLOCK.findall(text)):
        raise ValueError(f"{page}: a block has no name")
    if len(dict(found)) != len(found):
        raise ValueError(f"{page}: two blocks have one name")
    return dict(found)
