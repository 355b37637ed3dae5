"""The flags and the help of `boundtoken token`. It imports no command."""

import argparse

from .. import arguments
from ..arguments import group, lazy

EXAMPLES: dict[str, str] = {
    "request": """
  boundtoken token request cart -n shop --audience https://vault.example.com""",
}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group of commands."""
    token = arguments.command(
        commands, "token", "ask for tokens, look at them, trace them", "".join(EXAMPLES.values())
    )
    members = group(token)
    _request(_command(members, "request", "request a token of a service account"))


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, what: str
) -> argparse.ArgumentParser:
    return arguments.command(commands, name, what, EXAMPLES[name])


def _request(command: argparse.ArgumentParser) -> None:
    command.add_argument("account", metavar="ACCOUNT", help="name of the service account")
    command.add_argument(
        "--audience",
        metavar="AUDIENCE",
        action="append",
        default=[],
        help="audience of the token, may be repeated (default the API server's own)",
    )
    _server(command)
    command.set_defaults(run=lazy("token.request", "request"))


def _server(command: argparse.ArgumentParser) -> None:
    """Add the flags that choose the API server and a namespace, with kubectl's words."""
    command.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help="namespace of the service account (default that of the context, else default)",
    )
    command.add_argument(
        "--kubeconfig", metavar="FILE", help="default: KUBECONFIG, then ~/.kube/config"
    )
    command.add_argument(
        "--context", metavar="NAME", help="context of the kubeconfig (default its current one)"
    )
