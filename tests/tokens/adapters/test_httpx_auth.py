"""httpx: what only it can do."""

import httpx
import pytest

from tests.support.receiver import UNAUTHORIZED, Receiver, redirect
from tests.support.tokens import Tokens
from webhook.tokens.adapters.httpx_auth import BearerAuth


def test_a_request_that_is_sent_again_later_has_the_token_of_its_time(
    tokens: Tokens, server: Receiver
) -> None:
    auth = BearerAuth(tokens)
    with httpx.Client() as client:
        request = client.build_request("GET", server.url)
        client.send(request, auth=auth)
        tokens.number = 5
        server.script.append(UNAUTHORIZED)
        assert client.send(request, auth=auth).status_code == 200
        request.headers["Authorization"] = "Bearer own"
        client.send(request, auth=auth)
    assert server.tokens == ["secret-1", "secret-5", "secret-6", "own"]


@pytest.mark.parametrize("status", [200, 401])
def test_a_stream_of_the_answer(tokens: Tokens, server: Receiver, status: int) -> None:
    server.script += [UNAUTHORIZED] * (2 if status == 401 else 1)
    with (
        httpx.Client(auth=BearerAuth(tokens)) as client,
        client.stream("GET", server.url) as answer,
    ):
        assert (answer.status_code, answer.is_stream_consumed) == (status, False)
        assert [first.status_code for first in answer.history] == [401]
        assert answer.read()
    assert server.connections == 1


def test_what_an_exception_shows(tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED] * 2
    with httpx.Client(auth=BearerAuth(tokens)) as client:
        answer = client.get(server.url)
    with pytest.raises(httpx.HTTPStatusError) as raised:
        answer.raise_for_status()
    shown = f"{raised.value!r} {raised.value} {answer.request!r} {answer.request.headers!r}"
    assert "secret" not in shown


def test_a_redirect_that_is_followed_by_hand_takes_no_token_elsewhere(
    tokens: Tokens, server: Receiver
) -> None:
    with Receiver() as other, httpx.Client(auth=BearerAuth(tokens)) as client:
        server.script.append(redirect(other.url))
        answer = client.get(server.url)
        assert answer.next_request is not None
        assert client.send(answer.next_request).status_code == 200
        assert [seen.authorization for seen in other.seen] == [None]
