"""The manifests that are given: files, folders with their folders, standard input. Texts as they
are, read within limits.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from ... import documents as files
from ...core.text import one_line
from ...errors import BadInput
from ...yamledit import nodes
from ...yamledit.nodes import Document, Refused, Values
from ..input import STANDARD_INPUT, read

T = TypeVar("T")
SUFFIXES = (".yaml", ".yml", ".json")
"""Of the files of a folder that are read; a file that is named is read whatever its name."""
MAX_BYTES = 32 << 20
"""Of one file: 20 times what the API server takes at once."""
MAX_TOTAL_BYTES = 128 << 20
MAX_FILES = 10_000
MAX_ENTRIES = 200_000
"""Of the folders that are walked, so that `/` comes to an end."""
BYTE_ORDER_MARK = "\ufeff"


class Source(NamedTuple):
    """A file: its name for messages, its path (none of standard input), and its documents.

    `mark` is the byte order mark that the text began with, or empty.
    """

    name: str
    path: Path | None
    mark: str
    documents: list[Document]

    @property
    def text(self) -> str:
        return self.mark + "".join(document.text for document in self.documents)


def sources(given: Iterable[str]) -> list[Source]:
    """Every file that is given, once, in order.

    Raises: BadInput, with the fault of every file
    """
    return from_files(given, _source)


def from_files(
    given: Iterable[str], made_of: Callable[[str, Path | None, bytes, Values], T]
) -> list[T]:
    """What is made of the name, path and content of every file, once, in order. The same Values
    count for all of them.

    Raises: BadInput, with the fault of every file
    """
    found: list[T] = []
    faults: list[str] = []
    total, counted = 0, Values()
    for name, path in _paths(list(given)):
        try:
            content = _read(path)
            total += len(content)
            if total > MAX_TOTAL_BYTES:
                raise BadInput(f"all files together must have at most {MAX_TOTAL_BYTES} bytes")
            found.append(made_of(name, path, content, counted))
        except Refused as problem:
            faults.append(one_line(f"{name}: {problem}"))
        except BadInput as problem:
            faults += [one_line(f"{name}: {fault}") for fault in problem.faults]
            if total > MAX_TOTAL_BYTES:
                break
    if faults:
        raise files.refusal(faults)
    return found


def _read(path: Path | None) -> bytes:
    content = read(STANDARD_INPUT, MAX_BYTES) if path is None else files.read(path, MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise BadInput(f"must have at most {MAX_BYTES} bytes")
    return content


def _source(name: str, path: Path | None, content: bytes, counted: Values | None = None) -> Source:
    mark, text = decoded(content)
    return Source(name, path, mark, nodes.documents(text, counted))


def decoded(content: bytes) -> tuple[str, str]:
    """The byte order mark, which may be empty, and the text. Raises: BadInput"""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BadInput("must be UTF-8") from None
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    return mark, text.removeprefix(mark)


def _paths(given: list[str]) -> Iterator[tuple[str, Path | None]]:
    """Raises: BadInput"""
    seen: set[Path | None] = set()
    budget = [MAX_ENTRIES]
    count = 0
    for text in given:
        if "://" in text:
            raise BadInput(
                f"{text}: a URL is not read, because what it serves may change between two runs: "
                "download it, or give it as standard input (-)"
            )
        for name, path in _below(text, budget):
            if path in seen:
                continue
            seen.add(path)
            count += 1
            if count > MAX_FILES:
                raise BadInput(f"{text}: at most {MAX_FILES} files")
            yield name, path


def _below(text: str, budget: list[int]) -> Iterator[tuple[str, Path | None]]:
    if text == STANDARD_INPUT:
        yield "standard input", None
        return
    if not text:
        raise BadInput("the name of a file must not be empty")
    path = Path(text)
    if not os.path.isdir(text):  # noqa: PTH112  (false, and no error, for a name with NUL)
        yield text, path
        return
    for folder, folders, names in os.walk(path):  # links to folders are not followed
        folders.sort()
        budget[0] -= len(folders) + len(names)
        if budget[0] < 0:
            raise BadInput(f"{text}: at most {MAX_ENTRIES} files and folders are looked at")
        for name in sorted(names):
            if name.endswith(SUFFIXES):
                file = Path(folder) / name
                yield str(file), file
