"""The flags of `boundtoken explain`."""

import argparse

from .. import arguments

EXAMPLES = """
  # its template, its pods, and what they would get now
  boundtoken explain deployment/cart -n shop
  # what it has, what it would get, and the owner to restart
  boundtoken explain pod/cart-5fc9f4bf66-x7k2p
  # without a cluster; exit 1 where a token is requested and there is none
  boundtoken explain -f cart.yaml -n shop --namespace-file shop.yaml
  # a manifest, as the cluster would take it
  boundtoken explain -f cart.yaml --from-cluster -o json
  # whether boundtoken was away when it was made
  boundtoken explain pod/cart --audit-log audit.log"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = arguments.command(
        commands,
        "explain",
        "tell what a pod gets, which layer decides, and why it differs",
        EXAMPLES,
    )
    command.add_argument(
        "objects",
        metavar="TYPE/NAME",
        nargs="*",
        help="pods, deployments, statefulsets, daemonsets, replicasets, jobs, cronjobs, or their short names",
    )
    command.add_argument(
        "-f",
        "--filename",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="manifests instead: YAML, JSON, Lists, folders with theirs; - for standard input",
    )
    command.add_argument(
        "--namespace-file",
        metavar="FILE",
        action="append",
        default=[],
        help="with -f: YAML with Namespaces; those among the manifests count too, and win; repeatable",
    )
    command.add_argument(
        "--config",
        metavar="FILE",
        help="the cluster's configuration (default that of the cluster; with -f the defaults)",
    )
    command.add_argument(
        "--from-cluster",
        action="store_true",
        help="with -f: as the cluster of the kubeconfig would take the manifests",
    )
    command.add_argument(
        "--audit-log", metavar="FILE", help="the API server's audit log; - for standard input"
    )
    command.add_argument("--show-patch", action="store_true", help="the operations of the patch")
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    _cluster(command)
    command.set_defaults(run=arguments.lazy("explain.command", "explain"))


def _cluster(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help="namespace of the objects (default that of the context, else default)",
    )
    command.add_argument(
        "--webhook-namespace",
        metavar="NAME",
        help="namespace of boundtoken (default that of its webhook configuration)",
    )
    arguments.kubeconfig_flags(command)
