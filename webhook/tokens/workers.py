"""A few threads that make the blocking calls, for threads and coroutines alike.

Why not ThreadPoolExecutor: at the end of a program it first runs everything that waits in its
queue, so a program whose API server does not answer could not end.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable

from .forks import reset_in_child

MAX_THREADS = 8
"""A TokenRequest takes a few ms, so eight of them ask for more than 1,000 tokens a second."""
IDLE_SECONDS = 10.0
"""After which a thread without work ends."""


class Workers:
    """Runs what it is given on at most MAX_THREADS daemon threads, which start on demand."""

    def __init__(self) -> None:
        self.after_fork()
        reset_in_child(self)

    def after_fork(self) -> None:
        """Start anew: the threads and what they were doing have stayed in the parent."""
        # Reentrant, because a signal handler or __del__ may ask for a token in the midst of this.
        self._changed = threading.Condition(threading.RLock())
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads = self._idle = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job`, which must not raise, as soon as a thread is free.

        Raises: RuntimeError, where no thread runs and none can be started
        """
        if sys.is_finalizing():
            raise RuntimeError("the interpreter is ending")
        with self._changed:
            if self._idle <= len(self._jobs) and self._threads < MAX_THREADS:
                self._start()
            self._jobs.append(job)
            self._changed.notify()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="boundtoken-tokens", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            if not self._threads:
                raise
        else:
            self._threads += 1

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                job()
                del job  # it may hold the last reference to a source
        finally:
            with self._changed:
                self._threads -= 1

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._jobs, IDLE_SECONDS)
            self._idle -= 1
            return self._jobs.popleft() if self._jobs else None
