"""ApiServer: connections that are used again, bounded answers, and texts without secrets."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.issuer import Credentials, Issuer
from webhook.tokens import ApiServer, NoToken
from webhook.tokens.server import (
    MAX_ANSWER_BYTES,
    MAX_IDLE_CONNECTIONS,
    MAX_IDLE_SECONDS,
    Refusal,
    _Connection,
)

SECRET = "eyJ-secret"


class WithToken(Credentials):
    def header(self) -> str:
        return f"Bearer {SECRET}"


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[int]]]:
    """A server that does to each connection what `answer` does; counts them."""
    listener = socket.create_server(("127.0.0.1", 0))
    count = [0]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            count[0] += 1
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with connection:
            try:
                answer(connection)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", count
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def ok(connection: socket.socket, body: bytes = b"{}") -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_a_connection_is_used_again() -> None:
    def many(connection: socket.socket) -> None:
        while True:
            ok(connection)

    with raw(many) as (url, count):
        api = ApiServer(Credentials(url))
        assert [api.get("/x") for _ in range(5)] == [b"{}"] * 5
        assert api.post("/x", b"{}") == b"{}"
        assert count == [1]
        api.close()
        api.get("/x")
        assert count == [2]


def test_one_that_the_server_has_closed_meanwhile_is_replaced() -> None:
    with raw(ok) as (url, count):
        api = ApiServer(Credentials(url))
        for _ in range(3):
            assert api.get("/x") == b"{}"
            time.sleep(0.05)
        assert count == [3]


def test_chunks_are_an_answer_too_and_the_connection_is_used_again() -> None:
    def many(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall(b"2\r\n{}\r\n1\r\n \r\n0\r\n\r\n")

    with raw(many) as (url, count):
        api = ApiServer(Credentials(url))
        assert [api.get("/x") for _ in range(3)] == [b"{} "] * 3
        assert count == [1]


def test_few_are_kept(issuer: Issuer) -> None:
    api = issuer.api()
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: api.get("/.well-known/openid-configuration"), range(60)))
    assert 0 < len(api._idle) <= MAX_IDLE_CONNECTIONS


def dripping(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def dripping_head(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nA: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def continuing(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


def says(text: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(text)

    return answer


BAD: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "too much": (lambda c: ok(c, b" " * (MAX_ANSWER_BYTES + 1)), "more than 1048576 bytes"),
    "no HTTP": (says(b"SSH-2.0\r\n\r\n"), "BadStatusLine"),
    "hangs up": (says(b""), "/x: RemoteDisconnected"),
    "half an answer": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
        "ends 8 bytes too early",
    ),
    "half a chunk": (
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx"),
        "/x: IncompleteRead",
    ),
    "a drip": (dripping, "TimeoutError: timed out"),
    "a drip in the head": (dripping_head, "TimeoutError: timed out"),
    "100 for ever": (continuing, "TimeoutError: timed out"),
    "endless headers": (says(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 999), "HTTPException"),
}


@pytest.mark.parametrize(("answer", "text"), BAD.values(), ids=BAD)
def test_whatever_goes_wrong_is_a_refusal_without_a_status(
    answer: Callable[[socket.socket], None], text: str
) -> None:
    with raw(answer) as (url, _), pytest.raises(Refusal) as refused:
        ApiServer(WithToken(url), 0.4).get("/x")
    assert text in refused.value.message
    if "more than" not in text:
        assert refused.value.message.startswith(f"GET {url}/x: "), "which server"
    assert refused.value.status == 0
    assert SECRET not in repr(refused.value)


def test_credentials_that_a_proxy_repeats_are_not_told() -> None:
    body = f'{{"message":"bad header: Authorization: Bearer {SECRET}"}}'.encode()
    head = f"HTTP/1.1 400 Bad\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with raw(says(head + body)) as (url, _), pytest.raises(Refusal) as refused:
        ApiServer(WithToken(url)).get("/x")
    assert refused.value.message == "bad header: Authorization: Bearer (a token)"


def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    class Broken(Credentials):
        def header(self) -> str:
            return f"Bearer {SECRET}\r\nX-Evil: 1"

    with raw(ok) as (url, _), pytest.raises(Refusal) as refused:
        ApiServer(Broken(url)).get("/x")
    assert SECRET not in repr(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (
            b"429 Too Many\r\nRetry-After: 7",
            b'{"message":"slow down","details":{"kind":"pods"}}',
            (429, "slow down", "pods", 7),
        ),
        (b"503 Busy\r\nRetry-After: soon", b"<html>", (503, "Busy", "", 0)),
        (b"500 Broken", b"[" * 9999, (500, "Broken", "", 0)),
        (b"302 Found\r\nLocation: http://127.0.0.1:1/", b"", (302, "Found", "", 0)),
        (b"404 None", b'{"message":7}', (404, "None", "", 0)),
    ],
)
def test_a_refusal_has_what_its_status_says(
    head: bytes, body: bytes, expected: tuple[object, ...]
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (head, len(body), body))

    with raw(answer) as (url, _), pytest.raises(Refusal) as refused:
        ApiServer(Credentials(url)).get("/x")
    problem = refused.value
    assert (problem.status, problem.message, problem.kind, problem.retry_after) == expected


@pytest.mark.parametrize("url", ["htps://h", "10.0.0.1:6443", "", "http://", "ftp://h"])
def test_another_url_than_one_of_http_is_none(url: str) -> None:
    with pytest.raises(Refusal, match="must be the URL of an API server"):
        ApiServer(WithToken(url)).get("/x")


@pytest.mark.parametrize(
    ("url", "port"), [("https://[::1]", 443), ("http://[::1]", 80), ("https://h:6443", 6443)]
)
def test_a_url_without_a_port_has_that_of_its_scheme(url: str, port: int) -> None:
    connection = _Connection(url, True, 1)._http
    assert (connection.host in ("::1", "h"), connection.port) == (True, port)


def test_a_child_of_fork_has_connections_and_a_lock_of_its_own() -> None:
    def many(connection: socket.socket) -> None:
        while True:
            ok(connection)

    with raw(many) as (url, count):
        api = ApiServer(Credentials(url))
        api.get("/x")
        (idle,) = api._idle
        before = api._lock
        api.after_fork()
        assert api._lock is not before
        assert idle._http.sock is None
        api.get("/x")
        assert count == [2]


def test_one_that_was_idle_for_long_is_not_used_again() -> None:
    def many(connection: socket.socket) -> None:
        while True:
            ok(connection)

    with raw(many) as (url, count):
        api = ApiServer(Credentials(url))
        api.get("/x")
        api._idle[0].used_at -= MAX_IDLE_SECONDS
        api.get("/x")
        assert count == [2]


def test_a_server_below_a_path(issuer: Issuer) -> None:
    below = ApiServer(Credentials(issuer.url + "/protected/k8s"))
    below.get("/api")
    assert issuer.seen[0][1] == "/protected/k8s/api"


def test_outside_of_a_cluster_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NoToken, match="not in a cluster"):
        ApiServer.in_cluster()
    with pytest.raises(NoToken, match="kubeconfig"):
        ApiServer.from_kubeconfig(str(tmp_path / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(Refusal, match="token: No such file"):
        ApiServer.in_cluster(tmp_path).get("/x")


def test_a_new_ca_means_a_new_connection() -> None:
    class Rotated(Credentials):
        context: ssl.SSLContext | bool = True

        def tls(self) -> bool:
            return self.context  # type: ignore[return-value]

    def many(connection: socket.socket) -> None:
        while True:
            ok(connection)

    with raw(many) as (url, count):
        credentials = Rotated(url)
        api = ApiServer(credentials)
        api.get("/x")
        credentials.context = ssl.create_default_context()
        api.get("/x")
        assert count == [2]
    assert isinstance(api._idle[0]._http, http.client.HTTPConnection)
