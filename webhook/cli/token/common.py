"""What the flags of the commands of `boundtoken token` have in common."""

import argparse

from ..arguments import kubeconfig_flags, lazy


def protected(module: str, function: str, *, has_children: bool = False) -> object:
    """A command that lets no token out of its process; it imports its module when it runs."""
    run = lazy(f"token.{module}", function)

    def protected(parsed: argparse.Namespace) -> int:
        from ..process import protect  # noqa: PLC0415

        protect(has_children=has_children)
        return int(run(parsed))

    return protected


def server(
    command: argparse.ArgumentParser,
    namespace: str = "namespace of the service account (default that of the context, else default)",
) -> None:
    """Add the flags that choose the API server and a namespace, with kubectl's words."""
    command.add_argument("-n", "--namespace", metavar="NAME", help=namespace)
    kubeconfig_flags(command)


def audience(command: argparse.ArgumentParser) -> None:
    """Add the flag for whom the token is, with kubectl's words."""
    command.add_argument(
        "--audience",
        metavar="AUDIENCE",
        action="append",
        default=[],
        help="audience of the token, may be repeated (default the API server's own)",
    )
