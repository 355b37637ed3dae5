"""The tokens that a command is given: in files and folders, on standard input, mounted in a pod."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.claims import NotAToken
from ...errors import BadInput
from ...tokens.inspection.files import MAX_TEXT_BYTES, MOUNTED, token_in, tokens_below
from ..input import STANDARD_INPUT, read, title
from ..process import say


class GivenToken(NamedTuple):
    """A text that should be a token, and where it comes from."""

    place: str
    token: str


def given_tokens(files: list[str], faults: list[str]) -> Iterator[GivenToken]:
    """Those of `files`, or without any those of the pod; what cannot be read is added to `faults`.

    Raises: BadInput, without a file outside of a pod
    """
    if not files:
        if not MOUNTED.is_dir():
            raise BadInput(f"give FILE, or - for standard input: without {MOUNTED} this is no pod")
        found = list(_below(MOUNTED, faults))
        if not found and not faults:
            say(f"no token is mounted below {MOUNTED}")
        yield from found
    for file in files:
        if not file:
            faults.append("FILE must not be an empty string")
        elif file != STANDARD_INPUT and os.path.isdir(file):  # noqa: PTH112  (Path raises for a long name)
            before = len(faults)
            found = list(_below(Path(file), faults))
            yield from found
            if not found and len(faults) == before:
                faults.append(f"{file}: must have a token in it")
        else:
            yield from _of_file(file, faults)


def _below(folder: Path, faults: list[str]) -> Iterator[GivenToken]:
    def unread(problem: OSError) -> None:
        faults.append(f"{problem.filename}: must be readable: {problem.strerror}")

    for path, token in tokens_below(folder, unread):
        yield GivenToken(str(path), token)


def _of_file(file: str, faults: list[str]) -> Iterator[GivenToken]:
    place = title(file)
    try:
        if file == STANDARD_INPUT:
            if sys.stdin is not None and sys.stdin.isatty():
                say("paste a token, then press Ctrl-D")
            content = read(file, MAX_TEXT_BYTES)
        else:  # a pipe too, such as a shell's <(kubectl create token cart)
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_TEXT_BYTES + 1)
        yield GivenToken(place, token_in(content))
    except NotAToken as problem:
        faults.append(f"{place}: {problem}")
    except (OSError, ValueError) as problem:  # ValueError: a name with a null character
        reason = problem.strerror if isinstance(problem, OSError) else problem
        faults.append(f"{place}: must be a readable file: {reason}")
