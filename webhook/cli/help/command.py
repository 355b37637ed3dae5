"""`boundtoken help`: prints a topic, the topics, or the help of a command."""

import argparse
import sys
from importlib import resources

from .arguments import TOPICS


def show(parsed: argparse.Namespace) -> int:
    """Print what was chosen."""
    sys.stdout.write(_text(parsed.topic, parsed.program))
    return 0


def _text(topic: str | None, program: str) -> str:
    if topic is None:
        width = max(map(len, TOPICS))
        rows = [f"  {name:{width}}  {what}" for name, what in TOPICS.items()]
        return "\n".join(
            [f"{program} help TOPIC:", "", *rows, "", f"Commands: {program} --help", ""]
        )
    if topic in TOPICS:
        return page(topic)
    from ..main import parser  # noqa: PLC0415  (it imports this command's arguments)

    command = next(one.choices for one in parser(program).actions if isinstance(one.choices, dict))[
        topic
    ]
    return str(command.format_help())


def page(topic: str) -> str:
    """The text of a topic, from beside this module, also in a zip archive."""
    return resources.files(__package__).joinpath("topics", f"{topic}.txt").read_text("utf-8")
