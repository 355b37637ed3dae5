"""requests: what only it can do."""

from typing import Any

import pytest
import requests

from tests.support.receiver import UNAUTHORIZED, Answer, Receiver
from tests.support.tokens import Tokens
from webhook.tokens.adapters.requests_auth import BearerAuth


def test_without_a_session(tokens: Tokens, server: Receiver) -> None:
    server.script.append(UNAUTHORIZED)
    answer = requests.get(server.url, auth=BearerAuth(tokens), timeout=5)
    assert (answer.status_code, [first.status_code for first in answer.history]) == (200, [401])
    assert server.tokens == ["secret-1", "secret-2"]
    assert answer.elapsed.total_seconds() > 0


def test_a_prepared_request_that_is_sent_later_is_renewed_when_it_is_rejected(
    tokens: Tokens, server: Receiver
) -> None:
    with requests.Session() as session:
        prepared = session.prepare_request(
            requests.Request("GET", server.url, auth=BearerAuth(tokens))
        )
        assert session.send(prepared).status_code == 200
        tokens.number = 5
        server.script.append(UNAUTHORIZED)
        assert session.send(prepared).status_code == 200
    assert server.tokens == ["secret-1", "secret-1", "secret-5"]
    assert tokens.rejected == ["secret-1"]


def test_hooks_of_the_caller_see_the_last_answer(tokens: Tokens, server: Receiver) -> None:
    statuses: list[int] = []

    def note(answer: requests.Response, **_: Any) -> None:
        statuses.append(answer.status_code)

    server.script.append(UNAUTHORIZED)
    requests.get(server.url, auth=BearerAuth(tokens), hooks={"response": note}, timeout=5)
    assert statuses == [200]


def test_a_stream_of_the_answer_is_not_read(tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED, Answer(200, b"x" * 100_000)]
    with (
        requests.Session() as session,
        session.get(server.url, auth=BearerAuth(tokens), stream=True) as answer,
    ):
        assert answer.raw.tell() == 0
        assert len(answer.content) == 100_000


def test_a_long_answer_costs_its_connection(tokens: Tokens, server: Receiver) -> None:
    server.script.append(Answer(401, b"x" * (4 << 20)))
    with requests.Session() as session:
        assert session.get(server.url, auth=BearerAuth(tokens)).status_code == 200
    assert server.connections == 2


def test_what_an_exception_shows(tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED] * 2
    answer = requests.get(server.url, auth=BearerAuth(tokens), timeout=5)
    with pytest.raises(requests.HTTPError) as raised:
        answer.raise_for_status()
    headers = answer.request.headers
    assert headers["Authorization"] == "Bearer secret-2"
    shown = f"{raised.value!r} {raised.value} {answer.request!r} {headers!r} {headers}"
    assert "secret" not in shown
