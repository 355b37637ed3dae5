"""`boundtoken token kubeconfig`: a kubeconfig for a service account."""

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import yaml

from ...cluster.credentials import FromKubeconfig
from ...core.text import one_line
from ...errors import BadInput, BoundtokenError
from ...tokens.kubectl.create import NewToken
from ...tokens.kubectl.exec_credential import ExecCluster, timestamp
from ...tokens.kubectl.kubeconfig import authority_data, exec_user, kubeconfig
from ...tokens.kubectl.private_folder import write_private
from ..process import say
from .access import Access, access
from .exec_credential import shared_token
from .new import created_token, located, new_token
from .source import kubeconfig_files

COMMANDS = ("boundtoken", "kubectl-boundtoken")


def write(parsed: argparse.Namespace) -> int:
    """Print a kubeconfig, or write it into a file that only this user can read."""
    new = new_token(parsed)
    _check_out(parsed)
    chosen = access(parsed)
    new = located(new, parsed, chosen)
    made = _static(parsed, chosen, new) if parsed.static else _renewed(parsed, chosen, new)
    if parsed.out is None:
        print(made, end="")
        return 0
    try:
        write_private(parsed.out, made.encode(), replace=parsed.force)
    except OSError as problem:
        raise BoundtokenError(f"{parsed.out}: {problem.strerror}") from None
    return 0


def _check_out(parsed: argparse.Namespace) -> None:
    """Before a token is requested that could not be written. Raises: BadInput"""
    if parsed.out is None:
        if parsed.force:
            raise BadInput("--force goes with --out")
        return
    if not parsed.out.parent.is_dir():
        raise BadInput(f"{parsed.out.parent}: must be a folder that is there")
    if os.path.lexists(parsed.out) and not parsed.force:
        raise BadInput(f"{parsed.out}: is there already; --force replaces it")


def _renewed(parsed: argparse.Namespace, chosen: Access, new: NewToken) -> str:
    """A kubeconfig whose tokens are requested when they are needed. It is tried first, so that who
    makes it hears of what is wrong, rather than who uses it.
    """
    from ..main import parser  # noqa: PLC0415  (it imports the commands' flags, not the commands)

    address = chosen.credentials.address()
    flags = ["token", "exec-credential", *_flags(parsed, chosen, new)]
    cluster = ExecCluster(address.server, authority_data(address))
    shared_token(parser().parse_args(flags), cluster)
    say(f"requests tokens of {new} with {_whose(parsed, chosen)}")
    user = exec_user([*_command(), *flags])
    comment = [
        f"kubeconfig of service account {new}, by boundtoken.",
        f"Its tokens are requested with {_whose(parsed, chosen)}.",
    ]
    return _text(parsed, kubeconfig(address, new, user), comment)


def _static(parsed: argparse.Namespace, chosen: Access, new: NewToken) -> str:
    """A kubeconfig with a token in it, for where nothing can be run."""
    issued = created_token(chosen, new).issued
    expiry = timestamp(issued.expires_at)
    say(f"its token expires at {expiry}")
    comment = [
        f"kubeconfig of service account {new}, by boundtoken.",
        f"Its token expires at {expiry}. A new one:",
        "  " + shlex.join(["boundtoken", *sys.argv[1:]]),
    ]
    content = kubeconfig(chosen.credentials.address(), new, {"token": issued.text})
    return _text(parsed, content, comment)


def _flags(parsed: argparse.Namespace, chosen: Access, new: NewToken) -> list[str]:
    """Those of exec-credential that ask for the same, whatever KUBECONFIG is then."""
    flags = [new.account, "--namespace", new.namespace]
    for audience in new.audiences:
        flags += [f"--audience={audience}"]
    if new.seconds is not None:
        flags += ["--duration", f"{new.seconds}s"]
    if (bound := new.bound_to) is not None:
        flags += ["--bound-object-kind", bound.kind, f"--bound-object-name={bound.name}"]
        flags += [f"--bound-object-uid={bound.uid}"] if bound.uid else []
    if isinstance(chosen.credentials, FromKubeconfig):
        files = ":".join(kubeconfig_files(parsed))
        return [*flags, f"--kubeconfig={files}", f"--context={chosen.credentials.context}"]
    return [*flags, "--in-cluster"]


def _whose(parsed: argparse.Namespace, chosen: Access) -> str:
    if isinstance(chosen.credentials, FromKubeconfig):
        files = ":".join(kubeconfig_files(parsed))
        return f"context {chosen.credentials.context} of {files}"
    return "the credentials of this pod"


def _command() -> list[str]:
    """The program that runs now, wherever PATH leads whoever runs kubectl."""
    started = Path(sys.argv[0])
    if started.name in COMMANDS and (found := shutil.which(str(started))) is not None:
        return [str(Path(found).absolute())]
    return [sys.executable, "-m", "webhook"]


def _text(parsed: argparse.Namespace, content: dict[str, object], comment: list[str]) -> str:
    if parsed.output == "json":
        return json.dumps(content, indent=2) + "\n"
    lines = "".join(f"# {one_line(line)}\n" for line in comment)
    return lines + str(yaml.safe_dump(content, sort_keys=False, width=10_000))
