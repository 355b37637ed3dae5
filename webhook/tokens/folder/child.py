"""Programs that are started with the signals, the standard streams and the descriptors that a shell
would give them.

Why not subprocess: a child inherits the signals that this process blocks, and code between fork and
exec is not safe in a process with threads.
"""

import contextlib
import os
import select
import signal
from collections.abc import Mapping, Sequence
from functools import partial

RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores them; other programs die of them, as they should."""
NOT_FOUND, NOT_EXECUTABLE, BY_SIGNAL = 127, 126, 128
"""Exit codes of a shell; of a signal it is added to BY_SIGNAL."""
KILL_SECONDS = 5.0
"""Between SIGTERM and SIGKILL."""


class Child:
    """A program that runs. In `own_group` it is the first of a process group, which gets the
    signals; else it stays in the group of this process, and so in the foreground of its terminal.

    Raises: OSError, where it cannot be started
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        own_group: bool,
        quiet: bool = False,
    ) -> None:
        self._own_group = own_group
        spawn = partial(
            os.posix_spawnp,
            command[0],
            list(command),
            dict(environ),
            file_actions=_AWAY if quiet else (),
            setsigmask=(),
            setsigdef=RESTORED,
        )
        self.pid: int = spawn(setpgroup=0) if own_group else spawn()
        self.code: int | None = None
        """Its exit code as a shell has it, once it has ended."""

    def poll(self) -> int | None:
        """The exit code, once it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else BY_SIGNAL - code
        return self.code

    def wait(self, seconds: float) -> int | None:
        """The same, after at most this time."""
        if self.poll() is not None:
            return self.code
        descriptor = os.pidfd_open(self.pid)
        try:
            select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)
        return self.poll()

    def send(self, number: int) -> None:
        """Pass a signal on; nothing where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if self._own_group else os.kill)(self.pid, number)

    def end(self) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        self.send(signal.SIGTERM)
        if self.wait(KILL_SECONDS) is None:
            self.send(signal.SIGKILL)
            self.wait(KILL_SECONDS)


_AWAY = (
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_DUP2, 2, 1),
)
"""Nothing on standard input, and what it prints goes to standard error."""
