"""`boundtoken config check | schema`, from the table with which the server reads its
configuration.
"""

import argparse
import json

from .. import cluster_config
from ..core import names
from ..core.policy import ClusterPolicy
from ..errors import BadInput
from . import process
from .config_files import sources, the_source


def parse(file: str, own_namespace: str = names.NAMESPACE) -> ClusterPolicy:
    """The cluster's policy in a configuration file, or in the ConfigMap in it.

    Raises: BadInput, with every fault, each with the name of the file
    """
    return the_source(file).parse(own_namespace).policy


def check(parsed: argparse.Namespace) -> int:
    """Print every fault of a file's configurations; exit 1 if there is one. What has no effect is
    a warning.
    """
    is_valid = True
    for source in sources(parsed.file):
        try:
            configuration = source.parse()
        except BadInput as problem:
            is_valid = False
            print(problem)
            continue
        print(f"{source.where}: valid (hash {configuration.hash})")
        for warning in cluster_config.warnings(configuration.policy):
            process.warn(f"{source.where}: {warning}")
    return 0 if is_valid else 1


def schema(_parsed: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    print(json.dumps(cluster_config.schema(), indent=2))
    return 0
