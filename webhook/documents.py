"""Files that people write: read within a limit, YAML in, plain values out, or the fault with its
place; never runs a tag.

Only what a configuration needs is read: no aliases (nine lines of them make a billion items), no
tags beside YAML's plain ones, no key twice (YAML takes the last one silently), no depth that would
exhaust the stack. The parser is libyaml where PyYAML has it, about eight times as fast; it keeps
places and is handed checked text only, because its composer recurses without a limit.
"""

import os
import re
import reprlib
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from .core.text import quote, truncate
from .errors import BadInput

MAX_DEPTH = 20
"""Mappings and lists inside each other: the configuration has 3, a Namespace 4."""
MAX_FAULTS, MAX_FAULT_CHARS = 30, 400
"""What is told of one file: more than a person mends at once, and a log line of 12 KB."""
MAX_SHOWN_DIGITS = 40
_PLAIN = {
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")
}
_HALVES = re.compile("[\ud800-\udfff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path, limit: int) -> bytes:
    """The content of a regular file, at most one byte more than `limit`, by which a longer one is
    known.

    Why regular only: a pipe keeps its reader waiting for ever.
    Raises: BadInput, without the path
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadInput("must be a regular file, and is a pipe or a device")
            return file.read(limit + 1)
    except OSError as problem:
        raise BadInput(f"must be a readable file: {problem.strerror}") from problem
    except ValueError as problem:
        raise BadInput("must be a readable file: there is a NUL in its name") from problem


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def load(content: bytes, limit: int) -> list[Any]:
    """The YAML documents in a file's content.

    Raises: BadInput, with what is wrong and where, by line and column
    """
    if len(content) > limit:
        raise BadInput(f"must have at most {limit} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        raise BadInput("must be UTF-8") from problem
    try:
        _check(yaml.parse(text, Loader=_LOADER))
        return list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as problem:
        raise BadInput(
            f"{_place(problem.problem_mark)}must be YAML: {problem.problem}"
        ) from problem
    except yaml.YAMLError as problem:
        raise BadInput("must be YAML: a character in it is not allowed") from problem


def refusal(faults: Iterable[str]) -> BadInput:
    """These faults, as many and as long as somebody can read."""
    told = [truncate(fault, MAX_FAULT_CHARS) for fault in faults]
    more = len(told) - MAX_FAULTS
    return BadInput(*told[:MAX_FAULTS], *([f"and {more} more"] if more > 0 else []))


def shown(value: Any) -> str:
    """A value as a fault shows it: short, whatever it is."""
    return quote(value) if isinstance(value, str) else _Short().repr(value)[:60]


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def _check(events: Iterator[yaml.Event]) -> None:
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > MAX_DEPTH:
            raise _Refused(f"at most {MAX_DEPTH} levels are read", event.start_mark)
        if getattr(event, "anchor", None) is not None:
            raise _Refused("anchors and aliases (& and *) are not read", event.start_mark)
        if (tag := getattr(event, "tag", None)) not in (None, "!", *_PLAIN):
            raise _Refused(f"tag {quote(str(tag))} is not read", event.start_mark)
        if _HALVES.search(
            getattr(event, "value", "")
        ):  # libyaml refuses it by itself; nothing could write it down again
            raise _Refused("half a character (surrogate)", event.start_mark)


class _Loader(_LOADER):  # type: ignore[misc]
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Raises: YAMLError, also where a value is none of its kind, which PyYAML meets with nearly
        any exception.
        """
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as problem:
            kind = node.tag.rpartition(":")[2]
            raise _Refused(f"a value is no {kind}", node.start_mark) from problem

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _Refused(f"key {shown(key)} must be a string", key_node.start_mark)
            if key in seen:
                raise _Refused(f"key {shown(key)} is duplicated", key_node.start_mark)
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002
        """Python refuses to write a number of more than 4,300 digits, which YAML can hold."""
        return (
            repr(x)
            if abs(x) < 10**MAX_SHOWN_DIGITS
            else f"a number of more than {MAX_SHOWN_DIGITS} digits"
        )


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
