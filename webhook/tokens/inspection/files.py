"""Tokens in files: what a person points at, and what a pod's volumes have mounted."""

import base64
import os
import re
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ...core.claims import MAX_TOKEN_BYTES, NotAToken, claims_of

MOUNTED = Path("/var/run/secrets")
"""Where pods have their tokens, unless their manifest says otherwise."""
MAX_TEXT_BYTES = 256 << 10
"""Of a file or standard input: a token, or the JSON of an object that has one."""
MAX_ENTRIES, MAX_DEPTH = 10_000, 8
"""Of a folder that is searched: a volume has a few files, and paths of a few parts."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_BEARER = re.compile(r"(?:authorization:\s*)?bearer\s+", re.IGNORECASE)


def token_in(content: bytes) -> str:
    """The token in a text: as it stands, after `Bearer` or `Authorization: Bearer`, or in the
    JSON of a TokenRequest, an ExecCredential or a Secret. Whether it is one is not looked at.

    Raises: NotAToken, for more than MAX_TEXT_BYTES
    """
    if len(content) > MAX_TEXT_BYTES:
        raise NotAToken(f"more than {MAX_TEXT_BYTES} bytes are no token")
    text = content.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        return _in_object(text)
    return _BEARER.sub("", text, count=1) if _BEARER.match(text) else text


def tokens_below(folder: Path, unread: Callable[[OSError], None]) -> Iterator[tuple[Path, str]]:
    """Every file with a token below a folder, in order, and the token.

    A projected volume shows each file as a link into a folder whose name begins with `..`; those
    folders are left out, and links that lead out of `folder` are not followed. `unread` is called
    with the problem of each file or folder that cannot be read.
    """
    for path in sorted(_files(folder, unread)):
        try:
            text = _text(path)
        except OSError as problem:
            unread(problem)
            continue
        if text is not None:
            yield path, text


def _files(folder: Path, unread: Callable[[OSError], None]) -> Iterator[Path]:
    """What may be a regular file: each file of each folder once, however many links lead to it."""
    root = os.path.realpath(folder)
    folders, seen, visited = [(folder, 0)], 0, {root}
    while folders:
        at, depth = folders.pop()
        try:
            with os.scandir(at) as found:
                names = sorted(entry.name for entry in islice(found, MAX_ENTRIES - seen))
        except OSError as problem:
            unread(problem)
            continue
        seen += len(names)
        for path in (at / name for name in names if not name.startswith("..")):
            try:
                real = os.path.realpath(path)
            except OSError as problem:
                unread(problem)
                continue
            if os.path.commonpath([root, real]) != root:
                continue
            if not os.path.isdir(real):  # noqa: PTH112
                yield path
            elif depth < MAX_DEPTH and real not in visited:
                visited.add(real)
                folders.append((path, depth + 1))


def _text(path: Path) -> str | None:
    """The token that a file is; None for any other file, and for what is none."""
    if not path.is_file():
        return None
    with os.fdopen(os.open(path, _READ), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        text = file.read(MAX_TOKEN_BYTES + 1).decode("latin-1").strip()
    try:
        claims_of(text)
    except NotAToken:
        return None
    return text


def _in_object(text: str) -> str:
    try:
        found: Any = msgspec.json.decode(text)
        status, data = found.get("status"), found.get("data")
        if isinstance(status, dict):
            return str(status.get("token", ""))
        if isinstance(data, dict):
            return base64.b64decode(str(data.get("token", ""))).decode("utf-8", "replace").strip()
    except (ValueError, RecursionError):
        pass
    return ""
