"""JSON and YAML: the report as it is. What is not ASCII is escaped, so that no text of an object
steers a terminal.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ....scanning.report import Report

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9/._-]*")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""What YAML 1.1 takes for something else than a text."""
_ESCAPED = re.compile(r"[^ -~]|[\"\\]")
_NOT_ASCII = re.compile(r"[^\n -~]")
_NO_COMPARISON = b',"since":null}'


def render_json(report: Report) -> str:
    text = msgspec.json.format(_encoded(report), indent=2).decode() + "\n"
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def render_yaml(report: Report) -> str:
    """Written by hand: an emitter of YAML takes ten times as long, and twice the memory."""
    return "".join(_members(plain(report), ""))


def _members(value: dict[str, Any], indent: str) -> Iterator[str]:
    """The lines of a mapping; its first line is indented by who wrote what is before it."""
    first = ""
    for key, member in value.items():
        if isinstance(member, dict):
            yield f"{first}{key}:\n{indent}  "
            yield from _members(member, f"{indent}  ")
        elif isinstance(member, list) and member:
            yield f"{first}{key}:\n"
            yield from _items(member, indent)
        else:
            yield f"{first}{key}: {_scalar(member)}\n"
        first = indent


def _items(values: list[Any], indent: str) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            yield f"{indent}- "
            yield from _members(value, f"{indent}  ")
        else:
            yield f"{indent}- {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        return f'"{_ESCAPED.sub(_escape, value)}"'
    return "[]" if value == [] else json.dumps(value)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] in '"\\':
        return f"\\{found[0]}"
    return (
        f"\\x{code:02x}"
        if code < 1 << 8
        else f"\\u{code:04x}"
        if code < 1 << 16
        else f"\\U{code:08x}"
    )


def plain(report: Report) -> Any:
    """The report as JSON has it."""
    return msgspec.json.decode(_encoded(report))


def _encoded(report: Report) -> bytes:
    text = msgspec.json.encode(report)
    # It is the last member, and only there in a comparison.
    return text.removesuffix(_NO_COMPARISON) + b"}" if report.since is None else text
