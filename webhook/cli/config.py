"""`boundtoken config check | schema`: the same table that the server reads its configuration with."""

import argparse
import json
import sys
from pathlib import Path

from .. import configuration
from ..core.policy import ClusterLayer
from ..errors import BadInput


def read(file: str) -> tuple[str, str]:
    """What to call a file, - for standard input, and its text.

    Raises: BadInput, where it cannot be read
    """
    name = "standard input" if file == "-" else file
    try:
        return name, sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as problem:
        raise BadInput(f"{name}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise BadInput(f"{name}: must be UTF-8") from problem


def parse(file: str, own_namespace: str) -> ClusterLayer:
    """What a configuration file says.

    Raises: BadInput, with every fault, each naming the file
    """
    name, text = read(file)
    try:
        return configuration.parse(text, own_namespace=own_namespace).layer
    except BadInput as problem:
        raise BadInput(*(f"{name}: {fault}" for fault in problem.faults)) from problem


def check(parsed: argparse.Namespace) -> int:
    """Say every fault of a configuration file; exit 1 when there is one."""
    name, text = read(parsed.file)
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
