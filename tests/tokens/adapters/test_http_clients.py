"""What holds for the adapter of every HTTP client: one renewal and one more request after a 401,
no body twice that can be read once, no token for another origin.
"""

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import a_leaf, an_authority, write_pair
from tests.support.http_clients import ALL
from tests.support.issuer import Issuer
from tests.support.receiver import UNAUTHORIZED, Answer, Receiver, redirect
from tests.support.tokens import Tokens
from webhook.tokens import NoToken, TokenRequest, TokenRequestSource


@pytest.fixture(params=ALL, ids=lambda way: way.__doc__)
def client(request: pytest.FixtureRequest, tokens: Tokens, server: Receiver) -> Iterator[Any]:
    client = request.param(tokens, server.url)
    yield client
    client.close()


def test_each_request_has_the_token_of_its_time(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    assert client.send("GET", server.url).status == 200
    tokens.number = 7
    assert client.send("GET", server.url + "/path").status == 200
    assert server.tokens == ["secret-1", "secret-7"]
    assert tokens.ways == [client.gets] * 2


def test_after_a_401_it_is_renewed_once_and_sent_once_more(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script.append(UNAUTHORIZED)
    assert client.send("GET", server.url + "/path?a=b").status == 200
    assert server.tokens == ["secret-1", "secret-2"]
    assert [seen.path for seen in server.seen] == ["/path?a=b"] * 2
    assert tokens.rejected == ["secret-1"]
    assert client.send("GET", server.url).status == 200
    assert server.connections == 1


def test_a_second_401_is_returned(client: Any, tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED, Answer(401, {"reason": "still not"})]
    result = client.send("GET", server.url)
    assert (result.status, result.body) == (401, b'{"reason": "still not"}')
    assert server.tokens == ["secret-1", "secret-2"]
    assert tokens.rejected == ["secret-1"]


def test_without_another_token_the_401_is_returned_whole(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    tokens.last = 1
    server.script.append(UNAUTHORIZED)
    result = client.send("GET", server.url)
    assert (result.status, result.body) == (401, b'{"reason": "no"}')
    assert server.tokens == ["secret-1"]


@pytest.mark.parametrize("status", [400, 403, 407, 500])
def test_no_other_status_renews(client: Any, tokens: Tokens, server: Receiver, status: int) -> None:
    server.script.append(Answer(status))
    assert client.send("GET", server.url).status == status
    assert (server.tokens, tokens.rejected) == (["secret-1"], [])


def test_a_source_without_a_token_sends_nothing(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    tokens.problem = NoToken("none today")
    with pytest.raises(NoToken, match="none today"):
        client.send("GET", server.url)
    assert server.seen == []
    tokens.problem = None
    assert client.send("GET", server.url).status == 200


def test_a_renewal_that_fails_is_raised(client: Any, tokens: Tokens, server: Receiver) -> None:
    tokens.renewal_problem = NoToken("expired")
    server.script.append(UNAUTHORIZED)
    with pytest.raises(NoToken, match="expired"):
        client.send("GET", server.url)
    assert server.tokens == ["secret-1"]


@pytest.mark.parametrize(
    "body", [{"content": b"bytes"}, {"content": "text"}, {"json": {"a": 1}}, {"form": {"a": "b"}}]
)
def test_a_body_in_memory_is_sent_again(
    client: Any, tokens: Tokens, server: Receiver, body: dict[str, Any]
) -> None:
    server.script.append(UNAUTHORIZED)
    assert client.send("POST", server.url, **body).status == 200
    first, second = server.seen
    assert first.body == second.body != b""
    assert server.tokens == ["secret-1", "secret-2"]


def test_a_file_that_can_seek_is_sent_again(client: Any, server: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(b"content " * 20_000)
    server.script.append(UNAUTHORIZED)
    with path.open("rb") as file:
        assert client.send("POST", server.url, **client.upload(file)).status == 200
    first, second = server.seen
    assert first.body == second.body
    assert b"content " * 20_000 in first.body


class Once(io.RawIOBase):
    """A file that cannot seek, such as a pipe."""

    def __init__(self) -> None:
        self._left = b"one time"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content, self._left = self._left, b""
        buffer[: len(content)] = content
        return len(content)


def test_a_file_that_cannot_seek_is_not_sent_again(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script.append(UNAUTHORIZED)
    with io.BufferedReader(Once()) as file:
        assert client.send("POST", server.url, **client.upload(file)).status == 401
    (seen,) = server.seen
    assert b"one time" in seen.body
    assert tokens.rejected == ["secret-1"]


def test_what_can_be_read_once_is_not_sent_again_but_the_token_is_renewed(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script.append(UNAUTHORIZED)
    assert client.send("POST", server.url, content=client.chunks()).status == 401
    assert [seen.body for seen in server.seen] == [b"one time"]
    assert tokens.rejected == ["secret-1"]
    assert client.send("POST", server.url, content=client.chunks()).status == 200
    assert server.tokens == ["secret-1", "secret-2"]


def test_the_callers_own_header_is_left_alone(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script.append(UNAUTHORIZED)
    headers = {"authorization": "Basic YTpi"}
    assert client.send("GET", server.url, headers=headers).status == 401
    assert [seen.authorization for seen in server.seen] == ["Basic YTpi"]
    assert tokens.ways == []


def test_a_long_answer_does_no_harm(client: Any, server: Receiver) -> None:
    server.script.append(Answer(401, b"x" * (4 << 20)))
    assert client.send("GET", server.url).status == 200
    assert server.tokens == ["secret-1", "secret-2"]


def test_a_redirect_to_the_same_origin_keeps_the_token(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script += [redirect("/there"), UNAUTHORIZED]
    assert client.send("GET", server.url + "/here").status == 200
    assert [(seen.path, token) for seen, token in zip(server.seen, server.tokens, strict=True)] == [
        ("/here", "secret-1"),
        ("/there", "secret-1"),
        ("/there", "secret-2"),
    ]
    assert tokens.rejected == ["secret-1"]


def test_what_a_server_has_accepted_is_not_sent_to_it_again(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script += [redirect("/there", 303), UNAUTHORIZED]
    assert client.send("POST", server.url + "/here", json={"a": 1}).status == 200
    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("POST", "/here"),
        ("GET", "/there"),
        ("GET", "/there"),
    ]


def test_a_redirect_after_a_renewal_has_the_new_token(
    client: Any, tokens: Tokens, server: Receiver, other: Receiver
) -> None:
    server.script += [UNAUTHORIZED, redirect("/there"), redirect(other.url)]
    assert client.send("GET", server.url + "/here").status == 200
    assert server.tokens == ["secret-1", "secret-2", "secret-2"]
    assert other.tokens == [None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_port_never_gets_the_token(
    client: Any, server: Receiver, other: Receiver, method: str, status: int
) -> None:
    server.script.append(redirect(other.url + "/there", status))
    assert client.send(method, server.url).status == 200
    assert (server.tokens, other.tokens) == (["secret-1"], [None])


def test_another_host_never_gets_the_token(client: Any, tokens: Tokens, server: Receiver) -> None:
    server.script.append(redirect(f"http://localhost:{server.port}/there"))
    assert client.send("GET", server.url).status == 200
    assert server.tokens == ["secret-1", None]


def test_a_401_of_another_origin_renews_nothing(
    client: Any, tokens: Tokens, server: Receiver, other: Receiver
) -> None:
    server.script.append(redirect(other.url + "/there"))
    other.script.append(UNAUTHORIZED)
    result = client.send("GET", server.url)
    assert (result.status, result.body) == (401, b'{"reason": "no"}')
    assert (server.tokens, other.tokens, tokens.rejected) == (["secret-1"], [None], [])


def test_a_way_back_from_another_origin_never_gives_it_away(
    client: Any, tokens: Tokens, server: Receiver, other: Receiver
) -> None:
    server.script.append(redirect(other.url))
    other.script += [redirect(server.url), UNAUTHORIZED]
    assert client.send("GET", server.url).status == 200
    assert other.tokens == [None]


@pytest.mark.parametrize("way", ALL, ids=lambda way: way.__doc__)
def test_http_never_gets_a_token_of_https(
    way: Any, tokens: Tokens, other: Receiver, tmp_path: Path
) -> None:
    write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
    with Receiver(tmp_path / "tls/tls.crt", tmp_path / "tls/tls.key") as server:
        client = way(tokens, server.url, tmp_path / "ca.crt")
        server.script += [redirect(other.url), UNAUTHORIZED]
        other.script.append(UNAUTHORIZED)
        assert client.send("GET", server.url).status == 401
        assert client.send("GET", server.url).status == 200
        client.close()
    assert server.tokens == ["secret-1", "secret-1", "secret-2"]
    assert other.tokens == [None]


def test_many_that_are_rejected_at_once_make_one_request() -> None:
    """With a source that asks an issuer: each client is one of many."""
    with Issuer() as issuer:
        source = TokenRequestSource(issuer.api(), TokenRequest("shop", "cart"))
        first = source.get()
        issuer.accepts = lambda token: token != first
        issuer.lag = 0.2
        ways = ALL * 3
        clients: list[Any] = [way(source, issuer.url) for way in ways]
        with ThreadPoolExecutor(len(clients)) as threads:
            results = list(
                threads.map(lambda client: client.send("GET", issuer.url + "/protected"), clients)
            )
        for client in clients:
            client.close()
    assert [result.status for result in results] == [200] * len(clients)
    assert len(issuer.requests) == 2


def test_no_repr_and_no_log_has_a_token(
    client: Any, server: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script.append(UNAUTHORIZED)
    client.send("GET", server.url)
    assert "secret" not in caplog.text
    assert "secret" not in repr(client.auth)
    assert "secret" not in str(vars(client.auth))
