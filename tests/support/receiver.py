"""A server on a real socket that records what it gets and answers what a test wants.

with Receiver() as server:
    server.script.append(Answer(401))
"""

import itertools
import json
import ssl
import sys
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.threads import Served


class Answer(NamedTuple):
    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


UNAUTHORIZED = Answer(401, {"reason": "no"}, (("WWW-Authenticate", "Bearer"),))


def redirect(url: str, status: int = 302) -> Answer:
    return Answer(status, headers=(("Location", url),))


class Seen(NamedTuple):
    method: str
    path: str
    authorization: str | None
    body: bytes
    connection: int


class Receiver(Served):
    """Answers with the next of `script`, then with 200; `seen` is what came, in order.

    `certificate` and `key` are files; with them it speaks TLS.
    """

    def __init__(self, certificate: Path | None = None, key: Path | None = None) -> None:
        self.script: deque[Answer] = deque()
        self.seen: list[Seen] = []
        self._numbers = itertools.count(1)
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    @property
    def tokens(self) -> list[str | None]:
        """The tokens that came; None where there was no Authorization header."""
        headers = [seen.authorization for seen in self.seen]
        return [header and header.removeprefix("Bearer ") for header in headers]

    @property
    def connections(self) -> int:
        return len({seen.connection for seen in self.seen})

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        return self.script.popleft() if self.script else Answer(body={"items": []})

    def number(self) -> int:
        return next(self._numbers)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may close a connection whenever they want."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.number = receiver.number()

        def _any(self) -> None:
            headers = self.headers.get_all("Authorization")
            seen = Seen(
                self.command,
                self.path,
                None if headers is None else " and ".join(headers),
                self._body(),
                self.number,
            )
            answer = receiver.answer(seen)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body)
            encoded = body if isinstance(body, bytes) else body.encode()
            self.send_response(answer.status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(encoded)),
                **dict(answer.headers),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(encoded)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
