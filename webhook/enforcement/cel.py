"""Builders for CEL, the language of admission policies: texts with values in them, and annotations
that may be missing or invalid.

The expressions use only what Kubernetes 1.30 has: no two-variable comprehensions, no flatten, no
sort. Every function returns an expression that cannot fail, whatever the annotations say.
"""

import re
from collections.abc import Iterable
from string import Formatter

from ..core import names

AT_LEAST_600 = "^0*([6-9][0-9]{2}|[1-9][0-9]{3,})$"
"""An integer number of seconds of any length, with the minimum of
`annotations.parse_max_seconds`."""
FITS = "^0*[0-9]{1,10}$"
"""Short enough for int(), which fails for a number of more than 64 bits."""
_INVISIBLE = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in names.INVISIBLE)
AUDIENCE_LIST = (
    rf"^[ \t\n,]*([^,{_INVISIBLE}]{{1,{names.MAX_AUDIENCE_CHARS}}}[ \t\n]*(,[ \t\n,]*|$))*$"
)
"""A comma-separated list as `annotations.parse_audiences` accepts it."""
SPACED_LIST = rf"^([^{_INVISIBLE}]{{1,{names.MAX_AUDIENCE_CHARS}}}( [^{_INVISIBLE}]{{1,{names.MAX_AUDIENCE_CHARS}}})*)?$"
"""A list as the replicas write it, separated by spaces."""


def text(literal: str) -> str:
    """Return the text as a CEL string."""
    return "'" + literal.replace("\\", "\\\\").replace("'", "\\'") + "'"


def concat(template: str, **values: str) -> str:
    """Return CEL for a template. Each `{name}` becomes the expression of that name, which must be a
    string.
    """
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        if literal:
            parts.append(text(literal))
        if name:
            parts.append(values[name])
    return " + ".join(parts)


def fill(code: str, **values: object) -> str:
    """Replace each `@name` in CEL, which itself has no `@`."""
    return re.sub("@([a-z_]+)", lambda found: str(values[found[1]]), code.strip("\n"))


def listed(items: Iterable[str]) -> str:
    """Return a CEL list of strings."""
    return "[" + ", ".join(map(text, items)) + "]"


def truncate(expression: str, limit: int) -> str:
    """Return CEL that does what `text.truncate` does."""
    return f"({expression}.size() <= {limit} ? {expression} : {expression}.substring(0, {limit - 1}) + '…')"


def displayed(audience: str) -> str:
    """Return CEL that does what `text.displayed` does."""
    return f"({audience}.matches('^{names.DISPLAYED_AUDIENCE}$') ? '\"' + {audience} + '\"' : '(not shown)')"


def has(holder: str, name: str) -> str:
    return f"'{name}' in variables.{holder}"


def value(holder: str, name: str, missing: str = "''") -> str:
    """Return CEL for an annotation; the expression `missing` is its default."""
    return f"variables.{holder}[?'{name}'].orValue({missing})"


def choice(holder: str, name: str, choices: tuple[str, ...], *, missing: str, bad: str) -> str:
    """Return CEL for an annotation with a few allowed words; any other word becomes `bad`."""
    return f"[{value(holder, name, text(missing))}]\n  .map(word, word in {listed(choices)} ? word : '{bad}')[0]"


def seconds(holder: str, name: str, *, missing: str, bad: int) -> str:
    """Return CEL for a maximum in seconds. `missing` is an expression for the text that is used if
    the annotation is missing; `bad` is the number for an invalid text.
    """
    return (
        f"[{value(holder, name, missing)}]\n"
        f"  .map(text, !text.matches('{AT_LEAST_600}') ? {bad}\n"
        f"    : text.matches('{FITS}') ? int(text) : {names.MAX_EXPIRATION_SECONDS_LIMIT})[0]"
    )


def spaced(name: str) -> str:
    """Return CEL for the items of a list that the replicas wrote; no items if it is missing."""
    return f"{value('bindingAnnotations', name)}.split(' ').filter(item, item != '')"


def is_in(item: str, name: str) -> str:
    """Return CEL for whether an item is in such a list. An empty item, or one with a space, never
    is.

    Why by text: splitting a list of thousands for each pod costs a hundred times as much.
    """
    there = f"(' ' + {value('bindingAnnotations', name)} + ' ').contains(' ' + {item} + ' ')"
    return f"({item} != '' && !{item}.contains(' ')\n    && {there})"
