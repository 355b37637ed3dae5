"""The arguments of `boundtoken help`."""

import argparse

from .. import arguments

TOPICS = {
    "annotations": "what may be written on namespaces, workloads and pods",
    "enforcement": "levels, rules, and who denies",
    "reasons": "the words for what was decided",
    "failure-modes": "what happens when something is away or wrong",
    "exit-codes": "what each command ends with",
    "rbac": "the rights that each command needs",
    "environment": "the variables that are read",
}
EXAMPLES = """
  # the topics
  boundtoken help
  # a topic; | less for a pager
  boundtoken help annotations
  # the same as boundtoken explain --help
  boundtoken help explain"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command, the last one: it knows those that are there already."""
    command = arguments.command(commands, "help", "explain a topic, or a command", EXAMPLES)
    _topic(command, [*TOPICS, *(name for name in commands.choices if name != "help")])


def _topic(command: argparse.ArgumentParser, names: list[str]) -> None:
    command.add_argument(
        "topic", metavar="TOPIC|COMMAND", nargs="?", choices=names, help=", ".join(TOPICS)
    )
    command.set_defaults(run=arguments.lazy("help.command", "show"))
