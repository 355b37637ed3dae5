"""`boundtoken token audit-policy`: what the API server must be told to record."""

import argparse
import json

from ...errors import BadInput
from ...tokens.audit.merging import MAX_BYTES, merge, written
from ...tokens.audit.policy import NEEDS, complete
from ..input import read, title
from ..process import say


def audit_policy(parsed: argparse.Namespace) -> int:
    """Print a policy; says on standard error what a given one already records."""
    policy, text = complete(), written(complete(), NEEDS)
    if parsed.merge is not None:
        name, content = title(parsed.merge), read(parsed.merge, MAX_BYTES)
        try:
            merged = merge(content)
        except BadInput as problem:
            raise BadInput(*(f"{name}: {fault}" for fault in problem.faults)) from None
        policy, text = merged.policy, merged.text
        for line in merged.notes:
            say(f"{name}: {line}")
    print(json.dumps(policy, indent=2) if parsed.output == "json" else text.rstrip("\n"))
    return 0
