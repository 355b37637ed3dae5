"""YAML files that people write: parsed within limits into plain values, or refused with the place
of the fault.

Not allowed: aliases (nine lines of them can make a billion items), tags other than YAML's own,
duplicate keys (YAML silently takes the last one), and a depth that would exhaust the stack. The
parser is libyaml where PyYAML has it, which is about eight times as fast. Its events are checked
before the text is composed, because the composer recurses without a limit.
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
"""Of nested mappings and lists: the configuration has 3, a Namespace 4."""
MAX_MANIFEST_DEPTH = 100
"""Of manifests: a CustomResourceDefinition may have 50. The stack is enough for some 400."""
MAX_FAULTS, MAX_FAULT_CHARS = 30, 400
"""Shown of one file: more than a person corrects at once, and a log line of at most 12 KB."""
MAX_SHOWN_DIGITS = 40
MAX_NUMBER = 10**MAX_SHOWN_DIGITS
"""YAML can have numbers of more than 4,300 digits, which Python refuses to format."""
_PLAIN = {
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path, limit: int) -> bytes:
    """The content of a regular file, at most `limit` + 1 bytes: one more than allowed shows that it
    is too long.

    Why a regular one: reading a pipe may block for ever.

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
        raise BadInput("must be a readable file: its name contains NUL") from problem


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def load(content: bytes, limit: int, max_depth: int = MAX_DEPTH) -> list[Any]:
    """The YAML documents in a file's content.

    Raises: BadInput, with the fault and its line and column
    """
    if len(content) > limit:
        raise BadInput(f"must have at most {limit} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        raise BadInput("must be UTF-8") from problem
    try:
        _check(yaml.parse(text, Loader=_LOADER), max_depth)
        return list(yaml.load_all(text, _Loader))
    except yaml.MarkedYAMLError as problem:
        raise BadInput(
            f"{_place(problem.problem_mark)}must be YAML: {problem.problem}"
        ) from problem
    except yaml.YAMLError as problem:
        raise BadInput("must be YAML: a character in it is not allowed") from problem


def fault_in(document: Any, max_depth: int) -> str:
    """What of a document, from JSON or YAML, could not be copied or written again; may be empty."""
    level = [document]
    for _ in range(max_depth + 1):
        if any(isinstance(value, int) and abs(value) > MAX_NUMBER for value in level):
            return f"numbers of more than {MAX_SHOWN_DIGITS} digits are not allowed"
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return ""
    return f"at most {max_depth} levels are allowed"


def refusal(faults: Iterable[str]) -> BadInput:
    """An exception with these faults, of which the first MAX_FAULTS are shown."""
    texts = [truncate(fault, MAX_FAULT_CHARS) for fault in faults]
    more = len(texts) - MAX_FAULTS
    return BadInput(*texts[:MAX_FAULTS], *([f"and {more} more"] if more > 0 else []))


def shown(value: Any) -> str:
    """A short text of any value, for a fault."""
    return quote(value) if isinstance(value, str) else _Short().repr(value)[:60]


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def _check(events: Iterator[yaml.Event], max_depth: int) -> None:
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > max_depth:
            raise _Refused(f"at most {max_depth} levels are allowed", event.start_mark)
        if getattr(event, "anchor", None) is not None:
            raise _Refused("anchors and aliases (& and *) are not allowed", event.start_mark)
        if (tag := getattr(event, "tag", None)) not in (None, "!", *_PLAIN):
            raise _Refused(f"tag {quote(str(tag))} is not allowed", event.start_mark)
        # libyaml refuses it by itself; PyYAML's own parser does not, and no text could show it.
        if _SURROGATE.search(getattr(event, "value", "")):
            raise _Refused("surrogates are not allowed", event.start_mark)


class _Loader(_LOADER):  # type: ignore[misc]
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Raises: YAMLError, also for a value that does not fit its tag, for which PyYAML raises
        nearly any exception.
        """
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as problem:
            kind = node.tag.rpartition(":")[2]
            raise _Refused(f"a value is not a valid {kind}", node.start_mark) from problem

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _Refused(f"key {shown(key)} must be a string", key_node.start_mark)
            if key in seen:
                raise _Refused(f"key {shown(key)} is duplicated", key_node.start_mark)
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002
        return (
            repr(x) if abs(x) < MAX_NUMBER else f"a number of more than {MAX_SHOWN_DIGITS} digits"
        )


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
