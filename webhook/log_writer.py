"""Writes lines to a file descriptor in a thread of its own, so that logging never blocks.

If the container runtime stalls, the disk is full or nobody reads the pipe, lines are dropped and
counted. No answer is delayed.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from .log import encoded

MAX_WAITING_BYTES = 1 << 20
"""About 3,000 reviews: more than a second of the busiest cluster, and little beside the memory
limit."""
MAX_WRITE_BYTES = 1 << 16
"""In one write: the size of a pipe, so that a slow reader is noticed early."""
RETRY_SECONDS = 0.2
"""How long to wait for a blocked descriptor before checking whether the process ends."""


class Writer:
    """Takes complete lines and never blocks. `count` is called with the number of dropped lines,
    from either thread.
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
        """Write these lines soon, or drop them if too many wait."""
        with self._changed:
            if self._bytes + len(lines) > MAX_WAITING_BYTES:
                self._lose(lines)
                return
            self._waiting.append(lines)
            self._bytes += len(lines)
            self._changed.notify()

    def close(self, seconds: float = 1.0) -> None:
        """Write the waiting lines, for at most so many seconds, and end the thread."""
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
        """The next lines to write; None when the writer is closed."""
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
        """Write lines; returns the rest that could not be written."""
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
