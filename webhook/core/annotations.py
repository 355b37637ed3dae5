"""Parsers for the values of annotations.

Every parser takes the text and the locks, and returns the value and remarks for its author (for
example that another value is used, the nearest allowed one). It raises ValueError with what the
value must be. Values are compared exactly; only lists trim blanks around their items.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from . import names
from .audiences import Audiences
from .limits import Locks, Token
from .text import quote

Parsed = tuple[Any, tuple[str, ...]]
Parser = Callable[[str, Locks], Parsed]

Inject = Literal["enabled", "replace", "disabled"]
"""Whether a pod gets a token of ours; `replace`: only where Kubernetes has mounted one."""
INJECT_VALUES: tuple[Inject, ...] = get_args(Inject)

_FILE_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SYSTEM_FOLDER = re.compile("/etc|/dev|/usr|(/usr)?/(s?bin|lib[^/]*)|/(proc|sys)(/.*)?")
SYSTEM_FOLDERS = "/etc, /dev, /usr, /bin, /sbin, /lib* (in /usr too), /proc and /sys"
"""Where a container finds its programs, libraries and devices. A folder of our own below one of
them hides nothing; below /proc and /sys a runtime cannot make one."""
_INVISIBLE = re.compile(
    "["
    + "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in names.INVISIBLE)
    + "]"
)
_WHOLE_NUMBER = re.compile(r"[0-9]+")


def parse_switch(text: str, _locks: Locks) -> Parsed:
    if text not in ("enabled", "disabled"):
        raise ValueError('must be "enabled" or "disabled", spelled exactly so')
    return text == "enabled", ()


def parse_inject(text: str, _locks: Locks) -> Parsed:
    if text not in INJECT_VALUES:
        raise ValueError('must be "enabled", "replace" or "disabled", spelled exactly so')
    return text, ()


def parse_audience(text: str, locks: Locks) -> Parsed:
    """Parse one audience. The empty text means the API server's own."""
    if len(text) > names.MAX_AUDIENCE_CHARS or _INVISIBLE.search(text):
        raise ValueError(
            f"must be one audience of at most {names.MAX_AUDIENCE_CHARS} printable characters, no whitespace"
        )
    if not locks.allows(text):
        raise ValueError(
            f"must be one of the allowed audiences: {_listed(locks.allowed_audiences or ())}"
        )
    return text, ()


def parse_seconds(text: str, locks: Locks) -> Parsed:
    """Parse a lifetime. One that is out of range becomes the nearest allowed one, with a remark."""
    seconds = _whole_seconds(text)
    used = locks.capped(seconds)
    if used == seconds:
        short = used < names.COMFORTABLE_SECONDS
        return used, (
            f"leaves the kubelet little time to rotate the token; {names.COMFORTABLE_SECONDS} or more is safe",
        ) * short
    if seconds < names.MIN_EXPIRATION_SECONDS:
        return used, (
            f"{used} is used: {names.MIN_EXPIRATION_SECONDS} is the shortest that Kubernetes accepts",
        )
    if (
        seconds == names.YEAR_TRAP_SECONDS
        and used == names.YEAR_TRAP_REPLACEMENT <= locks.max_expiration_seconds
    ):
        return used, (
            f"{used} is used: the API server makes a token of {seconds} seconds valid for a year",
        )
    return used, (f"{used} is used: the maximum here is {locks.max_expiration_seconds} seconds",)


def parse_mount_path(text: str, _locks: Locks) -> Parsed:
    path = text.removesuffix("/")
    # Cut before it is split, because an annotation can have 256 KiB of slashes.
    root, *parts = path[: names.MAX_PATH_BYTES + 1].split("/")
    misspelt = (
        root
        or not parts
        or not {"", ".", ".."}.isdisjoint(parts)
        or ":" in path
        or not path.isprintable()
    )
    if misspelt or len(path.encode()) > names.MAX_PATH_BYTES:
        limit = f"at most {names.MAX_PATH_BYTES} bytes"
        raise ValueError(
            f'must be an absolute path of {limit} without "//", ".", ".." and ":", and not "/"'
        )
    if _SYSTEM_FOLDER.fullmatch(path):
        raise ValueError(f"must not hide a system folder: {SYSTEM_FOLDERS}")
    if path == names.TOKENS_PATH:
        raise ValueError(f"must be another path: {names.TOKENS} are mounted there")
    return path, ()


def parse_tokens(text: str, locks: Locks) -> Parsed:
    """Parse `file=audience[;seconds],…`. One invalid entry makes the whole value invalid."""
    found: dict[str, Token] = {}
    remarks: list[str] = []
    # Counted before the items are split, because an annotation can have 256 KiB of commas.
    if (number := text.count(",") + 1) > names.MAX_TOKENS:
        raise ValueError(f"must be at most {names.MAX_TOKENS} tokens, and there are {number}")
    for item in split_list(text):
        token, token_remarks = _token(item, locks)
        if token.file in found:
            raise ValueError(f"must name each file once, and {quote(token.file)} is duplicated")
        found[token.file] = token
        remarks += [f"{token.file}: {remark}" for remark in token_remarks]
    return tuple(found.values()), tuple(remarks)


def parse_container_names(text: str, _locks: Locks) -> Parsed:
    if (number := text.count(",") + 1) > names.MAX_CONTAINER_NAMES:
        raise ValueError(
            f"must be at most {names.MAX_CONTAINER_NAMES} names, and there are {number}"
        )
    return tuple(dict.fromkeys(split_list(text))), ()


def parse_max_seconds(text: str, _locks: Locks) -> Parsed:
    limit = _whole_seconds(text)
    if limit < names.MIN_EXPIRATION_SECONDS:
        raise ValueError(
            f"must be {names.MIN_EXPIRATION_SECONDS} or more, the shortest that Kubernetes accepts"
        )
    return min(limit, names.MAX_EXPIRATION_SECONDS_LIMIT), ()


def parse_audiences(text: str, _locks: Locks) -> Parsed:
    """Parse a list of audiences. The empty text allows only the API server's own."""
    if len(text) > names.MAX_AUDIENCE_LIST_CHARS:
        raise ValueError(f"must be a list of at most {names.MAX_AUDIENCE_LIST_CHARS} characters")
    return Audiences(parse_audience(item, Locks())[0] for item in split_list(text)), ()


def parse_overrides(text: str, _locks: Locks) -> Parsed:
    if text not in ("allowed", "denied"):
        raise ValueError('must be "allowed" or "denied", spelled exactly so')
    return text == "allowed", ()


def split_list(text: str) -> list[str]:
    """Return the items of a comma-separated list, trimmed, without empty ones."""
    return [item for item in (part.strip(" \t\n") for part in text.split(",")) if item]


def _token(item: str, locks: Locks) -> tuple[Token, tuple[str, ...]]:
    file, equals, rest = item.partition("=")
    audience, semicolon, seconds = rest.partition(";")
    file, audience = file.strip(), audience.strip()
    # The API server's own audience, the empty one, is what the main token is for.
    if not equals or not audience:
        raise ValueError(
            f"must be file=audience[;seconds], separated by commas, and {quote(item)} is not"
        )
    if (
        not _FILE_NAME.fullmatch(file)
        or file == "."
        or file.startswith("..")
        or len(file) > names.MAX_FILE_NAME_CHARS
    ):
        raise ValueError(
            f'must have file names of letters, digits, "." "_" "-", not beginning with ".."; {quote(file)} is not'
        )
    try:
        lifetime, remarks = parse_seconds(seconds.strip(), locks) if semicolon else (None, ())
        return Token(file, parse_audience(audience, locks)[0], lifetime), remarks
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None


def _whole_seconds(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError("must be an integer number of seconds, such as 3600")
    # int() of thousands of digits is slow or fails, and 20 digits are already too large.
    digits = text.lstrip("0")[:20]
    return int(digits or "0")


def _listed(allowed: Iterable[str]) -> str:
    listed = sorted(allowed)
    if not listed:
        return "none but the API server's own, which is asked for with an empty value"
    more = f" and {len(listed) - names.MAX_LISTED} more" if len(listed) > names.MAX_LISTED else ""
    return ", ".join(map(quote, listed[: names.MAX_LISTED])) + more
