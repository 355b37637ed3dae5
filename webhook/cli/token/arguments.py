"""The flags and the help of `boundtoken token`. It imports no command."""

import argparse
from pathlib import Path

from .. import arguments
from ..arguments import group, kubeconfig_flags
from . import audit_arguments, keeping_arguments
from .common import audience, protected, server

EXAMPLES: dict[str, str] = {
    "request": """
  # for a service that is called vault, as long as the API server's default
  boundtoken token request cart -n shop --audience https://vault.example.com
  # TOKEN and TOKEN_EXPIRATION_TIMESTAMP in this shell
  eval "$(boundtoken token request cart --duration 10m -o env)"
  # the pod's account; the token dies with the pod
  boundtoken token request --for-pod cart-0 -n shop""",
    "inspect": """
  # whose it is, what for, bound to what, and how long it lives
  kubectl create token cart | boundtoken token inspect -
  # in a pod: every token below /var/run/secrets; exit 1 if one is legacy, expired, or extended to
  # a year
  boundtoken token inspect
  # as JSON, and what the API server says of it
  boundtoken token inspect token.txt --verify -o json
  # whether an issuer has signed it, by the keys that it publishes
  boundtoken token inspect token.txt --jwks https://issuer.example.com""",
    "exec-credential": """
  # what kubectl runs; `boundtoken token kubeconfig` writes it into a kubeconfig
  boundtoken token exec-credential cart -n shop --context admin@prod
  # in a pod, with the pod's own account
  boundtoken token exec-credential cart -n shop --in-cluster --duration 1h""",
    "kubeconfig": """
  # kubectl as shop/cart: tokens of an hour, requested with your own credentials
  boundtoken token kubeconfig cart -n shop --out cart.kubeconfig && \\
    kubectl --kubeconfig cart.kubeconfig get pods
  # with a token in it, for a pipeline that cannot run boundtoken
  boundtoken token kubeconfig deployer -n shop --static --duration 8h --out deployer.kubeconfig""",
    **keeping_arguments.EXAMPLES,
    **audit_arguments.EXAMPLES,
}
TOKEN_FORMS = ("token", "json", "yaml", "env", "exec-credential")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group of commands."""
    token = arguments.command(
        commands, "token", "ask for tokens, look at them, trace them", "".join(EXAMPLES.values())
    )
    members = group(token)
    _request(_command(members, "request", "request a token of a service account"))
    _inspect(
        _command(
            members, "inspect", "show what tokens say of themselves, and whether they are valid"
        )
    )
    _exec_credential(
        _command(
            members,
            "exec-credential",
            "give kubectl a token of a service account, cached: the exec plugin of a kubeconfig",
        )
    )
    _kubeconfig(_command(members, "kubeconfig", "make a kubeconfig for a service account"))
    keeping_arguments.add(members)
    audit_arguments.add(members)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, what: str
) -> argparse.ArgumentParser:
    return arguments.command(commands, name, what, EXAMPLES[name])


def _inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file",
        metavar="FILE",
        nargs="*",
        help="a file with a token, a folder with such files, or - for standard input (default, in a pod: every mounted token)",
    )
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    command.add_argument(
        "--verify",
        action="store_true",
        help="ask the API server whether it is valid, by a TokenReview",
    )
    command.add_argument(
        "--jwks",
        metavar="KEYS",
        help="verify the signature by the keys of KEYS: cluster (those that the API server publishes), the https URL of an "
        "issuer, or a file",
    )
    command.add_argument(
        "--ca-file",
        metavar="FILE",
        type=Path,
        help="with --jwks URL: the authorities of the issuer (default the system's)",
    )
    command.add_argument(
        "--audience",
        metavar="AUDIENCE",
        action="append",
        default=[],
        help="with --verify or --jwks: valid for whom, may be repeated (default the first that the token is for)",
    )
    kubeconfig_flags(command)
    command.set_defaults(run=protected("inspect", "show"), namespace=None)


def _kubeconfig(command: argparse.ArgumentParser) -> None:
    _new_token(command)
    command.add_argument(
        "--static",
        action="store_true",
        help="with a token in it, which expires, rather than with a command that requests tokens",
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write it into this file, which only you can read (default standard output)",
    )
    command.add_argument("--force", action="store_true", help="with --out: replace the file")
    command.add_argument(
        "-o", "--output", choices=["yaml", "json"], default="yaml", help="yaml (default) or json"
    )
    server(command)
    command.set_defaults(run=protected("kubeconfig", "write"))


def _request(command: argparse.ArgumentParser) -> None:
    _new_token(command)
    command.add_argument(
        "--for-pod",
        metavar="POD",
        help="instead of ACCOUNT: the account of this pod, and bound to the pod",
    )
    command.add_argument(
        "-o",
        "--output",
        choices=TOKEN_FORMS,
        default="token",
        help="token (default); json or yaml: the TokenRequest; env: lines NAME=value; exec-credential: for a client's exec plugin",
    )
    command.add_argument(
        "--show-managed-fields",
        action="store_true",
        help="with -o json or yaml: with metadata.managedFields",
    )
    server(command)
    command.set_defaults(run=protected("request", "request"))


def _exec_credential(command: argparse.ArgumentParser) -> None:
    _new_token(command)
    command.add_argument(
        "--in-cluster",
        action="store_true",
        help="request it with the credentials of this pod rather than a kubeconfig's",
    )
    command.add_argument(
        "-o", "--output", choices=["json"], default="json", help="json, the only one"
    )
    server(command)
    command.set_defaults(run=protected("exec_credential", "credential"))


def _new_token(command: argparse.ArgumentParser) -> None:
    """Add what to ask for, with kubectl's words."""
    command.add_argument(
        "account", metavar="ACCOUNT", nargs="*", help="name of the service account"
    )
    audience(command)
    command.add_argument(
        "--duration",
        metavar="DURATION",
        default="0s",
        help="how long the token shall live, such as 10m or 1h; the API server may make it longer or shorter "
        "(default 0s: the API server decides)",
    )
    command.add_argument(
        "--bound-object-kind",
        metavar="Pod|Secret|Node",
        default="",
        help="bind the token to an object of this kind",
    )
    command.add_argument(
        "--bound-object-name",
        metavar="NAME",
        default="",
        help="its name; the token dies with the object",
    )
    command.add_argument(
        "--bound-object-uid",
        metavar="UID",
        default="",
        help="its uid (default that of the present object)",
    )
