"""`boundtoken explain` in the process of a test: starting one takes longer than its work."""

import contextlib
import io
from unittest import mock

from webhook.cli.explain import command
from webhook.cli.main import main


def run_explain(*words: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err, given = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(stdin.encode()))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch("sys.stdin", given),
        mock.patch.object(command, "protect"),  # it is for a process of its own
    ):
        code = main(("explain", *words))
    return code, out.getvalue(), err.getvalue()
