"""The arguments of `boundtoken help`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from ...terminal.completion import SeveralWords
from .. import arguments

TOPICS = {
    "annotations": "what may be written on namespaces, workloads and pods",
    "enforcement": "levels, rules, and who denies",
    "reasons": "the words for what was decided",
    "failure-modes": "what happens when something is down or wrong",
    "exit-codes": "what each command ends with",
    "rbac": "the rights that each command needs",
    "environment": "the variables that are read",
}
EXAMPLES = """
  # the topics
  boundtoken help
  # a topic; | less for a pager
  boundtoken help annotations
  # the same as boundtoken token request --help
  boundtoken help token request"""


Commands = Mapping[str, arguments.Parser]


class _Page(SeveralWords):
    """A topic, or the words of a command."""

    def __init__(self, *, commands: Commands, **options: Any) -> None:
        super().__init__(**options)
        self.commands = commands

    def words_after(self, words: tuple[str, ...]) -> Mapping[str, str | None]:
        """The topics and commands at first, then those of the group that the words name."""
        found = self.commands
        for word in words:
            found = {} if word not in found else found[word].commands
        topics = {} if words else TOPICS
        return {**topics, **{name: one.description for name, one in found.items()}}

    def __call__(
        self, _parser: Any, namespace: argparse.Namespace, values: Any, _flag: Any = None
    ) -> None:
        """Raises: ArgumentError, where a word is none of those that may follow"""
        words: Sequence[str] = values or ()
        for end, word in enumerate(words):
            names = self.words_after(tuple(words[:end]))
            if word not in names:
                before = " ".join(words[:end])
                choices = f"choose from {', '.join(names)}" if names else f"{before} is the last"
                raise argparse.ArgumentError(self, f"invalid choice: {word!r} ({choices})")
        namespace.topic = tuple(words)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command, the last one: it knows those that are there already."""
    command = arguments.command(
        commands, "help", "print a topic of the reference, or the help of a command", EXAMPLES
    )
    command.add_argument(
        "topic",
        metavar="TOPIC|COMMAND",
        nargs="*",
        action=_Page,
        commands=commands.choices,
        help=", ".join(TOPICS),
    )
    command.set_defaults(run=arguments.lazy("help.command", "show"), topic=())
