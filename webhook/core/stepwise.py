"""Decoding what is long and made of very many things: in short calls, so that other threads come in
between.

One call of the decoder holds the interpreter until it is done: half a second for 20 MB of
annotations. Here each list that is long is taken apart first, and its items are decoded few at a
time. Of annotations, nothing but those that decide anything become objects: a map of short keys
would need twenty times its length in memory.
"""

import re
from functools import cache
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

SPARED_OBJECTS, BYTES_FOR_AN_OBJECT = 8192, 12
"""A list that we read has longer objects on average: the shortest that the API server would let
pass is a variable of a container, `{"name":"A"},`. Made of `{}` alone, a list would need 25 times
its length in memory. Lists that we do not read may have them: `imagePullSecrets` does, and a pod
that is refused here would be created without us."""
MAX_OBJECTS = 750_000
"""Of a list however long: an object as long as etcd takes, 1.5 MiB, made of variables of five bytes
each (in the protobuf that it keeps), has 315,000."""

_READ = tuple(
    begin + b'"' + name.encode()
    for name in (names.DOMAIN, f'{names.MIRROR_POD}"', f'{names.LAST_APPLIED}"')
    for begin in (b"{", b",")
)
"""What a name of ours begins with: in a string its quote would be escaped. Go writes no blank in
between."""
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


def _decoded(text: Text, kind: Any) -> Any:
    many = _has_many_objects(text)
    if _length(text) <= PIECE_BYTES and not many:
        return msgspec.json.decode(text, type=kind)
    plain = _plain(kind)
    if get_origin(plain) is tuple:
        if many:
            raise MalformedReview(
                f"a list of {_length(text)} bytes must have at most {most_objects(_length(text))} objects, and has more"
            )
        return _items(text, get_args(plain)[0], kind)
    if get_origin(plain) is dict:
        return annotations(text)
    held = msgspec.json.decode(text, type=_with_raw_lists(plain) | None)
    return _whole(held, plain) if held is not None else msgspec.json.decode(b"null", type=kind)


def _items(text: Text, item: Any, kind: Any) -> Any:
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
        made += (
            decoded(b"[%s]" % joined)
            if len(joined) <= PIECE_BYTES
            else [_decoded(each, item) for each in batch]
        )
    return tuple(made)


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
        while at >= 0 and rest:
            if (entry := _ENTRY.match(body, at + 1)) is not None:
                found[msgspec.json.decode(entry[1] + b'"', type=str)] = msgspec.json.decode(
                    entry[2] + b'"', type=str
                )
                rest -= 1
            at = body.find(name, at + 1)
    return found


def _whole(held: Any, kind: type[View]) -> View:
    """What the view would be, of one whose lists are still text."""
    made = {}
    for field in msgspec.structs.fields(kind):
        value = getattr(held, field.name)
        if isinstance(value, msgspec.Raw) and field.type is not msgspec.Raw:
            value = _decoded(value, field.type)
        elif isinstance(value, _RawLists):
            value = _whole(value, _plain(field.type))
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


def most_objects(length: int) -> int:
    """How many objects there may be in so many bytes of a list."""
    return min(SPARED_OBJECTS + length // BYTES_FOR_AN_OBJECT, MAX_OBJECTS)


def _has_many_objects(text: Text) -> bool:
    most = most_objects(_length(text))
    if _length(text) // 3 <= most:
        return False
    body = text if isinstance(text, bytes | bytearray) else bytes(text)
    return body.count(b"{") > most and _outside_strings(body) > most


_WINDOW_BYTES = 256 << 10


def _outside_strings(body: bytes | bytearray) -> int:
    """How many objects begin in a text: what stands in strings is no object. In steps, as it may be
    long.
    """
    found, at, inside = 0, 0, False
    while at < len(body):
        window = bytes(body[at : at + _WINDOW_BYTES])
        cut = (len(window) - len(window.rstrip(b"\\"))) % 2  # in the middle of an escape
        at += len(window) + cut
        bare = window.replace(b"\\\\", b"").replace(
            b'\\"', b""
        )  # now every quote begins a string or ends one
        pieces = bare.split(b'"')
        found += b"".join(pieces[inside::2]).count(b"{")
        inside ^= len(pieces) % 2 == 0
    return found


def _length(text: Text) -> int:
    return len(memoryview(text))
