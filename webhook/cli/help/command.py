"""`boundtoken help`: prints a topic, the topics, or the help of a command."""

import argparse
import sys

from .arguments import TOPICS, page, sections


def show(parsed: argparse.Namespace) -> int:
    """Print what was chosen."""
    sys.stdout.write(_text(parsed.topic, parsed.program))
    return 0


def _text(words: tuple[str, ...], program: str) -> str:
    if not words:
        width = max(map(len, TOPICS))
        rows = [f"  {name:{width}}  {what}" for name, what in TOPICS.items()]
        return "\n".join(
            [f"{program} help TOPIC:", "", *rows, "", f"Commands: {program} --help", ""]
        )
    if words[0] in TOPICS:
        text = page(words[0])
        return sections(text)[words[1]] if len(words) > 1 else text
    from ..main import parser  # noqa: PLC0415  (it imports this command's arguments)

    command = parser(program)
    for word in words:
        command = command.commands[word]
    return command.format_help()
