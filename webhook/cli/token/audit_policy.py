"""`boundtoken token audit-policy`: what the API server must be told to record."""

import argparse
import json
import sys
from pathlib import Path

from ... import documents
from ...errors import BadInput
from ...tokens.audit.files import STANDARD_INPUT
from ...tokens.audit.merging import MAX_BYTES, merge, written
from ...tokens.audit.policy import NEEDS, complete
from .process import say


def audit_policy(parsed: argparse.Namespace) -> int:
    """Print a policy; says on standard error what a given one already records."""
    policy, text = complete(), written(complete(), NEEDS)
    if parsed.merge is not None:
        name = "standard input" if parsed.merge == STANDARD_INPUT else parsed.merge
        try:
            merged = merge(_content(parsed.merge))
        except BadInput as problem:
            raise BadInput(*(f"{name}: {fault}" for fault in problem.faults)) from None
        policy, text = merged.policy, merged.text
        for line in merged.notes:
            say(f"{name}: {line}")
    print(json.dumps(policy, indent=2) if parsed.output == "json" else text.rstrip("\n"))
    return 0


def _content(file: str) -> bytes:
    """Raises: BadInput"""
    if file != STANDARD_INPUT:
        return documents.read(Path(file), MAX_BYTES)
    if sys.stdin is None:
        raise BadInput("is closed")
    return sys.stdin.buffer.read(MAX_BYTES + 1)
