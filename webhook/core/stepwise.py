"""Decode large objects with very many parts in short calls, so that other threads can run in
between.

One call of the decoder keeps the interpreter lock until it returns: half a second for 20 MB of
annotations. So a long list is split first, and its items are decoded a few at a time. Of very many
annotations only those that we read are decoded, because a map of short keys would need twenty times
its length in memory.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain, repeat
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec

from ..errors import MalformedReview
from . import names
from .views import View

PIECE_BYTES = 256 << 10
"""JSON up to this length is decoded in one call, whatever it contains: 10 ms at worst."""
BATCH = 256
"""The number of short items that are decoded together."""
MAX_ENTRIES = 16 << 10
"""Up to this number all annotations are decoded. The API server accepts 256 KiB of keys and values,
which is 16 bytes for each of them."""

NUMBER_BYTES = 10
"""The length of a number that stands for empty items, with its commas."""
SPARED_OBJECTS, BYTES_FOR_AN_OBJECT = 8192, 9
"""A list may have as many objects as fit at this average length, and some more. Valid lists that we
read stay below: the shortest objects that the API server accepts are `{"downwardAPI":{}},` among
the sources of a projected volume, two objects of 19 bytes, and `{"name":"A"},` among the variables
of a container. Lists that we do not read may have shorter ones, as `imagePullSecrets` does. The
limit must not be too low: a pod that is rejected here would be created without injection."""
_EMPTY = rb'(?:\{\}|\{"downwardAPI":\{\}\})'
_EMPTY_ITEMS = re.compile(rb"(?<=[\[,])%s(?:,%s)*+(?=[,\]])" % (_EMPTY, _EMPTY))
"""Empty items, which the sources of a projected volume may have (validateProjectionSources has no
rule for them). They do not count as objects. In a list with very many objects they all become one
shared object; otherwise the list would need 20 times its length in memory."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
MAX_OBJECTS = 750_000
"""The maximum for a list of any length. An object of 1.5 MiB, the limit of etcd, has at most
315,000 variables of five bytes each (in protobuf)."""

_READ = tuple(
    b',"' + name.encode()
    for name in (names.DOMAIN, f'{names.MIRROR_POD}"', f'{names.LAST_APPLIED}"')
)
"""The beginning of the names that we read, behind another entry. Inside a string the quote would be
escaped. Go writes no blanks."""
_OPEN = rb'"[^"\\]*+(?:\\.[^"\\]*+){0,%d}+' % names.MAX_ANNOTATIONS_CHARS
_ENTRY = re.compile(rb'(%s)"\s*:\s*(%s)' % (_OPEN, _OPEN), re.DOTALL)
"""A name and a value without their closing quotes. A value with more escapes than annotations may
have characters is matched only in part, which is still too long to be accepted."""
_NONE = type(None)
_NULL = msgspec.Raw(b"null")

T = TypeVar("T")
Text = bytes | bytearray | msgspec.Raw


def decode(text: Text, *, type: type[T]) -> T:  # noqa: A002  (as msgspec calls it)
    """Return what `msgspec.json.decode` returns for a view, or for a list of views.

    Raises: what it raises; in a long text the path in the message starts at an inner list
    """
    return cast("T", _decoded(text, type))


def _decoded(text: Text, kind: Any, spared: int = SPARED_OBJECTS) -> Any:
    many = _has_many_objects(text, spared)
    if _length(text) <= PIECE_BYTES and not many:
        return msgspec.json.decode(text, type=kind)
    plain = _plain(kind)
    if get_origin(plain) is tuple:
        if not many:
            # The list is only long: its text is split, and that costs little beside the items.
            return _items(text, get_args(plain)[0], kind)
        # Empty items are valid and cheap, so they are left out of the count that rejects a list.
        body = bytes(text)
        if _outside_strings(body, empty=False) > object_limit(len(body), spared):
            raise MalformedReview(
                f"a list of {len(body)} bytes must have at most {object_limit(len(body), spared)} objects, and has more"
            )
        return _items_of_many(body, get_args(plain)[0], kind)
    if get_origin(plain) is dict:
        return annotations(text)
    view = msgspec.json.decode(text, type=_with_raw_lists(plain) | None)
    if view is None:
        # Decoded again for the right type: either None, or the error that null is not allowed.
        return msgspec.json.decode(b"null", type=kind)
    # The spared objects are granted once. If the object as a whole has too many, its lists get
    # none.
    return _whole(view, plain, 0 if many else spared)


def _items(text: Text, item: Any, kind: Any, spared: int = SPARED_OBJECTS) -> Any:
    waiting = msgspec.json.decode(text, type=list[msgspec.Raw] | None)
    if waiting is None:
        return msgspec.json.decode(b"null", type=kind)
    made: list[Any] = []
    decoded = msgspec.json.Decoder(tuple[item, ...]).decode
    # Taken from the end of the reversed list, so that an item's text is freed as soon as its object
    # exists.
    waiting.reverse()
    while waiting:
        batch = waiting[: -BATCH - 1 : -1]
        del waiting[-BATCH:]
        joined = b",".join(batch)
        if len(joined) <= PIECE_BYTES and (spared or not _has_many_objects(joined, 0)):
            made += decoded(b"[%s]" % joined)
        else:
            made += [_decoded(text, item, spared) for text in batch]
    return tuple(made)


def _items_of_many(body: bytes, item: Any, kind: Any) -> Any:
    """Decode a list with very many objects; all empty items become one shared object."""
    if body[:1] != b"[":
        return msgspec.json.decode(body, type=kind)
    made: list[Any] = []
    parts: list[bytes | int] = []
    length, at, last = 0, 1, len(body) - 1
    for begin, end in chain(_empty_items(body), [(last, last)]):
        if text := body[at:begin].strip(b","):
            length += len(text) + NUMBER_BYTES
            if length > PIECE_BYTES:
                made += _of_parts(parts, item, kind)
                parts, length = [], len(text) + NUMBER_BYTES
            parts.append(text)
        # A run of empty items is kept as its length.
        if begin < end:
            parts.append(body.count(b"{}", begin, end))
        at = end
    made += _of_parts(parts, item, kind)
    return tuple(made)


def _of_parts(parts: list[bytes | int], item: Any, kind: Any) -> Iterator[Any]:
    """Yield the items of parts of a list. A part is text, or a number of empty items."""
    texts = [part if isinstance(part, bytes) else b"%d" % part for part in parts]
    joined = b"[%s]" % b",".join(texts)
    if len(joined) > PIECE_BYTES or _has_many_objects(joined, 0):
        for part in parts:
            if isinstance(part, int):
                yield from repeat(_empty(item), part)
            else:
                yield from _items(b"[%s]" % part, item, kind, 0)
        return
    # The numbers are decoded with the text, which saves a call for each part. A list that contains
    # numbers itself is invalid, and must not be taken for empty items.
    numbers = [part for part in parts if isinstance(part, int)]
    decoded = msgspec.json.decode(joined, type=list[item | int])
    if [value for value in decoded if type(value) is int] != numbers:
        raise MalformedReview("a list of objects must have no numbers")
    for value in decoded:
        if type(value) is int:
            yield from repeat(_empty(item), value)
        else:
            yield value


@cache
def _empty(item: Any) -> Any:
    """Return the object for `{}`. Raises: ValidationError, if it must not be empty."""
    return msgspec.json.decode(b"{}", type=item)


def _empty_items(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each run of empty items of this list, without those of inner lists."""
    at, depth, inside = 0, 0, False
    for match in _EMPTY_ITEMS.finditer(body):
        begin, end = match.span()
        text = body[at:begin]
        pieces = (_without_escapes(text) if b"\\" in text else text).split(b'"')
        outside = b"".join(pieces[inside::2]).translate(None, _NO_BRACKETS)
        inside ^= len(pieces) % 2 == 0
        # Opening brackets minus closing ones: `outside` has nothing but brackets.
        depth += 2 * len(outside.translate(None, b"]}")) - len(outside)
        at = begin
        if not inside:
            at = end
            if depth == 1:
                yield begin, end


def annotations(text: Text) -> dict[str, str] | None:
    """Return the annotations of an object. If there are very many, return only those that we read.

    Of these, one more than the maximum is enough, because then they are rejected. Go never escapes
    the characters of these names, so they can be searched for as bytes.
    """
    body = bytes(text)
    if body[:1] != b"{" or body.count(b'"') <= 4 * MAX_ENTRIES:
        return msgspec.json.decode(body, type=dict[str, str] | None)
    found: dict[str, str] = {}
    for name in _READ:
        at, rest = body.find(name), names.MAX_ANNOTATIONS + 1
        if body.startswith(name[1:], 1):
            at = 0
        while at >= 0 and rest:
            if (entry := _ENTRY.match(body, at + 1)) is not None:
                found[msgspec.json.decode(entry[1] + b'"', type=str)] = msgspec.json.decode(
                    entry[2] + b'"', type=str
                )
                rest -= 1
            at = body.find(name, at + 1)
    return found


def _whole(view: Any, kind: type[View], spared: int) -> View:
    """Return the view with its lists decoded, for a view whose lists are still text."""
    made = {}
    for field in msgspec.structs.fields(kind):
        value = getattr(view, field.name)
        if isinstance(value, msgspec.Raw) and field.type is not msgspec.Raw:
            value = _decoded(value, field.type, spared)
        elif isinstance(value, _RawLists):
            value = _whole(value, _plain(field.type), spared)
        made[field.name] = value
    return kind(**made)


class _RawLists(View, frozen=True):
    """The base class of views whose lists are undecoded text."""


@cache
def _with_raw_lists(kind: type[View]) -> Any:
    """Return a type like `kind` with undecoded text for lists and annotations, also in the views
    inside it that are not in a list.
    """
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(kind):
        plain, default = _plain(field.type), field.default
        if get_origin(plain) in (tuple, dict):
            typed: tuple[Any, Any] = msgspec.Raw, _NULL
        elif isinstance(plain, type) and issubclass(plain, View):
            inner = _with_raw_lists(plain)
            typed = (inner | None, None) if default is None else (inner, inner())
        else:
            typed = field.type, default
        fields.append(
            (field.name, typed[0], msgspec.field(default=typed[1], name=field.encode_name))
        )
    return msgspec.defstruct(
        kind.__name__, fields, bases=(_RawLists,), frozen=True, gc=False, kw_only=True
    )


def _plain(kind: Any) -> Any:
    """Return the type without None."""
    (plain, *_) = (
        [argument for argument in get_args(kind) if argument is not _NONE]
        if _NONE in get_args(kind)
        else [kind]
    )
    return plain


def object_limit(length: int, spared: int = SPARED_OBJECTS) -> int:
    """Return the maximum number of objects in a list of this length."""
    return min(spared + length // BYTES_FOR_AN_OBJECT, MAX_OBJECTS)


def _has_many_objects(text: Text, spared: int) -> bool:
    limit = object_limit(_length(text), spared)
    # An object and its comma have at least three bytes, so a short text needs no count.
    if _length(text) // 3 <= limit:
        return False
    body = text if isinstance(text, bytes | bytearray) else bytes(text)
    # Counting all brackets is fast; only a text that seems to have too many is looked at closely.
    return body.count(b"{") > limit and _outside_strings(body) > limit


_WINDOW_BYTES = 256 << 10


def _outside_strings(body: bytes | bytearray, *, empty: bool = True) -> int:
    """Count the objects in a text. `empty`: whether empty items of lists count.

    Brackets in strings are not counted, nor empty objects as the value of a field, which need less
    memory than the name of the field. The text is counted in windows, because it may be long.
    """
    found, at, inside = 0, 0, False
    while at < len(body):
        window = bytes(body[at : at + _WINDOW_BYTES])
        # A window must not end inside an escape: then the next one would begin with its quote.
        cut = (len(window) - len(window.rstrip(b"\\"))) % 2
        at += len(window) + cut
        pieces = _without_escapes(window).split(b'"')
        outside = b"".join(pieces[inside::2])
        if not empty:
            outside = outside.replace(b"{:{}}", b"")
        outside = outside.replace(b":{}", b":")
        if not empty:
            outside = outside.replace(b"{}", b"")
        found += outside.count(b"{")
        inside ^= len(pieces) % 2 == 0
    return found


def _without_escapes(text: bytes) -> bytes:
    """Remove escaped quotes, so that every remaining quote begins or ends a string."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _length(text: Text) -> int:
    return len(memoryview(text))
