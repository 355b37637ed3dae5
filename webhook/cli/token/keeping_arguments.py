"""The flags and the help of `boundtoken token write`, `run`, `jwks` and `rbac`. It imports no
command.
"""

import argparse

from .. import arguments
from ..arguments import kubeconfig_flags
from .common import audience, protected, server

EXAMPLES: dict[str, str] = {
    "write": """
  # token, ca.crt and namespace in a folder, renewed until it is stopped
  boundtoken token write cart -n shop --audience https://vault.example.com --to /run/cart
  # for other users too; a command after each change
  boundtoken token write cart -n shop --to /run/cart --mode 0644 --exec 'systemctl reload cart'
  # once, for a timer
  boundtoken token write cart -n shop --to /run/cart --once""",
    "run": """
  # as system:serviceaccount:shop:deployer
  boundtoken token run deployer -n shop -- kubectl apply -f deploy/
  # for a program that takes the token's file from a variable
  boundtoken token run cart -n shop --audience sts.amazonaws.com \\
    --env AWS_WEB_IDENTITY_TOKEN_FILE -- aws s3 ls""",
    "jwks": """
  # issuer and keys, and who may read them
  boundtoken token jwks
  # does the public issuer serve what the API server has? exit 1 if not
  boundtoken token jwks --check https://oidc.example.com/shop
  # the two documents, to upload to a static bucket
  boundtoken token jwks --out public""",
    "rbac": """
  # deployer may request tokens of cart, and of no other account
  boundtoken token rbac cart -n shop --for serviceaccount:ci/deployer | kubectl apply -f -
  # what an application needs for itself
  boundtoken token rbac -n shop --for serviceaccount:shop/cart --verb get,list --resource configmaps
  # who may request tokens today, in the whole cluster
  boundtoken token rbac --check
  # may deployer? exit 1 if not
  boundtoken token rbac --check cart -n shop --for serviceaccount:ci/deployer""",
}


def add(members: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these commands to the group."""
    for name, flags, what in (
        ("write", _write, "keep a fresh token in a folder, as the kubelet does"),
        ("run", _run, "run a program with a fresh kubeconfig and token file"),
        ("jwks", _jwks, "show the keys that verify tokens, as outside services see them"),
        ("rbac", _rbac, "write Roles for requesting tokens, and show who may today"),
    ):
        flags(arguments.command(members, name, what, EXAMPLES[name]))


def _write(command: argparse.ArgumentParser) -> None:
    _kept_token(command)
    command.add_argument(
        "--to",
        metavar="DIR",
        required=True,
        help="the folder, made where it is not there; it may have nothing else in it",
    )
    command.add_argument(
        "--mode",
        choices=("0600", "0644"),
        default="0600",
        help="of the files: for this user only (default 0600), or for everybody",
    )
    command.add_argument(
        "--once", action="store_true", help="write one token and end, instead of keeping it fresh"
    )
    command.add_argument(
        "--signal-pid",
        metavar="PID|FILE",
        help="send SIGHUP to this process after each change; a file holds its id",
    )
    command.add_argument(
        "--exec",
        metavar="COMMAND",
        help="run this command line with /bin/sh after each change, for at most 60 s",
    )
    command.add_argument(
        "-o",
        "--output",
        choices=["text", "json"],
        default="text",
        help="text (default): a line on standard error for each change; json: one on standard output",
    )
    server(command)
    command.set_defaults(run=protected("write", "write", has_children=True))


def _run(command: argparse.ArgumentParser) -> None:
    _kept_token(command)
    command.add_argument(
        "command",
        metavar="COMMAND",
        nargs=argparse.PARSER,
        help="the program and its arguments, after --; it gets KUBECONFIG and BOUNDTOKEN_TOKEN_FILE, "
        "and its exit code is ours (127: no such program, 126: it cannot be run, 128+N: ended by signal N)",
    )
    command.add_argument(
        "--env",
        metavar="NAME",
        action="append",
        default=[],
        help="also set this variable to the path of the token file, may be repeated",
    )
    server(command)
    command.set_defaults(run=protected("run", "run", has_children=True))


def _jwks(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check",
        metavar="ISSUER",
        help="compare with what this URL serves; exit 1 if something differs",
    )
    command.add_argument(
        "--ca-file",
        metavar="FILE",
        help="with --check: certificates that verify the issuer (default the system's)",
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        help="write the two documents into this folder, as they stand below the issuer's URL",
    )
    _output(command)
    kubeconfig_flags(command)
    command.set_defaults(run=protected("jwks", "jwks"), namespace=None)


def _rbac(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "account",
        metavar="ACCOUNT",
        nargs="*",
        help="service accounts whose tokens may be requested",
    )
    command.add_argument(
        "--for",
        dest="subject",
        metavar="SUBJECT",
        action="append",
        default=[],
        help="who: serviceaccount:NAMESPACE/NAME, user:NAME or group:NAME, may be repeated",
    )
    for flag, what in (
        ("verb", "what it needs for itself: verbs, separated by commas"),
        (
            "resource",
            "RESOURCE[.GROUP][/SUBRESOURCE], separated by commas, such as deployments.apps",
        ),
        ("resource-name", "only these objects of the resources, separated by commas"),
    ):
        command.add_argument(
            f"--{flag}", metavar=flag.upper(), action="append", default=[], help=what
        )
    command.add_argument("--name", metavar="NAME", help="of the Role and the RoleBinding")
    command.add_argument(
        "--check",
        action="store_true",
        help="show who may request tokens today; with --for, exit 1 if one of them may not",
    )
    command.add_argument(
        "-o",
        "--output",
        choices=["yaml", "json", "table"],
        help="yaml (default) or json; with --check table (default) or json",
    )
    server(
        command,
        "of the accounts (default that of the context); with --check and without ACCOUNT: only this one",
    )
    command.set_defaults(run=protected("rbac", "rbac"))


def _kept_token(command: argparse.ArgumentParser) -> None:
    """Add what token to keep, with kubectl's words."""
    command.add_argument("account", metavar="ACCOUNT", help="name of the service account")
    audience(command)
    command.add_argument(
        "--duration",
        metavar="DURATION",
        help="lifetime to ask for, such as 10m or 1h (default 1h); it is renewed after 80 %% of it",
    )


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
