"""The documents of an issuer as files, for a static bucket."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from ..errors import FolderError
from ..folder.directories import open_directory
from .documents import DISCOVERY_PATH, JWKS_PATH, Published

FOLDER_MODE, FILE_MODE = 0o755, 0o644
MAX_PARTS = 10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Upload(NamedTuple):
    """A file, and the URL that has to serve it as application/json."""

    file: Path
    url: str


def write_documents(folder: Path, published: Published) -> list[Upload]:
    """Write both documents into `folder`, which stands for the issuer's URL and is made where it is
    not there. `jwks_uri` is changed where it does not stand below the issuer: a bucket has only its
    own URL. Each file is replaced at once; nothing else in the folder is touched.

    Raises: FolderError
    """
    if any(key.is_private for key in published.keys):
        raise FolderError(folder, "the key set has a private key in it, so it is not written")
    base = published.issuer.rstrip("/")
    path = _path_below(published.jwks_uri, base)
    discovery = {**published.discovery, "jwks_uri": base + path}
    root = open_directory(folder, make=FOLDER_MODE)
    try:
        # The keys first: who reads the new document must find them.
        for place, document in ((path, published.jwks), (DISCOVERY_PATH, discovery)):
            _write(root, place.strip("/").split("/"), msgspec.json.encode(document))
    except OSError as problem:
        raise FolderError(folder, problem) from None
    finally:
        os.close(root)
    return [Upload(folder / place.strip("/"), base + place) for place in (DISCOVERY_PATH, path)]


def _path_below(url: str, base: str) -> str:
    """The path of `url` below the issuer's, or the API server's usual one."""
    path = url.removeprefix(base)
    parts = path.strip("/").split("/")
    is_below = url.startswith(f"{base}/") and not urlsplit(url).query
    is_plain = len(parts) <= MAX_PARTS and all(
        part not in ("", ".", "..")
        and part.replace("-", "").replace("_", "").replace(".", "").isalnum()
        for part in parts
    )
    is_free = path != DISCOVERY_PATH and path.isascii()
    return path if is_below and is_plain and is_free else JWKS_PATH


def _write(root: int, parts: list[str], content: bytes) -> None:
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, FOLDER_MODE, dir_fd=folder)
            following = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = following
        _replace(folder, parts[-1], content)
    finally:
        os.close(folder)


def _replace(folder: int, name: str, content: bytes) -> None:
    draft = f".{name}.{secrets.token_hex(8)}"
    file = os.open(draft, _NEW, FILE_MODE, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(file)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(draft, dir_fd=folder)
        raise
