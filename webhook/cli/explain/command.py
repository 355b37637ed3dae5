"""`boundtoken explain`: reads what is needed, and prints what admission does and why.

Exit codes: 0 told; 1 a token was requested and there is none, a pod differs from what it would get
now, or it is refused; 3 an object is not there, or the cluster cannot be reached. What may not be
read is told, and is no failure.
"""

import argparse
import asyncio
import json

from ...errors import BadInput
from ..config import parse
from ..process import protect
from . import given, live, offline
from .output import print_tree
from .report import cleaned

SUCCESS, PROBLEMS = 0, 1


def explain(parsed: argparse.Namespace) -> int:
    """Explain every object; exit 1 where there are problems."""
    protect()
    given.check(parsed)
    own = parsed.webhook_namespace
    configuration = parse(parsed.config, own or "") if parsed.config else None
    if parsed.filename:
        manifests = given.manifests(parsed.filename)
        if not manifests.documents:
            raise BadInput(*manifests.left, "there is no object in what -f gives")
        if parsed.from_cluster:
            result = asyncio.run(live.explain(parsed, configuration, manifests.documents))
        else:
            result = offline.explain(parsed, configuration, manifests.documents)
        result["notes"] += manifests.left
    else:
        result = asyncio.run(live.explain(parsed, configuration, given.named(parsed)))
    result = cleaned(result)
    if parsed.output == "json":
        print(json.dumps(result, indent=2))
    else:
        print_tree(result)
    return PROBLEMS if any(one["problems"] for one in result["objects"]) else SUCCESS
