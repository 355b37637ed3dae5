"""What the arguments of all commands have in common: help with examples, groups, the cluster's
flags, and the import of a command's module when it runs.
"""

import argparse
import base64
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ..core.text import printable, without_tokens
from ..errors import BadInput

PROGRAM, PLUGIN = "boundtoken", "kubectl boundtoken"
"""What people type: the command, or the plugin of kubectl."""
_EXAMPLE = re.compile(r"(^  |\| |&& |\$\(|`|see: )boundtoken (?=[a-z])", re.MULTILINE)
LONG_RUNNING = ("serve", "token.write", "token.run")
"""Commands that end by a signal."""
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{3,})\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*", re.ASCII
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors quote no token that was given in the wrong place, and which knows a
    flag by its whole name only: what is short today may mean two flags tomorrow.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        self._is_group = False

    def add_subparsers(self, **options: Any) -> Any:
        self._is_group = True
        return super().add_subparsers(**options)

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """The flags and arguments, in the order of the help."""
        return self._actions

    @property
    def commands(self) -> "Mapping[str, Parser]":
        """The commands of a group by name."""
        return next((one.choices for one in self._actions if isinstance(one.choices, dict)), {})

    def format_help(self) -> str:
        """The help, in which a plugin's commands begin with `kubectl`."""
        text = super().format_help()
        return _as_plugin(text) if self.prog.startswith(PLUGIN) else text

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Why here: what a command does not know would be told by `boundtoken`, which has not its
        flags.
        """
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and not self._is_group:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        if sys.stderr is None:  # argparse would write to standard output
            self.exit(2)
        super().error(safe(message))


def escape_output() -> None:
    """Let what a terminal cannot show, such as "…" in ASCII, be written as an escape rather than
    raised.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _as_plugin(text: str) -> str:
    """Examples as they are typed for a plugin."""
    return _EXAMPLE.sub(rf"\g<1>{PLUGIN} ", text)


def safe(text: str) -> str:
    """A message as it may stand on a terminal and in the log of a pipeline."""
    return printable(without_tokens(text))


def refuse_tokens(given: Sequence[str]) -> None:
    """Let no token be an argument, which every user of the machine sees in the list of processes.

    Raises: BadInput, which does not quote it
    """
    if any(map(_holds_a_token, given)):
        raise BadInput(
            "an argument is a token: others see it in the list of processes, and the shell keeps it; "
            "give it in a file, or - for standard input, and replace this one"
        )


def _holds_a_token(argument: str) -> bool:
    """Whether there is a JWT in it: three parts, of which the first is a JSON object."""
    heads = (base64.urlsafe_b64decode(jwt[1][:4].ljust(4, "=")) for jwt in _JWT.finditer(argument))
    return any(head.lstrip().startswith(b"{") for head in heads)


def command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    what: str,
    examples: str,
) -> argparse.ArgumentParser:
    """A command with one line of help, and examples below its flags."""
    return commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=f"examples:{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def group(
    parser: argparse.ArgumentParser,
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """Let this command have commands; without one of them it prints its help, as kubectl does."""

    def show_help(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=show_help)
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def cluster(
    parser: argparse.ArgumentParser,
    namespace: str = "namespace of the webhook (default where it is installed)",
) -> None:
    """Add the flags that choose the cluster and the namespace of the webhook."""
    parser.add_argument("--namespace", metavar="NAME", default=None, help=namespace)
    kubeconfig_flags(parser)


def kubeconfig_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that choose the API server, with kubectl's words."""
    command.add_argument(
        "--kubeconfig", metavar="FILE", help="default: KUBECONFIG, then ~/.kube/config"
    )
    command.add_argument(
        "--context", metavar="NAME", help="context of the kubeconfig (default its current one)"
    )


def lazy(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """A command that imports its module when it runs: `serve` must start fast and small."""

    def run(parsed: argparse.Namespace) -> int:
        import importlib  # noqa: PLC0415

        # The first process of a container ignores SIGTERM unless it has a handler, and the imports
        # take long.
        if module in LONG_RUNNING:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        return int(getattr(importlib.import_module(f".{module}", __package__), function)(parsed))

    return run
