"""`boundtoken config check | schema`: the same table that the server reads its configuration with."""

import argparse
import json
import sys
from pathlib import Path

from .. import configuration
from ..errors import BadInput


def check(parsed: argparse.Namespace) -> int:
    """Say every fault of a configuration file; exit 1 when there is one."""
    name = "standard input" if parsed.file == "-" else parsed.file
    try:
        text = sys.stdin.read() if parsed.file == "-" else Path(parsed.file).read_text(encoding="utf-8")
    except OSError as problem:
        raise BadInput(f"{name}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise BadInput(f"{name}: must be UTF-8") from problem
    try:
        found = configuration.parse(text)
    except BadInput as problem:
        print("\n".join(f"{name}: {fault}" for fault in problem.faults))
        return 1
    print(f"{name}: fine (hash {found.hash})")
    return 0


def schema(_parsed: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    print(json.dumps(configuration.schema(), indent=2))
    return 0
