r"""What Zensical is given: the pages of docs/, and beside them every file of the repository that
one of them links to, so that a link leads somewhere on the site too. A page of the repository
becomes a page; any other file a page that shows it.

A forge and Python-Markdown differ in two things, which are settled here: a list right below a
paragraph needs a blank line, and `\|` in the code of a table's cell is a bar.
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

REPOSITORY = "repository"
"""The site's folder of what is not in docs/."""
LANGUAGES = {".yaml": "yaml", ".sh": "sh", ".py": "python", "": "text"}
MAX_BYTES = 200_000
"""Of a file that is shown on a page."""
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"`[^`\n]*`")
_ITEM = re.compile(r"(?m)^(?![-|#<>\s]|\d+\. )(.+)\n(?=- |\d+\. )")
_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)


class BadLink(Exception):
    """A link that leads nowhere, or to what cannot be on a page."""


def staged(root: Path) -> dict[str, bytes]:
    """Every file of the site's source by its path.

    Raises: BadLink, with the page, for a link to what is not there, to a folder, or to a file of
        more than MAX_BYTES
    """
    kept = (path for path in (root / "docs").rglob("*") if path.suffix in (".md", ".svg", ".png"))
    waiting = sorted(str(path.relative_to(root)) for path in kept)
    made: dict[str, bytes] = {}
    while waiting:
        source = waiting.pop()
        file = root / source
        if source.endswith(".md"):
            linked: set[str] = set()
            text = _page(file.read_text(encoding="utf-8"), _rewriter(root, source, linked))
            made[_target(source)] = text.encode()
            waiting += sorted(path for path in linked if _target(path) not in made)
        elif source.startswith("docs/"):
            made[_target(source)] = file.read_bytes()
        else:
            made[_target(source)] = _shown(file, source)
    return made


def _target(source: str) -> str:
    """Where a file of the repository stands among the site's pages."""
    if source.startswith("docs/") and Path(source).suffix in (".md", ".svg", ".png"):
        return source.removeprefix("docs/")
    page = source if source.endswith(".md") else source.replace(".", "-") + ".md"
    return f"{REPOSITORY}/{page}"


def _page(text: str, link: Callable[[re.Match[str]], str]) -> str:
    """A page as Python-Markdown reads it, with its links rewritten; code stays as it is."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_prose(text[end : fence.start()], link), fence[0]]
        end = fence.end()
    return "".join([*parts, _prose(text[end:], link)])


def _prose(text: str, link: Callable[[re.Match[str]], str]) -> str:
    text = _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0]), text)
    text = _ITEM.sub(r"\1\n\n", text)
    kept = _CODE.findall(text)
    return "".join(
        part + code
        for part, code in zip(
            (_LINK.sub(link, part) for part in _CODE.split(text)), [*kept, ""], strict=True
        )
    )


def _rewriter(root: Path, source: str, linked: set[str]) -> Callable[[re.Match[str]], str]:
    here = posixpath.dirname(_target(source)) or "."

    def rewrite(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        file = root / path
        if not file.is_file() or file.stat().st_size > MAX_BYTES:
            raise BadLink(f"{source}: {found[2]} is no file that can be on a page")
        linked.add(path)
        return found[1] + posixpath.relpath(_target(path), here) + found[3]

    return rewrite


def _shown(file: Path, path: str) -> bytes:
    text = file.read_text(encoding="utf-8").rstrip("\n")
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall(r"`{3,}", text))])
    return f"# {path}\n\n{fence} {LANGUAGES.get(file.suffix, 'text')}\n{text}\n{fence}\n".encode()
