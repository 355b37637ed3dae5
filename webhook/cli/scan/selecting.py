"""Label selectors as kubectl takes them.

Source: apimachinery/pkg/labels/selector.go.
"""

import re

from ...core.text import quote
from ...errors import BadInput
from ...simulation.calling import Expression, Selector

MAX_CHARS = 4096
_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,315}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(=|==|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_PARTS = re.compile(r",(?![^(]*\))")
_OPERATORS = {"in": "In", "notin": "NotIn", "=": "In", "==": "In", "!=": "NotIn"}


def parse(text: str, flag: str) -> Selector:
    """The selector of a flag. Raises: BadInput"""
    if len(text) > MAX_CHARS:
        raise BadInput(f"{flag}: must have at most {MAX_CHARS} characters")
    return Selector(None, tuple(_expression(part.strip(), flag) for part in _PARTS.split(text)))


def _expression(part: str, flag: str) -> Expression:
    if found := _SET.fullmatch(part):
        values = tuple(value.strip() for value in found[3].split(","))
        if all(re.fullmatch(_VALUE, value) for value in values):
            return Expression(found[1], _OPERATORS[found[2]], values)
    elif found := _EQUAL.fullmatch(part):
        return Expression(found[1], _OPERATORS[found[2]], (found[3],))
    elif found := _EXISTS.fullmatch(part):
        return Expression(found[2], "DoesNotExist" if found[1] else "Exists")
    raise BadInput(
        f"{flag}: {quote(part)} must be such as app=cart, app!=cart, app in (cart,shop), app or !app"
    )
