"""Scalars: what a plain one means, and how a value is written.

A plain scalar means what it means to Kubernetes, whose parser reads YAML 1.1: `yes` and `on` are
booleans, and so are `y` and `n`, which PyYAML takes for texts.
"""

import json
import math
import re
from typing import Any

_NULLS = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")
_BOOLEANS = {
    form: value
    for words, value in ((_TRUE, True), (_FALSE, False))
    for word in words
    for form in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII)
_OTHER_INTEGER = re.compile(r"[-+]?(0b[01]{1,60}|0o?[0-7]{1,20}|0x[0-9a-fA-F]{1,15})", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][-+]?[0-9]{1,4})?", re.ASCII
)
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII)
"""What is written without quotes: it means the same to every parser."""
_RESERVED = {*_NULLS, *_BOOLEANS}
_ESCAPED = re.compile("[^ !#-\\[\\]-~\xa1-\ud7ff\ue000-\ufefe\uff00-\ufffd]")


def resolved(text: str) -> Any:
    """The value of a plain scalar. A number that JSON cannot have stays its text."""
    if text in _NULLS or text in _BOOLEANS:
        return _BOOLEANS.get(text)
    return _number(text) if text[0] in "+-.0123456789" else text


def _number(text: str) -> int | float | str:
    plain = text if text[0] == "." else text.replace("_", "")
    if _INTEGER.fullmatch(plain):
        return int(plain)
    if _OTHER_INTEGER.fullmatch(plain):
        return _other_integer(plain)
    number = float(plain) if _FLOAT.fullmatch(plain) else math.inf
    return number if math.isfinite(number) else text


def _other_integer(text: str) -> int:
    digits = text.lstrip("+-").replace("o", "")
    base = {"x": 16, "b": 2}.get(digits[1], 8)
    number = int(digits[2:] if base != 8 else digits, base)  # noqa: PLR2004  (octal)
    return -number if text.startswith("-") else number


def written(value: Any, *, quote: str = "") -> str:
    """A scalar on one line. `quote` is the quote of the scalar that it replaces."""
    if not isinstance(value, str):
        return json.dumps(value)
    if not quote and _PLAIN.fullmatch(value) and value not in _RESERVED:
        return value
    if quote != '"' and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return double_quoted(value)


def double_quoted(value: str) -> str:
    """A string in double quotes, for YAML and for JSON."""
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def _escape(match: re.Match[str]) -> str:
    # JSON knows no \U, and YAML no pair of surrogates.
    return json.dumps(match[0])[1:-1] if ord(match[0]) <= 0xFFFF else match[0]  # noqa: PLR2004  (the basic plane)
