"""What commands that see tokens do to their own process first, and how all commands warn."""

import contextlib
import ctypes
import os
import resource
import sys

from .arguments import escape_output, safe

PR_SET_DUMPABLE = 4
"""Of linux/prctl.h."""


def protect(*, has_children: bool = False) -> None:
    """Let no token out of this process but by what it prints: no core dump, no debugger of the same
    user. What a terminal cannot show is written as an escape rather than raised.

    Why not the limit of core dumps alone: the kernel ignores it where core dumps go to a program.
    With `has_children` it is left as it is, because a program that is started inherits it; and no
    file of ours gets the number of a standard stream that is closed, which it would inherit too.
    """
    if has_children:
        while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004
            os.set_inheritable(lowest, True)
        os.close(lowest)
    else:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):  # other systems have no prctl
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    escape_output()


def say(text: str) -> None:
    """One line on standard error."""
    _print(f"boundtoken: {safe(text)}")


def warn(text: str) -> None:
    """The same for a warning, as kubectl shows those of the API server."""
    _print(f"Warning: {safe(text)}")


def _print(line: str) -> None:
    # Where standard error is closed, print would write to standard output.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)
