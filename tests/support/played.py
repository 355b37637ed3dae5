"""An API server that a test plays over plain HTTP: objects by path, and what it refuses."""

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.builders import Json
from tests.support.threads import served


class Played:
    """An API server with these objects by path; a list has `items`. A status code refuses, bytes
    are the body as they stand, and what can be called gives one of these for the query. `hanging`
    are the paths of lists whose second page never comes.
    """

    def __init__(self, port: int) -> None:
        self.server = f"http://127.0.0.1:{port}"
        self.objects: dict[str, Any] = {}
        self.queries: list[tuple[str, dict[str, list[str]]]] = []
        self.accepted: dict[str, str] = {}
        """The Accept header of the last request, by path."""
        self.hanging: set[str] = set()
        self.hangs = threading.Event()
        self.ended = threading.Event()

    def answer(self, target: str) -> tuple[int, Json | bytes]:
        url = urlsplit(target)
        query = parse_qs(url.query)
        self.queries.append((url.path, query))
        found = self.objects.get(url.path, 404)
        if callable(found):
            found = found(query)
        if isinstance(found, int):
            return found, {"kind": "Status", "message": f"refused with {found}"}
        if isinstance(found, list):
            start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
            if start and url.path in self.hanging:
                self.hangs.set()
                self.ended.wait(60)
            left = len(found) - start - limit
            metadata: Json = {"continue": str(start + limit)} if left > 0 else {}
            metadata |= {"remainingItemCount": left} if left > 0 else {}
            return 200, {"metadata": metadata, "items": found[start : start + limit]}
        return 200, found


@contextmanager
def playing(objects: Json | None = None) -> Iterator[Played]:
    """One that listens while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.accepted[urlsplit(self.path).path] = self.headers.get("Accept", "")
            code, body = api.answer(self.path)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            with contextlib.suppress(OSError):  # the client has gone
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        api = Played(server.server_address[1])
        api.objects = objects or {}
        try:
            yield api
        finally:
            api.ended.set()
