"""What is done after a token has changed: a process is told, or a command is run."""

import contextlib
import os
import signal
import stat
import threading
import time
from pathlib import Path

from ...core.text import truncate
from ..errors import TokenError
from .child import Child

COMMAND_SECONDS = 60.0
"""That a command may take: meanwhile no token is renewed, which has time for it."""
MAX_PID = 1 << 22
"""Of Linux on 64 bits (proc(5), pid_max)."""
MAX_PID_FILE_BYTES = 32
MAX_COMMAND_CHARS = 200
LOOK_SECONDS = 0.2


class HookError(TokenError):
    """It did not work; the text says what, in one line."""


class HangUp:
    """SIGHUP to a process, which then reads its files again. `target` is a process id, or a file
    that holds one and is read each time.

    Of a process id the process is meant that has it now: another one that gets it later is not
    told. A file must belong to root, to the user of this process, or to the user that the process
    runs as: whoever writes it chooses who gets the signal.

    Raises: HookError, where there is no such process, or it may not be told
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._process = -1
        if target.isascii() and target.isdigit():
            self._process = _opened(_pid(target, target))
            self._send(self._process, 0)

    def __call__(self) -> None:
        """Tell it. Raises: HookError"""
        if self._process >= 0:
            self._send(self._process, signal.SIGHUP)
            return
        process = self._named()
        try:
            self._send(process, signal.SIGHUP)
        finally:
            os.close(process)

    def _named(self) -> int:
        path = Path(self._target)
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise HookError(f"{path}: must be a file with a process id")
                text = file.read(MAX_PID_FILE_BYTES).decode("ascii", "replace").strip()
        except OSError as problem:
            raise HookError(f"{path}: {problem.strerror}") from None
        pid = _pid(text, str(path))
        process = _opened(pid)
        trusted = {0, os.geteuid()}
        with contextlib.suppress(OSError):
            trusted.add(Path(f"/proc/{pid}").stat().st_uid)
        if found.st_uid not in trusted:
            os.close(process)
            raise HookError(
                f"{path}: belongs to user {found.st_uid}, who could have the signal sent to any process"
            )
        return process

    def _send(self, process: int, number: int) -> None:
        try:
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError:
            raise HookError(f"process {self._target} has ended") from None
        except OSError as problem:
            raise HookError(f"process {self._target}: {problem.strerror}") from None


class Command:
    """A command line for /bin/sh, which has COMMAND_SECONDS; what it prints goes to standard error.
    It is ended when `stop` is set.
    """

    def __init__(
        self, command: str, stop: threading.Event, seconds: float = COMMAND_SECONDS
    ) -> None:
        self._command = command
        self._stop = stop
        self._seconds = seconds

    def __call__(self) -> None:
        """Run it. Raises: HookError, where it fails or takes too long"""
        shown = truncate(repr(self._command), MAX_COMMAND_CHARS)
        try:
            child = Child(("/bin/sh", "-c", self._command), os.environ, own_group=True, quiet=True)
        except (OSError, ValueError) as problem:  # a command with NUL
            raise HookError(f"{shown}: cannot be started: {problem}") from None
        deadline = time.monotonic() + self._seconds
        while child.wait(LOOK_SECONDS) is None:
            if self._stop.is_set() or time.monotonic() > deadline:
                child.end()
                why = (
                    "was ended with us"
                    if self._stop.is_set()
                    else f"took more than {self._seconds:.0f} s"
                )
                raise HookError(f"{shown}: {why}")
        if child.code:
            raise HookError(f"{shown}: exit code {child.code}")


def _pid(text: str, place: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 0 < int(text) <= MAX_PID):  # noqa: PLR2004
        raise HookError(
            f"{truncate(place, MAX_COMMAND_CHARS)}: must be a process id, 1 to {MAX_PID}"
        )
    if int(text) == os.getpid():
        raise HookError(f"{place}: is this process itself")
    return int(text)


def _opened(pid: int) -> int:
    """A descriptor that goes on to mean this process. Raises: HookError"""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise HookError(f"there is no process {pid}") from None
    except OSError as problem:
        raise HookError(f"process {pid}: {problem.strerror}") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
