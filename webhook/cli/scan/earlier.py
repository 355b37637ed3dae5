"""The JSON of an earlier scan."""

from typing import Literal

import msgspec

from ...errors import BadInput
from ...scanning.report import VERSION, Report
from ..input import read, title

MAX_BYTES = 256 << 20
"""Some 400,000 tokens."""


class _Head(msgspec.Struct):
    """What every scan has, also where all the rest is missing."""

    kind: Literal["Scan"]
    version: int


def report_in(file: str) -> Report:
    """The report in a file. Raises: BadInput"""
    content = read(file, MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise BadInput(f"{title(file)}: must have at most {MAX_BYTES} bytes")
    try:
        msgspec.json.decode(content, type=_Head)
        report = msgspec.json.decode(content, type=Report)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as problem:
        detail = str(problem) if isinstance(problem, msgspec.DecodeError) else "not readable"
        raise BadInput(
            f"{title(file)}: must be what boundtoken scan -o json prints: {detail}"
        ) from None
    if report.version != VERSION:
        raise BadInput(f"{title(file)}: version must be {VERSION}, and is {report.version}")
    if report.since is not None:
        raise BadInput(
            f"{title(file)}: must be a whole scan, and was made with --since-file itself"
        )
    return report
