"""Pieces of CEL, the language of admission policies: texts with values in them, annotations that
may be missing or bad.

Only what Kubernetes 1.30 has is used: no two-variable comprehensions, no flatten, no sort. Every
function gives an expression that cannot fail, whatever the annotations say.
"""

import re
from collections.abc import Iterable
from string import Formatter

from ..core import names

AT_LEAST_600 = "^0*([6-9][0-9]{2}|[1-9][0-9]{3,})$"
"""A whole number of seconds that a maximum may be, as `wishes.max_seconds` takes it; of any
length."""
FITS = "^0*[0-9]{1,10}$"
"""Short enough for int(), which fails for what does not fit into 64 bits."""
_INVISIBLE = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in names.INVISIBLE)
AUDIENCE_LIST = (
    rf"^[ \t\n,]*([^,{_INVISIBLE}]{{1,{names.MAX_AUDIENCE_CHARS}}}[ \t\n]*(,[ \t\n,]*|$))*$"
)
"""A comma list as `wishes.audiences` takes it."""
SPACED_LIST = rf"^([^{_INVISIBLE}]{{1,{names.MAX_AUDIENCE_CHARS}}}( [^{_INVISIBLE}]{{1,{names.MAX_AUDIENCE_CHARS}}})*)?$"
"""A list as the replicas write it."""


def text(literal: str) -> str:
    """A CEL string."""
    return "'" + literal.replace("\\", "\\\\").replace("'", "\\'") + "'"


def concat(template: str, **values: str) -> str:
    """The CEL of a template: its `{name}` become the expressions given, which must be strings."""
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        if literal:
            parts.append(text(literal))
        if name:
            parts.append(values[name])
    return " + ".join(parts)


def fill(code: str, **values: object) -> str:
    """CEL with its `@name` replaced; CEL itself knows no `@`."""
    return re.sub("@([a-z_]+)", lambda found: str(values[found[1]]), code.strip("\n"))


def listed(items: Iterable[str]) -> str:
    """A CEL list of strings."""
    return "[" + ", ".join(map(text, items)) + "]"


def truncate(expression: str, most: int) -> str:
    """As `text.cut`: the string, with an ellipsis where it was longer."""
    return f"({expression}.size() <= {most} ? {expression} : {expression}.substring(0, {most - 1}) + '…')"


def displayed(audience: str) -> str:
    """As `text.displayed`."""
    return f"({audience}.matches('^{names.DISPLAYED_AUDIENCE}$') ? '\"' + {audience} + '\"' : '(not shown)')"


def has(holder: str, name: str) -> str:
    return f"'{name}' in variables.{holder}"


def value(holder: str, name: str, missing: str = "''") -> str:
    """An annotation, or where it is missing what the expression `missing` gives."""
    return f"variables.{holder}[?'{name}'].orValue({missing})"


def choice(holder: str, name: str, choices: tuple[str, ...], *, missing: str, bad: str) -> str:
    """One of a few words."""
    return f"[{value(holder, name, text(missing))}]\n  .map(word, word in {listed(choices)} ? word : '{bad}')[0]"


def seconds(holder: str, name: str, *, missing: str, bad: int) -> str:
    """A maximum in whole seconds, up to ten digits; `missing` is the text that stands for one that
    is not there.
    """
    return (
        f"[{value(holder, name, missing)}]\n"
        f"  .map(text, !text.matches('{AT_LEAST_600}') ? {bad}\n"
        f"    : text.matches('{FITS}') ? int(text) : {names.MAX_EXPIRATION_SECONDS_LIMIT})[0]"
    )


def spaced(name: str) -> str:
    """The items of a list that the replicas have written; none where it is missing."""
    return f"{value('bindingAnnotations', name)}.split(' ').filter(item, item != '')"


def is_in(item: str, name: str) -> str:
    """Whether an item stands in such a list; an empty one, or one with a blank, in none.

    Why by text: to split a list of thousands for each pod costs a hundred times as much.
    """
    there = f"(' ' + {value('bindingAnnotations', name)} + ' ').contains(' ' + {item} + ' ')"
    return f"({item} != '' && !{item}.contains(' ')\n    && {there})"
