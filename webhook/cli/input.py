"""What a command is given to read: a file, or `-` for standard input."""

import sys
from pathlib import Path

from .. import documents
from ..errors import BadInput

STANDARD_INPUT = "-"


def title(file: str) -> str:
    """The name of a file in messages."""
    return "standard input" if file == STANDARD_INPUT else file


def read(file: str, limit: int) -> bytes:
    """The content, at most `limit` + 1 bytes: one more than allowed shows that it is too long.

    Raises: BadInput, with the name of the file
    """
    if file == STANDARD_INPUT:
        if sys.stdin is None:
            raise BadInput("standard input is closed")
        return sys.stdin.buffer.read(limit + 1)
    try:
        return documents.read(Path(file), limit)
    except BadInput as problem:
        raise BadInput(f"{file}: {problem}") from problem
