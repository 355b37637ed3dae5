"""The flags and the help of `boundtoken token audit-policy`, `trace` and `watch`. It imports no
command.
"""

import argparse

from .. import arguments
from ..arguments import kubeconfig_flags, lazy
from .common import protected

RULES = (
    *("new-requester", "system-account", "new-audience", "long-life", "many-requests"),
    *("pod-token", "refused", "moved-token", "stale-token", "legacy-token"),
)
"""Of `watch`; webhook/tokens/audit/rules.py is not imported for the help of other commands."""
EXAMPLES: dict[str, str] = {
    "audit-policy": """
  # for --audit-policy-file of the API server
  boundtoken token audit-policy > /etc/kubernetes/audit-policy.yaml
  # what a policy of your own lacks, and where it would go
  boundtoken token audit-policy --merge policy.yaml | diff policy.yaml -""",
    "trace": """
  # who requested it, and each use of it; older files beside the log too
  boundtoken token trace TOKEN-FILE --audit-log /var/log/kubernetes/audit.log
  # of a token whose credential id is known, in the logs of three API servers
  boundtoken token trace JTI=0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6 \\
    --audit-log node-*/audit.log -o jsonl
  # what another program unpacks
  zstdcat audit.log.zst | boundtoken token trace TOKEN-FILE --audit-log -""",
    "watch": """
  # learn for an hour of the log's time, then tell what is unusual
  boundtoken token watch --audit-log /var/log/kubernetes/audit.log --follow
  # what was not there last week, or lives longer than allowed; exit 1 if anything
  boundtoken token watch --audit-log audit.log --baseline last-week.log.gz \\
    -f namespaces.yaml -o json""",
}


def add(members: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add these commands to the group."""
    for name, flags, what in (
        (
            "audit-policy",
            _audit_policy,
            "print the audit policy that trace and watch need, or put it into another",
        ),
        ("trace", _trace, "find in an audit log who requested a token, and each use of it"),
        ("watch", _watch, "tell unusual token requests and uses in an audit log"),
    ):
        flags(arguments.command(members, name, what, EXAMPLES[name]))


def _audit_policy(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--merge",
        metavar="FILE",
        help="a policy to put the rules into, in front of the first rule that would swallow them; - for standard input",
    )
    command.add_argument(
        "-o", "--output", choices=["yaml", "json"], default="yaml", help="yaml (default) or json"
    )
    command.set_defaults(run=lazy("token.audit_policy", "audit_policy"))


def _trace(command: argparse.ArgumentParser) -> None:
    # Not argparse's, which puts the token behind --audit-log, where it is one more log.
    command.usage = (
        "%(prog)s [-h] TOKEN-FILE|JTI --audit-log FILE [FILE ...]\n"
        "                              [--no-rotated] [-o {table,json,jsonl}]"
    )
    command.add_argument(
        "token",
        metavar="TOKEN-FILE|JTI",
        help="a file with the token, - for standard input, or its credential id: a UUID, or JTI=ID",
    )
    _audit_log(command, nargs="+")
    command.add_argument(
        "--no-rotated",
        dest="rotated",
        action="store_false",
        help="only FILE itself, not the older ones that the API server or logrotate put beside it",
    )
    command.add_argument(
        "-o",
        "--output",
        choices=["table", "json", "jsonl"],
        default="table",
        help="table (default), json, or jsonl: one object a line",
    )
    command.set_defaults(run=protected("trace", "trace"))


def _watch(command: argparse.ArgumentParser) -> None:
    _audit_log(command)
    command.add_argument(
        "--follow", action="store_true", help="go on as the log grows and is rotated, until Ctrl-C"
    )
    _normal(command)
    command.add_argument(
        "--without",
        metavar="RULE",
        action="append",
        default=[],
        choices=RULES,
        help=f"a rule to leave out, may be repeated: {', '.join(RULES)}",
    )
    command.add_argument(
        "-o",
        "--output",
        choices=["text", "json"],
        default="text",
        help="text (default), or json: one object a line",
    )
    kubeconfig_flags(command)
    command.set_defaults(run=lazy("token.watch", "watch"), namespace=None)


def _normal(command: argparse.ArgumentParser) -> None:
    """Add the flags that say what is normal."""
    command.add_argument(
        "--baseline",
        metavar="FILE",
        action="append",
        default=[],
        help="a log of normal days, learnt before; may be repeated",
    )
    command.add_argument(
        "--learn",
        metavar="MINUTES",
        type=int,
        help="how much of the log's begin is taken as normal (default 60; 0 with --baseline)",
    )
    command.add_argument(
        "--max-seconds",
        metavar="N",
        type=int,
        help="longest life in namespaces without boundtoken.dev/max-expiration-seconds (default 86400)",
    )
    command.add_argument(
        "-f",
        "--filename",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="Namespaces with their annotations, as kubectl prints them (default: those of the cluster, if it can be reached)",
    )
    command.add_argument(
        "--per-minute",
        metavar="N",
        type=int,
        default=60,
        help="how many requests of one requester in a minute are normal (default 60; ten times as many of a node)",
    )


def _audit_log(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    command.add_argument(
        "--audit-log",
        metavar="FILE",
        nargs=nargs,
        help="audit log in JSON, plain or gz; - for standard input (required)",
    )
