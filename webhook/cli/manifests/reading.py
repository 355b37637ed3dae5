"""The manifests that are given: files, folders with their folders, standard input. Texts as they
are, read within limits.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from ... import documents as files
from ...core.text import one_line
from ...errors import BadInput
from ...yamledit import nodes
from ...yamledit.nodes import Document, Refused, Values
from ..input import STANDARD_INPUT, read

SUFFIXES = (".yaml", ".yml", ".json")
"""Of the files of a folder that are read; a file that is named is read whatever its name."""
MAX_BYTES = 32 << 20
"""Of one file: 20 times what the API server takes at once."""
MAX_TOTAL_BYTES = 128 << 20
MAX_FILES = 10_000
MAX_ENTRIES = 200_000
"""Of the folders that are walked, so that `/` comes to an end."""
BYTE_ORDER_MARK = "\ufeff"
Made = TypeVar("Made")


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
    return read_all(given, source_of)


def read_all(
    given: Iterable[str], make: Callable[[str, Path | None, bytes, Values], Made]
) -> list[Made]:
    """What `make` makes of the name, the path and the content of every file. The same Values count
    for all of them.

    Raises: BadInput, with the fault of every file
    """
    found: list[Made] = []
    faults: list[str] = []
    total, counted = 0, Values()
    for name, path in _paths(list(given)):
        try:
            content = _read(path)
            total += len(content)
            if total > MAX_TOTAL_BYTES:
                raise BadInput(f"all files together must have at most {MAX_TOTAL_BYTES} bytes")
            found.append(make(name, path, content, counted))
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


def source_of(
    name: str, path: Path | None, content: bytes, counted: Values | None = None
) -> Source:
    """A file with its documents. Raises: BadInput, Refused"""
    mark, text = decoded(content)
    return Source(name, path, mark, nodes.documents(text, counted))


def values_of(content: bytes, counted: Values) -> list[Document]:
    """The documents of a file that is only read, without their texts: JSON by a parser of JSON,
    which takes more values than YAML, such as a List of a whole cluster.

    Raises: BadInput, Refused
    """
    found = _json(content) if content.lstrip()[:1] == b"{" else None
    loaded = [found] if found is not None else nodes.documents(decoded(content)[1], counted)
    faults = [files.fault_in(one.value, files.MAX_MANIFEST_DEPTH) for one in loaded]
    if any(faults):
        raise BadInput(*dict.fromkeys(filter(None, faults)))
    return loaded


def _json(content: bytes) -> Document | None:
    """The object in JSON; None where it is YAML that only begins like it.

    Raises: BadInput, for a key that is there twice, and for very many values
    """
    if sum(content.count(one) for one in b",[{") > nodes.MAX_ALL_VALUES:
        raise BadInput(f"at most {nodes.MAX_ALL_VALUES} values are allowed")
    try:
        found = msgspec.json.decode(content)
        json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return Document("", found, 1, 1, is_json=True)


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise BadInput("a key is there twice in one map: take one of them out")


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
