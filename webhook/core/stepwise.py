"""Decoding what is long and made of very many things: in short calls, so that other threads come in
between.

One call of the decoder holds the interpreter until it is done: half a second for 20 MB of
annotations. Here each list that is long is taken apart first, and its items are decoded few at a
time. Of annotations, nothing but those that decide anything become objects: a map of short keys
would need twenty times its length in memory.
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
"""Of JSON that is decoded in one call whatever it holds: 10 ms at worst."""
BATCH = 256
"""Items of a list that are decoded together where they are short."""
MAX_ENTRIES = 16 << 10
"""Of annotations that are all read: the API server takes 256 KiB of keys and values, and they have
16 bytes each then."""

NUMBER_BYTES = 10
"""Of a number of empty items, with the commas around it."""
SPARED_OBJECTS, BYTES_FOR_AN_OBJECT = 8192, 9
"""A list that we read has longer objects on average: the shortest that the API server lets pass is
`{"downwardAPI":{}},` among the sources of a projected volume, two objects of 19 bytes, and then a
variable of a container, `{"name":"A"},`. Lists that we do not read may have shorter ones:
`imagePullSecrets` does. A pod that is refused here would be created without us."""
_EMPTY = rb'(?:\{\}|\{"downwardAPI":\{\}\})'
_EMPTY_ITEMS = re.compile(rb"(?<=[\[,])%s(?:,%s)*+(?=[,\]])" % (_EMPTY, _EMPTY))
"""Items that are nothing, which sources of a projected volume may be (validateProjectionSources has
no rule for them). They are not counted: in a list that has very many objects they become one object
that stands there many times, else it would need 20 times its length in memory."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
MAX_OBJECTS = 750_000
"""Of a list however long: an object as long as etcd takes, 1.5 MiB, made of variables of five bytes
each (in the protobuf that it keeps), has 315,000."""

_READ = tuple(
    b',"' + name.encode()
    for name in (names.DOMAIN, f'{names.MIRROR_POD}"', f'{names.LAST_APPLIED}"')
)
"""What a name of ours begins with, behind another entry: in a string its quote would be escaped. Go
writes no blank in between."""
_OPEN = rb'"[^"\\]*+(?:\\.[^"\\]*+){0,%d}+' % names.MAX_ANNOTATIONS_CHARS
_ENTRY = re.compile(rb'(%s)"\s*:\s*(%s)' % (_OPEN, _OPEN), re.DOTALL)
"""A name and a value without their last quotes. Of a value that has more escapes than all
annotations may have characters, it is so much that the value is too long."""
_NONE = type(None)
_NULL = msgspec.Raw(b"null")

T = TypeVar("T")
Text = bytes | bytearray | msgspec.Raw


def decode(text: Text, *, type: type[T]) -> T:  # noqa: A002  (as msgspec calls it)
    """What `msgspec.json.decode` gives of a view, or of the lists in one.

    Raises: what it raises; where the text is long, the place that it names begins inside
    """
    return cast("T", _decoded(text, type))


def _decoded(text: Text, kind: Any, spared: int = SPARED_OBJECTS) -> Any:
    many = _has_many_objects(text, spared)
    if _length(text) <= PIECE_BYTES and not many:
        return msgspec.json.decode(text, type=kind)
    plain = _plain(kind)
    if get_origin(plain) is tuple:
        if not many:
            return _items(text, get_args(plain)[0], kind)
        body = bytes(text)
        if _outside_strings(body, empty=False) > most_objects(len(body), spared):
            raise MalformedReview(
                f"a list of {len(body)} bytes must have at most {most_objects(len(body), spared)} objects, and has more"
            )
        return _items_of_many(body, get_args(plain)[0], kind)
    if get_origin(plain) is dict:
        return annotations(text)
    view = msgspec.json.decode(text, type=_with_raw_lists(plain) | None)
    if view is None:
        return msgspec.json.decode(b"null", type=kind)
    return _whole(view, plain, 0 if many else spared)


def _items(text: Text, item: Any, kind: Any, spared: int = SPARED_OBJECTS) -> Any:
    waiting = msgspec.json.decode(text, type=list[msgspec.Raw] | None)
    if waiting is None:
        return msgspec.json.decode(b"null", type=kind)
    made: list[Any] = []
    decoded = msgspec.json.Decoder(tuple[item, ...]).decode
    waiting.reverse()
    while waiting:  # so that of each item there is the text or the object, not both
        batch = waiting[: -BATCH - 1 : -1]
        del waiting[-BATCH:]
        joined = b",".join(batch)
        if len(joined) <= PIECE_BYTES and (spared or not _has_many_objects(joined, 0)):
            made += decoded(b"[%s]" % joined)
        else:
            made += [_decoded(text, item, spared) for text in batch]
    return tuple(made)


def _items_of_many(body: bytes, item: Any, kind: Any) -> Any:
    """The items of a list that has very many objects; those that are empty are one object."""
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
        if begin < end:
            parts.append(body.count(b"{}", begin, end))
        at = end
    made += _of_parts(parts, item, kind)
    return tuple(made)


def _of_parts(parts: list[bytes | int], item: Any, kind: Any) -> Iterator[Any]:
    """The items of parts of a list: text, and numbers of empty ones."""
    texts = [part if isinstance(part, bytes) else b"%d" % part for part in parts]
    joined = b"[%s]" % b",".join(texts)
    if len(joined) > PIECE_BYTES or _has_many_objects(joined, 0):
        for part in parts:
            if isinstance(part, int):
                yield from repeat(_empty(item), part)
            else:
                yield from _items(b"[%s]" % part, item, kind, 0)
        return
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
    """What `{}` becomes. Raises: ValidationError, where it must not be empty."""
    return msgspec.json.decode(b"{}", type=item)


def _empty_items(body: bytes) -> Iterator[tuple[int, int]]:
    """Where empty items of this list stand, one beside the other; not those of lists in it."""
    at, depth, inside = 0, 0, False
    for match in _EMPTY_ITEMS.finditer(body):
        begin, end = match.span()
        text = body[at:begin]
        pieces = (_without_escapes(text) if b"\\" in text else text).split(b'"')
        outside = b"".join(pieces[inside::2]).translate(None, _NO_BRACKETS)
        inside ^= len(pieces) % 2 == 0
        depth += 2 * len(outside.translate(None, b"]}")) - len(outside)
        at = begin
        if not inside:
            at = end
            if depth == 1:
                yield begin, end


def annotations(text: Text) -> dict[str, str] | None:
    """The annotations of an object: all of them where they are not very many, and else those that
    decide anything.

    Of the latter no more than are too many. Go writes the names as they are, so that they are found
    by their letters.
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
    """What the view would be, of one whose lists are still text."""
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
    """The base of views whose lists are left as text."""


@cache
def _with_raw_lists(kind: type[View]) -> Any:
    """The view with text in place of lists and annotations, also in the views that stand in it
    alone.
    """
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(kind):
        plain, default = _plain(field.type), field.default
        if get_origin(plain) in (tuple, dict):
            held: tuple[Any, Any] = msgspec.Raw, _NULL
        elif isinstance(plain, type) and issubclass(plain, View):
            inner = _with_raw_lists(plain)
            held = (inner | None, None) if default is None else (inner, inner())
        else:
            held = field.type, default
        fields.append((field.name, held[0], msgspec.field(default=held[1], name=field.encode_name)))
    return msgspec.defstruct(
        kind.__name__, fields, bases=(_RawLists,), frozen=True, gc=False, kw_only=True
    )


def _plain(kind: Any) -> Any:
    """The type without None."""
    (plain, *_) = (
        [each for each in get_args(kind) if each is not _NONE]
        if _NONE in get_args(kind)
        else [kind]
    )
    return plain


def most_objects(length: int, spared: int = SPARED_OBJECTS) -> int:
    """How many objects there may be in so many bytes of a list."""
    return min(spared + length // BYTES_FOR_AN_OBJECT, MAX_OBJECTS)


def _has_many_objects(text: Text, spared: int) -> bool:
    limit = most_objects(_length(text), spared)
    if _length(text) // 3 <= limit:
        return False
    body = text if isinstance(text, bytes | bytearray) else bytes(text)
    return body.count(b"{") > limit and _outside_strings(body) > limit


_WINDOW_BYTES = 256 << 10


def _outside_strings(body: bytes | bytearray, *, empty: bool = True) -> int:
    """How many objects begin in a text, with `empty` items of lists or without. What stands in
    strings is no object, and an empty one that is a field's value needs less than its name. In
    steps, as it may be long.
    """
    found, at, inside = 0, 0, False
    while at < len(body):
        window = bytes(body[at : at + _WINDOW_BYTES])
        cut = (len(window) - len(window.rstrip(b"\\"))) % 2  # in the middle of an escape
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
    """The same without escaped quotes: every quote begins a string or ends one."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _length(text: Text) -> int:
    return len(memoryview(text))
