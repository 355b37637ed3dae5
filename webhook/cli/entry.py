"""What the script runs: Ctrl-C while the commands are imported ends the process, without a
traceback of imports.
"""

import signal
from collections.abc import Callable


def main() -> int:
    """Run a command; gives its exit code."""
    return commands()()


def commands() -> Callable[..., int]:
    """`main.main`, imported."""
    before = signal.getsignal(signal.SIGINT)
    # A process in the background may ignore it, and goes on to.
    is_raised = before is signal.default_int_handler
    if is_raised:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .main import main as run  # noqa: PLC0415  (what takes the time)

    if is_raised:
        signal.signal(signal.SIGINT, before)
    return run
