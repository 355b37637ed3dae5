"""User text inside our sentences: quoted, without control characters, cut to a length; never
raises.
"""

import re
from collections.abc import Iterable
from itertools import islice

from . import names

_DISPLAYED = re.compile(names.DISPLAYED_AUDIENCE)


def quote(text: str, most: int = 60) -> str:
    """`text` in double quotes, unprintable characters escaped, cut after `most` characters.

    Why: one control character makes the API server drop the whole warning (net.NewWarningHeader).
    """
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return '"' + "".join(char if char.isprintable() else _escaped(char) for char in kept) + '"'


def displayed(audience: str) -> str:
    """An audience in double quotes as it stands; what is no plain one is not shown, because CEL
    cannot escape it.
    """
    return f'"{audience}"' if _DISPLAYED.fullmatch(audience) else "(not shown)"


def truncate(sentence: str, most: int = names.MAX_WARNING_CHARS) -> str:
    """`sentence`, with an ellipsis where it was longer than `most` characters."""
    return sentence if len(sentence) <= most else sentence[: most - 1] + "…"


def truncate_bytes(text: str, most: int = names.MAX_AUDIT_BYTES) -> str:
    """`text`, with an ellipsis where it was longer than `most` bytes of UTF-8."""
    if len(text) * 4 <= most or len(encoded := text.encode(errors="replace")) <= most:
        return text
    return encoded[: most - 3].decode(errors="ignore") + "…"


def truncate_warnings(sentences: Iterable[str], where: str = "") -> tuple[str, ...]:
    """Warnings of a length and a number that reach their reader; the last says how many more there
    are, and where.
    """
    rest = iter(sentences)
    said = tuple(truncate(sentence) for sentence in islice(rest, names.MAX_WARNINGS))
    more = sum(1 for _ in rest)
    return (*said, f"{names.DOMAIN}*: and {more} more{where}") if more else said


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
