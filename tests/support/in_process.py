"""A command in the process of a test: starting one takes longer than its work."""

import contextlib
import io
from types import ModuleType
from unittest import mock

from webhook.cli.main import main


def run_here(module: ModuleType, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command that this module runs."""
    out, err, given = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(stdin.encode()))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch("sys.stdin", given),
        mock.patch.object(module, "protect"),  # it is for a process of its own
    ):
        code = main(words)
    return code, out.getvalue(), err.getvalue()
