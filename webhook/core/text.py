"""User text in messages: quoted, without control characters, truncated. Nothing here raises."""

import re
from collections.abc import Iterable
from itertools import islice

from . import names

_DISPLAYED = re.compile(names.DISPLAYED_AUDIENCE)
_TOKEN = re.compile(r"eyJ[\w-]{5,}(\.[\w-]*)*", re.ASCII)
"""A JWT, or what is left of one: each begins so, because its header is an object."""


def quote(text: str, limit: int = 60) -> str:
    """Return `text` in double quotes, with escapes, and truncated to `limit` characters.

    Why escapes: one control character makes the API server drop the whole warning
    (net.NewWarningHeader).
    """
    kept = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{one_line(kept)}"'


def displayed(audience: str) -> str:
    """Return an audience in double quotes. One with special characters is not shown, because CEL
    cannot escape it, and both evaluators must write the same text.
    """
    return f'"{audience}"' if _DISPLAYED.fullmatch(audience) else "(not shown)"


def printable(text: str) -> str:
    """Return `text` with escapes for what a terminal would obey: control characters but newlines
    and tabs, and what no encoding has.
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text
    )


def one_line(text: str) -> str:
    """Return `text` with escapes for what is not printable, newlines and tabs as well."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def without_tokens(text: str) -> str:
    """Return `text` with "(a token)" for everything in it that looks like a JWT: somebody gave one
    where a name or a file belongs.
    """
    return _TOKEN.sub("(a token)", text)


def truncate(sentence: str, limit: int = names.MAX_WARNING_CHARS) -> str:
    """Truncate `sentence` to `limit` characters, the last of which is then an ellipsis."""
    return sentence if len(sentence) <= limit else sentence[: limit - 1] + "…"


def truncate_at_word(text: str, limit: int) -> str:
    """Truncate `text` to `limit` characters with an ellipsis at the end, which stands after a whole
    word where there is one in its second half.
    """
    if len(text) <= limit:
        return text
    head = text[: limit - 2]
    end = len(head) if text[len(head)].isspace() else head.rfind(" ")
    return f"{head[:end].rstrip()} …" if end >= limit // 2 else truncate(text, limit)


def truncate_bytes(text: str, limit: int = names.MAX_AUDIT_BYTES) -> str:
    """Truncate `text` to `limit` bytes of UTF-8, with an ellipsis at the end."""
    # No character has more than four bytes, so most texts need not be encoded.
    if len(text) * 4 <= limit or len(encoded := text.encode(errors="replace")) <= limit:
        return text
    return encoded[: limit - 3].decode(errors="ignore") + "…"


def truncate_warnings(sentences: Iterable[str], where: str = "") -> tuple[str, ...]:
    """Limit warnings to the length and number that the API server passes on. The last warning says
    how many more there are, and where.
    """
    rest = iter(sentences)
    warnings = tuple(truncate(sentence) for sentence in islice(rest, names.MAX_WARNINGS))
    more = sum(1 for _ in rest)
    return (*warnings, f"{names.DOMAIN}*: and {more} more{where}") if more else warnings


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
