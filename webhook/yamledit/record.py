"""What a document was before a change, kept in a comment at its end: for a change that cannot be
undone by looking at the result, such as a value that was replaced.
"""

import base64
import binascii
import hashlib
import re
import zlib

import msgspec

from .spots import Edit, applied

PREFIX = "# boundtoken inject changed this document: boundtoken uninject needs this line "
MAX_CHARS = 65_536
"""Of one record: a hundred replaced values are 3,000. A longer one is no record of ours."""
MAX_BYTES = 1 << 20
"""Of its content, which is compressed: a small text can be made of which comes a huge one."""
_LINE = re.compile(
    r"(?:^|(?<=\n))" + re.escape(PREFIX) + r"([A-Za-z0-9+/=]{1,65536})(\r?\n|$)", re.ASCII
)


class _Record(msgspec.Struct, array_like=True):
    digest: str
    """Of the text that the edits are for."""
    edits: list[tuple[int, int, str]]


def packed(text: str, back: list[Edit]) -> str:
    """The edits that lead from this text back, as one word.

    Raises: ValueError, if they are too many
    """
    content = msgspec.json.encode(
        _Record(_digest(text), [(edit.start, edit.end, edit.new) for edit in back])
    )
    word = base64.b64encode(zlib.compress(content, 9)).decode()
    if len(content) > MAX_BYTES or len(word) > MAX_CHARS:
        raise ValueError("the change is too large to be remembered")
    return word


def restored(text: str, word: str) -> str | None:
    """The text before the change, or None where the text has changed since, or the word is none of
    ours.
    """
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(word, validate=True), MAX_BYTES)
        record = msgspec.json.decode(unpacked, type=_Record)
    except (binascii.Error, zlib.error, msgspec.DecodeError, ValueError):
        return None
    edits = [Edit(*edit) for edit in record.edits]
    ends = [0]
    for edit in edits:
        ends += [edit.start, edit.end]
    if record.digest != _digest(text) or ends != sorted(ends) or ends[-1] > len(text):
        return None
    return applied(text, edits, 1)[0]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def with_comment(text: str, word: str) -> str:
    """The text with the record at its end; without a newline at its end it stays so."""
    newline, line = _newline(text), PREFIX + word
    return text + line + newline if text.endswith("\n") else text + newline + line


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def without_comment(text: str) -> tuple[str, str]:
    """The text without the record in it, and the record; empty where there is none."""
    matches = list(_LINE.finditer(text))
    if not matches:
        return text, ""
    found = matches[-1]
    before, after = text[: found.start()], text[found.end() :]
    if not found[2]:
        whole = before.removesuffix("\r\n")
        before = whole if _newline(whole) == "\r\n" else before.removesuffix("\n")
    return before + after, found[1]
