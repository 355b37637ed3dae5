"""The flags of `boundtoken scan`."""

import argparse

from ...scanning.report import FAIL_ON
from .. import arguments

FORMATS = ("table", "wide", "json", "yaml", "csv", "sarif", "junit", "html", "markdown")
EXAMPLES = """
  # every token of a cluster, and what to do about it
  boundtoken scan
  # a namespace, each token with its mounts
  boundtoken scan -n shop -o wide
  # exit 1 where there are such
  boundtoken scan --fail-on year-long,missing
  # only what is new since, and what is gone
  boundtoken scan -o json > before.json
  boundtoken scan --since-file before.json
  # manifests, in a pipeline
  boundtoken scan -f manifests/ -o sarif
  # write patches to read, then: sh fixes/apply.sh
  boundtoken scan --fix fixes"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = arguments.command(
        commands,
        "scan",
        "list every token that pods and templates hold, and what to do about them",
        EXAMPLES,
    )
    _selection(command)
    command.add_argument(
        "--config",
        metavar="FILE",
        help="the cluster's configuration (default that of the cluster; with -f the defaults)",
    )
    command.add_argument(
        "-o",
        "--output",
        metavar="FORMAT",
        choices=FORMATS,
        default="table",
        help=f"{', '.join(FORMATS)} (default table)",
    )
    command.add_argument(
        "--fail-on",
        metavar=",".join(FAIL_ON),
        type=lambda text: tuple(filter(None, (part.strip() for part in text.split(",")))),
        default=(),
        help="exit 1 where there is a finding of these",
    )
    command.add_argument(
        "--since-file",
        metavar="FILE",
        help="the JSON of an earlier scan: only what is new, and what is gone",
    )
    command.add_argument(
        "--fix",
        metavar="DIR",
        help="write patches for a person to apply into this folder, which must be new or empty",
    )
    command.add_argument(
        "--webhook-namespace",
        metavar="NAME",
        help="namespace of boundtoken (default that of its webhook configuration)",
    )
    arguments.kubeconfig_flags(command)
    command.set_defaults(run=arguments.lazy("scan.command", "scan"))


def _selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        action="append",
        default=[],
        help="a namespace, repeatable (default all); with -f that of objects that name none",
    )
    command.add_argument(
        "-A", "--all-namespaces", action="store_true", help="every namespace (the default)"
    )
    command.add_argument(
        "-l", "--selector", metavar="LABELS", help="pods and workloads with these labels only"
    )
    command.add_argument(
        "--namespace-selector", metavar="LABELS", help="namespaces with these labels only"
    )
    command.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        action="append",
        default=[],
        help="manifests instead of a cluster: files, folders, - for standard input; repeatable",
    )
