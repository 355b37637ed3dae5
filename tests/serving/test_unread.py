"""The memory that untrusted clients can occupy, measured from outside: uvloop and TLS in a process
of its own.
"""

import contextlib
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.builders import a_pod, a_review
from tests.support.connections import HEAD, http_request
from tests.support.processes import running_process


class Target:
    """The process, and connections to it that end with the test."""

    def __init__(
        self, port: int, plain: int, trust: ssl.SSLContext, closing: contextlib.ExitStack
    ) -> None:
        self._port, self._plain, self._trust, self._closing = port, plain, trust, closing

    def connect(self, address: str, *, narrow: bool = False) -> ssl.SSLSocket:
        """A connection from an address of the loopback network; what is `narrow` leaves little room
        to both kernels.
        """
        client = self._closing.enter_context(socket.socket())
        if narrow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        client.settimeout(5)
        client.bind((address, 0))
        client.connect(("127.0.0.1", self._port))
        return self._closing.enter_context(
            self._trust.wrap_socket(client, server_hostname="localhost")
        )

    def reviews(self) -> float:
        """How many were answered."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._plain}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.startswith("boundtoken_admission_duration_seconds_count")
        )


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with running_process(tmp_path) as server, contextlib.ExitStack() as closing:
        yield Target(server.port, server.plain, server.trust(), closing)


def is_open(client: ssl.SSLSocket) -> bool:
    """Whether nobody has ended it; for one that nothing was sent to."""
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False


def test_few_answers_are_made_for_who_takes_none(target: Target) -> None:
    """16 clients ask for 2 MB each and read nothing; 200 KB of each were seen, and 660 where TLS
    holds what it likes.
    """
    review = http_request(a_review(a_pod(*({"name": str(number)} for number in range(20)))))
    clients = [target.connect(f"127.0.2.{number + 1}", narrow=True) for number in range(16)]
    for client in clients:
        client.sendall(review * 400)
    time.sleep(1)  # longer than the page of metrics is kept
    answered = -1.0
    while answered < (answered := target.reviews()):
        time.sleep(1.1)
    head = clients[0].recv(1 << 14)
    size = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert 0 < answered * size / len(clients) < 400 << 10


def test_a_body_that_is_held_back_costs_what_stands_beside_it(target: Target) -> None:
    """450 clients hold back the last byte of 8 KiB each: together a tenth of the budget, and with
    what TLS holds four times it.

    So most of them are cut, those who came first; 124 to 141 of the others were seen to stay.
    """
    body = HEAD + b"Content-Length: %d\r\n\r\n" % (8 << 10) + b" " * ((8 << 10) - 1)
    clients = []
    for number in range(450):
        clients.append(target.connect(f"127.0.{3 + number // 250}.{number % 250 + 1}"))
        clients[-1].sendall(body)
    time.sleep(0.5)
    still = [is_open(client) for client in clients]
    assert 50 < sum(still) < 250
    assert all(still[-50:])
