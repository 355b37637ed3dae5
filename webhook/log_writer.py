"""Lines to a file descriptor from a thread of their own: whoever logs never waits, whatever becomes
of the reader.

A container runtime that stalls, a full disk or a pipe that nobody reads costs lines, which are
counted, and no answer.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from .log import encoded

MAX_WAITING_BYTES = 1 << 20
"""About 3,000 reviews: more than a second of the busiest cluster, and nothing beside the memory
limit."""
MAX_WRITE_BYTES = 1 << 16
"""At once: the size of a pipe, so that a slow reader is noticed before many lines are in our
hands."""
RETRY_SECONDS = 0.2
"""How long a descriptor that takes nothing is waited for before the end of the process is looked at
again."""


class Writer:
    """Takes whole lines and never blocks; `count` is told how many lines were given up, from either
    thread.
    """

    def __init__(self, descriptor: int, count: Callable[[int], object]) -> None:
        self._descriptor = descriptor
        self._count = count
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._changed = threading.Condition()
        self._is_writing = False
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def __call__(self, lines: bytes) -> None:
        """Write these lines soon, or give them up where too many wait."""
        with self._changed:
            if self._bytes + len(lines) > MAX_WAITING_BYTES:
                self._lose(lines)
                return
            self._waiting.append(lines)
            self._bytes += len(lines)
            self._changed.notify()

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._is_writing, seconds)
            self._ends = True
            self._changed.notify_all()
        self._thread.join(RETRY_SECONDS)

    def _run(self) -> None:
        while (lines := self._next()) is not None:
            if unwritten := self._write(lines):
                self._lose(unwritten)
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()

    def _next(self) -> bytes | None:
        """What to write next; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ends)
            if not self._waiting:
                return None
            taken: list[bytes] = []
            while self._waiting and sum(map(len, taken)) < MAX_WRITE_BYTES:
                taken.append(self._waiting.popleft())
            self._bytes -= sum(map(len, taken))
            self._is_writing = True
            lost, self._lost = self._lost, 0
        if lost:
            taken.append(encoded("warning", "log lines lost", {"lines": lost}))
        return b"".join(taken)

    def _lose(self, lines: bytes) -> None:
        number = max(1, lines.count(b"\n"))
        with self._changed:
            self._lost += number
        self._count(number)

    def _write(self, lines: bytes) -> bytes:
        """What could not be written: nothing where all is well."""
        while lines and not self._ends:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll(RETRY_SECONDS * 1000)
            except OSError:
                return lines
        return lines
