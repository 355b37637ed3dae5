"""What goes on in threads while a block runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import ThreadingHTTPServer
from typing import Self


@contextmanager
def repeating(*works: Callable[[], object], pause: float = 0.0) -> Iterator[None]:
    """Every work again and again in a thread of its own, with so many seconds between two times."""
    stop = threading.Event()

    def repeat(work: Callable[[], object]) -> None:
        while not stop.wait(pause):
            work()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """The server, which answers until the block ends."""
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Served:
    """What answers HTTP until its block ends. A subclass makes the server."""

    _server: ThreadingHTTPServer
    _block: AbstractContextManager[ThreadingHTTPServer]

    def __enter__(self) -> Self:
        self._block = served(self._server)
        self._block.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._block.__exit__(None, None, None)
