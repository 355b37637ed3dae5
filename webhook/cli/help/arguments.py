"""The arguments of `boundtoken help`."""

import argparse
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from ...terminal.completion import SeveralWords
from .. import arguments

TOPICS = {
    "annotations": "what may be written on namespaces, workloads and pods",
    "enforcement": "levels, rules, and who denies",
    "checks": "what boundtoken check looks at, and what to do; with the name of a check that alone",
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
  # one check
  boundtoken help checks endpoints
  # the same as boundtoken token request --help
  boundtoken help token request"""


CHECKS = "checks"
"""The topic of which each section can be printed alone."""


def page(topic: str) -> str:
    """The text of a topic, from beside this module, also in a zip archive."""
    return resources.files(__package__).joinpath("topics", f"{topic}.txt").read_text("utf-8")


def sections(text: str) -> dict[str, str]:
    """The sections of a page by the name of their heading, which is a line in capitals; but its
    title, and headings of several words, which stand over others.
    """
    parts = _HEADING.split(text)
    return {
        heading.lower(): f"{heading}\n\n{rest.strip()}\n"
        for heading, rest in zip(parts[3::2], parts[4::2], strict=True)
        if " " not in heading
    }


_HEADING = re.compile(r"^([A-Z][A-Z -]+)\n\n", re.MULTILINE)
Commands = Mapping[str, arguments.Parser]


class _Page(SeveralWords):
    """A topic, or the words of a command."""

    def __init__(self, *, commands: Commands, **options: Any) -> None:
        super().__init__(**options)
        self.commands = commands

    def words_after(self, words: tuple[str, ...]) -> Mapping[str, str | None]:
        """The topics and commands at first, then those of the group that the words name."""
        if words == (CHECKS,):
            return dict.fromkeys(sections(page(CHECKS)))
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
