"""`boundtoken token inspect`: what tokens say of themselves."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.claims import NotAToken
from ...core.text import printable
from ...errors import BadInput, BoundtokenError
from ...tokens.found import MAX_TEXT_BYTES, MOUNTED, token_in, tokens_below
from ...tokens.inspection import Inspection, inspect, lines, report

STDIN = "-"
_TOKEN = re.compile(r"(?i:bearer )?\s*eyJ[\w-]+\.[\w-]*\.", re.ASCII)


class Found(NamedTuple):
    """A token, and where it comes from."""

    place: str
    token: str


def show(parsed: argparse.Namespace) -> int:
    """Print a report of each token; 1 where one is not as it should be."""
    faults: list[str] = []
    tokens = list(_tokens(parsed.file, faults))
    now = time.time()  # after what may have been issued while we were reading
    inspections = [
        (token, inspection)
        for token in tokens
        if (inspection := _inspection(token, now, faults)) is not None
    ]
    _print(parsed.output, inspections, now)
    if faults and not parsed.file:
        raise BoundtokenError("; ".join(faults))
    if faults:
        raise BadInput(*faults)
    return int(any(inspection.findings for _, inspection in inspections))


def _tokens(files: list[str], faults: list[str]) -> Iterator[Found]:
    """Those that are given, or those of the pod; what cannot be read is added to `faults`."""
    if not files:
        if not MOUNTED.is_dir():
            raise BadInput(f"give FILE, or - for standard input: without {MOUNTED} this is no pod")
        found = list(_below(MOUNTED, faults))
        if not found and not faults:
            print(f"boundtoken: no token is mounted below {MOUNTED}", file=sys.stderr)
        yield from found
    for file in files:
        if _TOKEN.match(file):
            faults.append(
                "a token is never an argument, which everybody on this machine can see: write it to standard input, and give -"
            )
        elif file != STDIN and Path(file).is_dir():
            before = len(faults)
            found = list(_below(Path(file), faults))
            yield from found
            if not found and len(faults) == before:
                faults.append(f"{file}: must have a token in it")
        else:
            yield from _of_file(file, faults)


def _below(folder: Path, faults: list[str]) -> Iterator[Found]:
    def unread(problem: OSError) -> None:
        faults.append(f"{problem.filename}: must be readable: {problem.strerror}")

    for path, token in tokens_below(folder, unread):
        yield Found(str(path), token)


def _of_file(file: str, faults: list[str]) -> Iterator[Found]:
    place = "standard input" if file == STDIN else file
    try:
        if file == STDIN:
            if sys.stdin is None:
                raise BadInput("standard input is closed")
            if sys.stdin.isatty():
                print("boundtoken: paste a token, then press Ctrl-D", file=sys.stderr)
            content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_TEXT_BYTES + 1)
        yield Found(place, token_in(content))
    except NotAToken as problem:
        faults.append(f"{place}: {problem}")
    except (OSError, ValueError) as problem:  # ValueError: a name with a null character
        reason = problem.strerror if isinstance(problem, OSError) else problem
        faults.append(f"{place}: must be a readable file: {reason}")


def _inspection(found: Found, now: float, faults: list[str]) -> Inspection | None:
    try:
        return inspect(found.token, now)
    except NotAToken as problem:
        faults.append(f"{found.place}: must have a token: {problem}")
        return None


def _print(form: str, inspections: list[tuple[Found, Inspection]], now: float) -> None:
    if form == "json":
        reports = [{"file": found.place} | report(one, now) for found, one in inspections]
        print(json.dumps({"tokens": reports}, indent=2))
        return
    for found, inspection in inspections:
        print(printable(found.place))
        for label, text in lines(inspection, now):
            print(f"  {label:<11}{_one_line(text)}")


def _one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
