"""Values as lines of block style, or in flow style on one line or several."""

import dataclasses
import json
from typing import Any

from . import scalars


@dataclasses.dataclass(frozen=True)
class Style:
    """How a document is written."""

    newline: str = "\n"
    step: int = 2
    """Columns from a map to a map in it."""
    dash: int = 0
    """Columns from a key to the dashes of its list."""
    is_json: bool = False
    """Keys and strings are in double quotes."""
    comma: str = ", "
    colon: str = ": "
    indent: str = "  "
    """Of one level of JSON on several lines."""


def block(value: Any, column: int, style: Style) -> list[str]:
    """A map or list that is not empty, as lines."""
    pad = " " * column
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _entry(key, item, column, style)]
    lines = []
    for item in value:
        first, *others = block(item, column + 2, style) if _is_block(item) else [flow(item, style)]
        lines += [f"{pad}- {first.lstrip()}", *others]
    return lines


def _entry(key: str, value: Any, column: int, style: Style) -> list[str]:
    name = " " * column + scalars.written(key) + ":"
    if not _is_block(value):
        return [f"{name} {flow(value, style)}"]
    deeper = column + (style.step if isinstance(value, dict) else style.dash)
    return [name, *block(value, deeper, style)]


def _is_block(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)


def flow(value: Any, style: Style, pad: str | None = None) -> str:
    """A value in flow style: on one line, or on several with `pad` before them."""
    if style.is_json and pad is not None and _is_block(value):
        text = json.dumps(value, indent=style.indent, ensure_ascii=False)
        return text.replace("\n", style.newline + pad)
    if isinstance(value, dict):
        entries = (
            f"{scalar(key, style)}{style.colon}{flow(item, style)}" for key, item in value.items()
        )
        return "{" + style.comma.join(entries) + "}"
    if isinstance(value, list):
        return "[" + style.comma.join(flow(item, style) for item in value) + "]"
    return scalar(value, style)


def scalar(value: Any, style: Style) -> str:
    """A scalar, in double quotes where the document is JSON."""
    return scalars.written(value, quote='"' if style.is_json else "")
