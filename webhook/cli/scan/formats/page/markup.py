"""Markup in which every text is escaped unless it is markup itself, and texts of a cluster that
are fit to be shown.
"""

import html
import json
from typing import Any

from .....core.text import one_line, truncate, without_tokens

MAX_CHARACTERS = 1_000
"""Of one text of a cluster. Names are shorter by far; an annotation may have 256 KiB."""
_SCRIPT_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}


class Markup(str):
    """HTML that is whole and safe: it is never escaped again."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | int | bool) -> Markup:
    """An element. Texts are escaped, Markup is not. An attribute is spelled with `_` for `-`, and
    with one more at the end where Python has the word; true stands for one without a value.
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is False:
            continue
        spelled = name.rstrip("_").replace("_", "-")
        parts.append(f" {spelled}" if value is True else f' {spelled}="{html.escape(str(value))}"')
    return Markup("".join([*parts, ">", *map(_escaped, children), f"</{tag}>"]))


def joined(*children: str) -> Markup:
    """Markup of several parts, one after the other."""
    return Markup("".join(map(_escaped, children)))


def data(value: Any) -> Markup:
    """JSON for a script element that is no script: ASCII without anything that could end the
    element, or begin a comment or a script in it.

    Source: HTML Living Standard, section 4.12.1.3, restrictions for contents of script elements
    """
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.translate(_SCRIPT_ESCAPES))


def clean(text: str) -> str:
    """A text of a cluster in one line: bounded, without tokens, and with escapes for what is not
    printable, such as characters that turn the direction of what follows.
    """
    return truncate(one_line(without_tokens(truncate(text, MAX_CHARACTERS))), MAX_CHARACTERS)


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text)
