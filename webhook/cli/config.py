"""`boundtoken config check | schema`, from the table with which the server reads its
configuration.
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
    """The name of a file for messages, and its content; - is standard input, which is read no
    further than a configuration may be long.

    Raises: BadInput, if it cannot be read
    """
    if file == "-":
        if sys.stdin is None:
            raise BadInput("standard input is closed")
        return "standard input", sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        return file, documents.read(Path(file), MAX_BYTES)
    except BadInput as problem:
        raise BadInput(f"{file}: {problem}") from problem


def parse(file: str, own_namespace: str) -> ClusterPolicy:
    """The cluster's policy in a configuration file.

    Raises: BadInput, with every fault, each with the name of the file
    """
    name, content = read(file)
    try:
        return cluster_config.parse(content, own_namespace=own_namespace).layer
    except BadInput as problem:
        raise BadInput(*(f"{name}: {fault}" for fault in problem.faults)) from problem


def check(parsed: argparse.Namespace) -> int:
    """Print every fault of a configuration file; exit 1 if there is one."""
    name, content = read(parsed.file)
    try:
        configuration = cluster_config.parse(content)
    except BadInput as problem:
        print("\n".join(f"{name}: {fault}" for fault in problem.faults))
        return 1
    print(f"{name}: valid (hash {configuration.hash})")
    return 0


def schema(_parsed: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    print(json.dumps(cluster_config.schema(), indent=2))
    return 0
