"""`kubectl boundtoken`: the same commands, whose help says what people type."""

import argparse
import re
import subprocess
from collections.abc import Iterator

from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from webhook import __version__
from webhook.cli import main

PLUGIN = BOUNDTOKEN.with_name("kubectl-boundtoken")


def plugin(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PLUGIN, *arguments], capture_output=True, text=True, check=False)


def helps(program: str) -> dict[str, str]:
    """The help of every command, by its words behind the program."""

    def of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from of(command)

    return {one.prog.removeprefix(program): one.format_help() for one in of(main.parser(program))}


def test_the_help_of_every_command_is_that_of_a_plugin() -> None:
    ours = helps("boundtoken")
    for command, text in helps("kubectl boundtoken").items():
        assert text.startswith(f"usage: kubectl boundtoken{command} [-h]")
        assert not re.search(r"(^  |\| )boundtoken ", text, re.MULTILINE)
        words = [
            one.replace("kubectl boundtoken", "boundtoken").split() for one in (text, ours[command])
        ]
        assert words[0] == words[1]


def test_a_sentence_about_boundtoken_is_none_of_its_commands() -> None:
    assert "whether boundtoken was away" in plugin("explain", "--help").stdout


def test_a_usage_error_names_the_plugin() -> None:
    result = plugin("explain", "--nonsense")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("kubectl boundtoken explain: error: ")
    assert plugin("--version").stdout == f"boundtoken {__version__}\n"


def test_completion_is_answered_by_the_plugin_too() -> None:
    assert plugin("__complete", "expl").stdout == boundtoken("__complete", "expl").stdout
