"""The arguments of `boundtoken completion`."""

import argparse

from .. import arguments

SHELLS = ("bash", "zsh", "fish", "kubectl")
EXAMPLES = """
  # in this shell; in ~/.bashrc for all
  source <(boundtoken completion bash)
  boundtoken completion zsh > "${fpath[1]}/_boundtoken"
  boundtoken completion fish > ~/.config/fish/completions/boundtoken.fish
  # of kubectl boundtoken; pip has installed it already
  boundtoken completion kubectl > ~/bin/kubectl_complete-boundtoken"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = arguments.command(
        commands,
        "completion",
        "print the script that lets a shell, or kubectl, complete boundtoken",
        EXAMPLES,
    )
    _shell(command)
    command.set_defaults(run=arguments.lazy("completion.command", "script"))


def _shell(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
