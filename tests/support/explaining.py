"""`boundtoken explain` in the process of a test: starting one takes longer than its work."""

from tests.support.in_process import run_here
from webhook.cli.explain import command


def run_explain(*words: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    return run_here(command, "explain", *words, stdin=stdin)
