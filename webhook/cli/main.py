"""The parser and the dispatch of commands; turns an error into one line and an exit code.

Exit codes of all commands: 0 success, 1 problems found, 2 usage error, 3 failure. Each command
imports what it needs when it runs, because `serve` must start fast and small.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__, options
from ..errors import BadInput, BoundtokenError, missing_package
from ..options import OPTIONS
from . import arguments, manifest_arguments
from .arguments import PROGRAM, cluster, escape_output, group, lazy, refuse_tokens
from .check import arguments as check_arguments
from .completion import arguments as completion_arguments
from .explain import arguments as explain_arguments
from .help import arguments as help_arguments
from .scan import arguments as scan_arguments
from .token import arguments as token_arguments

SUCCESS, PROBLEMS, USAGE_ERROR, FAILURE = range(4)


def main(words: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run a command; gives its exit code. Without a command, or with only a group of commands, it
    prints the help. `program` is what people type to run it.
    """
    given = sys.argv[1:] if words is None else words
    escape_output()
    try:
        if given[:1] == [COMPLETE]:
            from .completion.command import complete  # noqa: PLC0415  (for shells, not for people)

            complete(given[1:])
        # Before the parser, which quotes what it does not know.
        refuse_tokens(given)
        parsed = parser(program).parse_args(given)
        _check_flags(parsed)
        return _run(parsed)
    except BadInput as problem:
        for fault in problem.faults:
            _say(fault)
        return USAGE_ERROR
    except (BoundtokenError, ModuleNotFoundError) as problem:
        is_ours = isinstance(problem, BoundtokenError)
        if not (text := str(problem) if is_ours else missing_package(problem)):
            raise
        _say(text)
        return FAILURE
    except BrokenPipeError:
        _discard_output()
        return SUCCESS
    except OSError as problem:
        _discard_output()
        place = f"{problem.filename}: " if problem.filename is not None else ""
        _say(f"{place}{problem.strerror or problem}")
        return FAILURE
    except KeyboardInterrupt:
        return 130


def _say(text: str) -> None:
    """Where standard error is closed or full, the exit code alone tells it."""
    from .process import say  # noqa: PLC0415  (only where something is wrong)

    say(text)


def _run(parsed: argparse.Namespace) -> int:
    code = int(parsed.run(parsed))
    # Here, because a full disk is no error of ours any more when the interpreter ends.
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _check_flags(parsed: argparse.Namespace) -> None:
    """Check the flags of several commands. Raises: BadInput, with every fault."""
    faults = []
    for flag, read in CHECKED.items():
        given = getattr(parsed, flag, None)
        for text in given if isinstance(given, list) else [given]:
            if text is None:
                continue
            try:
                read(text)
            except ValueError as problem:
                faults.append(f"--{flag.replace('_', '-')}={text!a}: {problem}")
    if faults:
        raise BadInput(*faults)


CHECKED: dict[str, Callable[[str], object]] = {
    "namespace": options.namespace,
    "webhook_namespace": options.namespace,
    "host": options.hostname,
    "timeout": options.seconds,
}


def _discard_output() -> None:
    """Let the interpreter flush what is left of the output to nowhere."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


COMPLETE = "__complete"
"""The command that scripts of shells and kubectl run; it is in no help."""


def parser(program: str = PROGRAM) -> arguments.Parser:
    """The whole command line."""
    top = arguments.Parser(
        prog=program,
        description="Short-lived, audience-bound service account tokens for pods.",
        epilog="Exit codes: 0 success, 1 problems found, 2 usage error, 3 failure.",
    )
    top.set_defaults(program=program)
    top.add_argument("--version", action="version", version=f"boundtoken {__version__}")
    commands = group(top)
    _serve(
        _command(commands, "serve", "run the webhook server, with --standalone without a cluster")
    )
    certs = group(_command(commands, "certs", "certificates of the webhook"))
    _certs_init(
        _command(
            certs,
            "init",
            "create the first CA in a cluster, or a CA and a leaf certificate in files",
        )
    )
    _certs_show(
        _command(certs, "show", "show CAs, caBundles and leaf certificates, and what happens next")
    )
    _certs_rotate(_command(certs, "rotate", "start a CA rotation now"))
    _config(commands)
    export = group(_command(commands, "export", "objects for a cluster, generated from the rules"))
    _export_policies(
        _command(export, "policies", "print the admission policies that the API server enforces")
    )
    check_arguments.add(commands)
    explain_arguments.add(commands)
    manifest_arguments.add(commands)
    scan_arguments.add(commands)
    token_arguments.add(commands)
    completion_arguments.add(commands)
    _version(
        _command(
            commands,
            "version",
            "print the versions of this program, the API server and the replicas",
        )
    )
    help_arguments.add(commands)
    return top


EXAMPLES = {
    "serve": """
  # no cluster: namespaces come from files
  boundtoken serve --standalone manifests/examples --ca-out ca.crt
  # with in-cluster credentials
  boundtoken serve
  # the same, with externally managed certificates
  boundtoken serve --tls-cert tls.crt --tls-key tls.key
  # outside a cluster
  boundtoken serve --kubeconfig ~/.kube/config""",
    "show": """
  # exit 1 if something is wrong
  boundtoken certs show
  # as JSON
  boundtoken certs show -o json""",
    "rotate": """
  # a new CA; wait until every configuration and replica uses it
  boundtoken certs rotate --wait
  # server-side dry run
  boundtoken certs rotate --dry-run""",
    "init": """
  # what the first replica would do, as a server-side dry run
  boundtoken certs init --dry-run
  # ca.crt, tls.crt and tls.key in a folder, for development
  boundtoken certs init --out certs/dev""",
    "check": """
  # every fault with its path; exit 1 if there is one
  boundtoken config check config.yaml
  # the same of the ConfigMap in it
  boundtoken config check configmap.yaml
  # of the ConfigMap that an overlay makes
  kubectl kustomize . | boundtoken config check -
  # from standard input
  boundtoken config check - < config.yaml""",
    "preview": """
  # the pods that its enforceFloor will refuse; exit 1 if there are any
  boundtoken config preview config.yaml""",
    "schema": """
  # for an editor that completes and checks
  boundtoken config schema > schema.json""",
    "policies": """
  # the policies and bindings of manifests/85-enforcement.yaml
  boundtoken export policies --validating
  # with the settings of a configuration, while no replica runs
  boundtoken export policies --validating --config FILE | \\
    kubectl apply --server-side --force-conflicts -f -
  # what this release would change
  boundtoken export policies --validating | kubectl diff -f -""",
    "version": """
  # and a warning for what does not go together
  boundtoken version
  # of this program only, as JSON
  boundtoken version --client -o json""",
}
"""For the help of each command; a group shows those of all its commands."""
GROUPS = {
    "certs": ("show", "rotate", "init"),
    "config": ("check", "preview", "schema"),
    "export": ("policies",),
}


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, what: str
) -> argparse.ArgumentParser:
    examples = "".join(EXAMPLES[command] for command in GROUPS.get(name, (name,)))
    return arguments.command(commands, name, what, examples)


def _version(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--client", action="store_true", help="only of this program; no cluster is looked at"
    )
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    cluster(command, "namespace of the webhook (default that of its webhook configuration)")
    command.set_defaults(run=lazy("version", "version"))


def _config(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    config = group(_command(commands, "config", "the cluster's configuration file"))
    check = _command(config, "check", "check a configuration file")
    check.add_argument(
        "file", metavar="FILE", help="the file, or one with its ConfigMap; - for standard input"
    )
    check.set_defaults(run=lazy("config", "check"))
    _config_preview(
        _command(config, "preview", "list the pods that the file's enforceFloor would refuse")
    )
    schema = _command(config, "schema", "print the JSON Schema of the file")
    schema.set_defaults(run=lazy("config", "schema"))


def _serve(command: argparse.ArgumentParser) -> None:
    for option in OPTIONS:
        default = f" (default {option.default})" if option.default else ""
        command.add_argument(
            f"--{option.name}",
            metavar=option.metavar,
            help=f"{option.help}{default}; or {option.variable}",
        )
    command.add_argument(
        "--standalone",
        metavar="FILE|DIR",
        nargs="+",
        type=Path,
        help="no cluster: Namespace objects from these YAML files, an ephemeral CA, on 127.0.0.1",
    )
    command.add_argument(
        "--ca-out", metavar="FILE", type=Path, help="file for the ephemeral CA's certificate"
    )
    command.set_defaults(run=lazy("serve", "serve"))


def _config_preview(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", metavar="FILE", help="the file, or one with its ConfigMap; - for standard input"
    )
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    cluster(command)
    command.set_defaults(run=lazy("config_preview", "preview"))


def _export_policies(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--validating",
        action="store_true",
        help="ValidatingAdmissionPolicies with bindings (the only kind)",
    )
    command.add_argument(
        "--config",
        metavar="FILE",
        help="write this configuration's settings into the bindings as well",
    )
    command.add_argument(
        "--namespace", metavar="NAME", help="namespace of the webhook (default boundtoken-system)"
    )
    command.set_defaults(run=lazy("export", "policies"))


def _certs_init(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", metavar="DIR", type=Path, help="write files into this folder instead of a cluster"
    )
    command.add_argument(
        "--host",
        metavar="NAME",
        action="append",
        help="with --out: additional DNS name or address of the leaf",
    )
    command.add_argument(
        "--days",
        metavar="N",
        type=int,
        default=365,
        help="with --out: lifetime of both (default 365)",
    )
    command.add_argument(
        "--renew",
        action="store_true",
        help="with --out: replace certificates that could be reused",
    )
    cluster(command)
    command.add_argument(
        "--dry-run", action="store_true", help="server-side dry run; with --out, write no file"
    )
    command.set_defaults(run=lazy("certs", "init"))


def _certs_show(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    cluster(command)
    command.set_defaults(run=lazy("certs_show", "show"))


def _certs_rotate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--wait",
        action="store_true",
        help="wait until every configuration trusts the new CA and every replica serves a leaf of it",
    )
    command.add_argument(
        "--timeout",
        metavar="N",
        default="60",
        help="seconds to wait at most (default 60)",
    )
    cluster(command)
    command.add_argument("--dry-run", action="store_true", help="server-side dry run")
    command.set_defaults(run=lazy("certs", "rotate"))
