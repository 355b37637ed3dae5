"""The flags of `boundtoken check`."""

import argparse

from .. import arguments

EXAMPLES = """
  # the installation; exit 1 where something failed
  boundtoken check
  # the cluster, before installing
  boundtoken check --pre
  # after an upgrade: until nothing fails any more
  boundtoken check --wait 120
  # with the commands that mend it
  boundtoken check --fix-hint
  # for a pipeline; -o json for programs
  boundtoken check -o junit > check.xml
  # the usual complaints about one workload
  boundtoken check workload deployment/cart -n shop"""
OUTPUTS = ("text", "json", "junit")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = arguments.command(
        commands, "check", "tell whether boundtoken works, and what to do where not", EXAMPLES
    )
    command.add_argument(
        "words",
        metavar="workload TYPE/NAME",
        nargs="*",
        help="instead of the installation: a pod or a workload, as explain takes it",
    )
    command.add_argument(
        "-o", "--output", choices=OUTPUTS, default="text", help="text (default), json or junit"
    )
    command.add_argument("--pre", action="store_true", help="the cluster, before installing")
    command.add_argument(
        "--fix-hint", action="store_true", help="with the commands that mend what is wrong"
    )
    command.add_argument(
        "--wait",
        metavar="SECONDS",
        help="again until nothing fails and nothing is unknown, for so long at most",
    )
    command.add_argument(
        "--dry-run-namespace",
        metavar="NAME",
        help="where a pod is created in a dry run (default the first that requests injection and lets it in, else default)",
    )
    command.add_argument(
        "--no-dry-run",
        action="store_true",
        help="read only: without the checks that send a dry run, which needs the right to create",
    )
    command.add_argument(
        "--request-token",
        action="store_true",
        help="request a token of 3607 s of boundtoken's account, and tell how long it lives",
    )
    command.add_argument(
        "--can",
        metavar="VERB/RESOURCE",
        action="append",
        default=[],
        help="of a workload: whether its service account may, such as get/configmaps; repeatable",
    )
    _cluster(command)
    # Flags of explain, which reads a workload, that have no meaning here.
    command.set_defaults(
        run=arguments.lazy("check.command", "check"), audit_log=None, show_patch=False
    )


def _cluster(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help="namespace of the workload (default that of the context, else default)",
    )
    command.add_argument(
        "--webhook-namespace",
        metavar="NAME",
        help="namespace of boundtoken (default that of its webhook configuration)",
    )
    arguments.kubeconfig_flags(command)
