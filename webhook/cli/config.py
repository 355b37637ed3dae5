"""`boundtoken config check | schema`: the same table that the server reads its configuration
with.
"""

import argparse
import json
import sys
from pathlib import Path

from .. import cluster_config, documents
from ..cluster_config import MAX_BYTES
from ..core.policy import ClusterPolicy
from ..errors import BadInput


def read(file: str) -> tuple[str, bytes]:
    """What to call a file, - for standard input, and its content, as far as a configuration may be
    long.

    Raises: BadInput, where it cannot be read
    """
    if file == "-":
        return "standard input", sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        return file, documents.read(Path(file), MAX_BYTES)
    except BadInput as problem:
        raise BadInput(f"{file}: {problem}") from problem


def parse(file: str, own_namespace: str) -> ClusterPolicy:
    """What a configuration file says.

    Raises: BadInput, with every fault, each naming the file
    """
    name, content = read(file)
    try:
        return cluster_config.parse(content, own_namespace=own_namespace).layer
    except BadInput as problem:
        raise BadInput(*(f"{name}: {fault}" for fault in problem.faults)) from problem


def check(parsed: argparse.Namespace) -> int:
    """Say every fault of a configuration file; exit 1 when there is one."""
    name, content = read(parsed.file)
    try:
        found = cluster_config.parse(content)
    except BadInput as problem:
        print("\n".join(f"{name}: {fault}" for fault in problem.faults))
        return 1
    print(f"{name}: fine (hash {found.hash})")
    return 0


def schema(_parsed: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    print(json.dumps(cluster_config.schema(), indent=2))
    return 0
