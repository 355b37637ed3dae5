"""`kubectl boundtoken`: the same commands as a plugin of kubectl, and their completion.

kubectl runs `kubectl-boundtoken` of PATH, and from 1.26 on `kubectl_complete-boundtoken` with the
words of the command line (kubectl's pkg/cmd/plugin/plugin_completion.go).
"""

import sys
from typing import NoReturn

from . import entry


def main() -> int:
    """Run a command, whose help says `kubectl boundtoken`; gives its exit code."""
    run = entry.commands()
    from .arguments import PLUGIN  # noqa: PLC0415  (imported by now)

    return run(program=PLUGIN)


def complete() -> NoReturn:
    """Complete the words that kubectl gives."""
    from .completion.command import complete as answer  # noqa: PLC0415  (not for `main`)

    answer(sys.argv[1:])
