"""User text inside our sentences: quoted, without control characters, cut to a length; never raises."""

import re
from collections.abc import Iterable

from . import names

_DISPLAYED = re.compile(names.DISPLAYED_AUDIENCE)


def quoted(text: str, most: int = 60) -> str:
    """`text` in double quotes, unprintable characters escaped, cut after `most` characters.

    Why: one control character makes the API server drop the whole warning (net.NewWarningHeader).
    """
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return '"' + "".join(char if char.isprintable() else _escaped(char) for char in kept) + '"'


def displayed(audience: str) -> str:
    """An audience in double quotes as it stands; what is no plain one is not shown, because CEL cannot escape it."""
    return f'"{audience}"' if _DISPLAYED.fullmatch(audience) else "(not shown)"


def cut(sentence: str, most: int = names.MAX_WARNING_CHARS) -> str:
    """`sentence`, with an ellipsis where it was longer than `most` characters."""
    return sentence if len(sentence) <= most else sentence[: most - 1] + "…"


def limited(sentences: Iterable[str], where: str = "") -> tuple[str, ...]:
    """Warnings of a length and a number that reach their reader; the last says how many more there are, and where."""
    said = [cut(sentence) for sentence in sentences]
    if len(said) <= names.MAX_WARNINGS:
        return tuple(said)
    return (*said[: names.MAX_WARNINGS], f"{names.DOMAIN}*: and {len(said) - names.MAX_WARNINGS} more{where}")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
