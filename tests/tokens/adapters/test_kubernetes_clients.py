"""The three Kubernetes clients: a token for each request, one renewal and one more after a 401."""

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes.client
import pytest
from kubernetes.client import ApiException

from tests.support.kubernetes_clients import ALL, Kubernetes
from tests.support.receiver import UNAUTHORIZED, Answer, Receiver, redirect
from tests.support.tokens import Tokens
from webhook.tokens import NoToken, TokenFile
from webhook.tokens.adapters import kubernetes_async, kubernetes_shared
from webhook.tokens.adapters.shared import Header


def a_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


MAPS = Answer(
    200, {"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {}, "items": [a_map("settings")]}
)
EVENT = {"type": "ADDED", "object": a_map("settings")}
EVENTS = Answer(200, json.dumps(EVENT).encode() + b"\n")


@pytest.fixture(params=ALL, ids=lambda way: way.__doc__)
def client(request: pytest.FixtureRequest, tokens: Tokens, server: Receiver) -> Iterator[Any]:
    client = request.param(tokens, server.url)
    yield client
    client.close()


def test_each_request_has_the_token_of_its_time(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script += [MAPS, MAPS]
    assert client.names() == ["settings"]
    tokens.number = 7
    assert client.names() == ["settings"]
    assert server.tokens == ["secret-1", "secret-7"]
    assert tokens.ways == [client.gets] * 2


def test_after_a_401_it_is_renewed_once_and_sent_once_more(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script += [UNAUTHORIZED, MAPS, MAPS]
    assert client.names() == ["settings"]
    assert server.tokens == ["secret-1", "secret-2"]
    assert tokens.rejected == ["secret-1"]
    client.names()
    assert server.connections == 1


def test_a_body_is_sent_again(client: Any, server: Receiver) -> None:
    server.script += [UNAUTHORIZED, Answer(201, a_map("settings"))]
    client.create("settings")
    first, second = server.seen
    assert first.body == second.body
    assert json.loads(first.body)["data"] == {"a": "b"}


def test_a_long_answer_does_no_harm(client: Any, server: Receiver) -> None:
    server.script += [Answer(401, b" " * (4 << 20)), EVENTS]
    assert client.watched() == ["settings"]


def test_a_client_may_change_the_headers_that_it_is_given(tokens: Tokens) -> None:
    kinds = []

    def send(*_: Any, headers: dict[str, str]) -> Any:
        kinds.append(headers.pop("Content-Type"))
        if len(kinds) % 2:
            raise ApiException(status=401)
        return SimpleNamespace(status=200)

    async def asend(*_: Any, headers: dict[str, str]) -> Any:
        return send(headers=headers)

    headers = {"Content-Type": "multipart/form-data", "authorization": Header.of("secret-1")}
    request: Any = kubernetes_shared.renewing(send, tokens, ApiException)
    assert request("POST", "", headers=headers).status == 200
    request = kubernetes_async.renewing(asend, tokens, ApiException)
    assert asyncio.run(request("POST", "", headers=headers)).status == 200
    assert kinds == ["multipart/form-data"] * 4


def test_a_second_401_is_the_clients_own_exception(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    server.script += [UNAUTHORIZED, Answer(401, {"reason": "still not"})]
    with pytest.raises(client.refused) as raised:
        client.names()
    assert raised.value.status == 401
    assert "still not" in str(raised.value)
    assert tokens.rejected == ["secret-1"]
    assert "secret" not in f"{raised.value!r} {raised.value}"


def test_without_another_token_the_401_is_the_clients_own_exception(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    tokens.last = 1
    server.script.append(UNAUTHORIZED)
    with pytest.raises(client.refused, match="no"):
        client.names()
    assert server.tokens == ["secret-1"]


@pytest.mark.parametrize("status", [403, 404, 409, 500])
def test_no_other_status_renews(client: Any, tokens: Tokens, server: Receiver, status: int) -> None:
    server.script.append(Answer(status, {"message": "other"}))
    with pytest.raises(client.refused):
        client.names()
    assert (server.tokens, tokens.rejected) == (["secret-1"], [])


def test_a_source_without_a_token(client: Any, tokens: Tokens, server: Receiver) -> None:
    tokens.problem = NoToken("none today")
    with pytest.raises(NoToken, match="none today"):
        client.names()
    assert server.seen == []


def test_a_renewal_that_fails(client: Any, tokens: Tokens, server: Receiver) -> None:
    tokens.renewal_problem = NoToken("expired")
    server.script.append(UNAUTHORIZED)
    with pytest.raises(NoToken, match="expired"):
        client.names()
    assert server.tokens == ["secret-1"]


def test_a_watch(client: Any, tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED, EVENTS]
    assert client.watched() == ["settings"]
    assert server.tokens == ["secret-1", "secret-2"]
    assert ["watch=true" in seen.path.lower() for seen in server.seen] == [True, True]


def test_a_watch_that_is_rejected_twice(client: Any, tokens: Tokens, server: Receiver) -> None:
    server.script += [UNAUTHORIZED, Answer(401, {"code": 401, "reason": "still not"})]
    with pytest.raises(client.refused, match="still not"):
        client.watched()
    assert tokens.rejected == ["secret-1"]


def test_the_callers_own_header_is_left_alone(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    client.api.set_default_header("Authorization", "Basic YTpi")
    server.script += [UNAUTHORIZED, MAPS]
    with pytest.raises(client.refused):
        client.names()
    assert [seen.authorization for seen in server.seen] == ["Basic YTpi"]
    assert tokens.rejected == []


def test_the_auth_of_one_request_is_left_alone(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    own = {"type": "api_key", "in": "header", "key": "authorization", "value": "Bearer own"}
    server.script += [UNAUTHORIZED, MAPS]
    with pytest.raises(client.refused):
        client.names(_request_auth=own)
    assert (server.tokens, tokens.rejected) == (["own"], [])


def test_another_origin_never_gets_the_token(
    client: Any, tokens: Tokens, server: Receiver, other: Receiver
) -> None:
    server.script.append(redirect(other.url))
    other.script.append(MAPS)
    assert client.names() == ["settings"]
    assert (server.tokens, other.tokens) == (["secret-1"], [None])
    server.script.append(redirect(f"http://localhost:{server.port}/there"))
    server.script.append(MAPS)
    client.names()
    assert server.tokens[1:] == ["secret-1", None]


def test_a_401_of_another_origin(
    client: Any, tokens: Tokens, server: Receiver, other: Receiver
) -> None:
    server.script += [redirect(other.url), redirect(other.url)]
    other.script += [UNAUTHORIZED, UNAUTHORIZED]
    with pytest.raises(client.refused) as raised:
        client.names()
    assert raised.value.status == 401
    assert set(other.tokens) == {None}
    # kubernetes_asyncio does not say where the answer comes from, so this one is asked once more.
    assert tokens.rejected == ([] if client.tells_of_redirects else ["secret-1"])


def test_the_default_configuration_gives_every_client_fresh_tokens(
    client: Any, tokens: Tokens, server: Receiver
) -> None:
    """Clients that a program makes somewhere, without an argument."""
    configuration_class = client.package.client.Configuration
    configuration = configuration_class()
    configuration.host = server.url
    before = configuration_class._default
    try:
        configuration_class.set_default(client.adapter.configured(tokens, configuration))
        api = client.run(client.package.client.ApiClient)
    finally:
        configuration_class._default = before
    core = client.core(api)
    for number in (1, 5):
        tokens.number = number
        server.script.append(MAPS)
        client.run(lambda: core.list_namespaced_config_map("shop"))
    client.run(api.close)
    assert server.tokens == ["secret-1", "secret-5"]


def test_the_default_client_sends_again_too(tokens: Tokens, server: Receiver) -> None:
    """Only `kubernetes` has one, and only from version 37 on."""
    configuration = kubernetes.client.Configuration()
    configuration.host = server.url
    server.script += [UNAUTHORIZED, MAPS]
    clients: Any = kubernetes.client.ApiClient
    with Kubernetes.adapter.TokenApiClient(tokens, configuration) as api:
        clients.set_default(api)
        try:
            kubernetes.client.CoreV1Api().list_namespaced_config_map("shop")
        finally:
            clients.set_default(None)
    assert server.tokens == ["secret-1", "secret-2"]


def test_other_credentials_are_taken_out(client: Any, tokens: Tokens) -> None:
    configuration = client.package.client.Configuration()
    configuration.api_key["authorization"] = configuration.api_key["BearerToken"] = "old"
    configuration.api_key_prefix["authorization"] = "Bearer"
    configuration.cert_file, configuration.key_file = "a.crt", "a.key"
    client.adapter.configured(tokens, configuration)
    assert (configuration.cert_file, configuration.key_file) == (None, None)
    assert (configuration.api_key_prefix, "old" in str(configuration.api_key)) == ({}, False)


def test_a_configuration_shows_no_token(client: Any, tokens: Tokens, server: Receiver) -> None:
    server.script.append(MAPS)
    client.names()
    for configuration in (client.configuration, copy.deepcopy(client.configuration)):
        assert configuration.api_key["BearerToken"] == "Bearer secret-1"
        assert "secret" not in f"{configuration.api_key}{vars(configuration)}"


class TestInAPod:
    @pytest.fixture(autouse=True)
    def variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    @pytest.mark.parametrize("way", ALL, ids=lambda way: way.__doc__)
    def test_host_and_ca_are_those_of_the_pod(self, way: Any, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("a-token")
        (tmp_path / "ca.crt").write_text("")
        configuration = way.adapter.configured(TokenFile(tmp_path / "token"))
        assert configuration.host == "https://[fd00::1]:443"
        assert configuration.ssl_ca_cert == str(tmp_path / "ca.crt")

    def test_a_folder_without_a_ca_means_that_of_the_service_account(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kubernetes_shared, "SERVICE_ACCOUNT", tmp_path)
        source = TokenFile("/var/run/secrets/boundtoken.dev/tokens/api")
        assert Kubernetes.adapter.configured(source).ssl_ca_cert is None
        (tmp_path / "ca.crt").write_text("")
        for given in (source, Tokens()):
            found = Kubernetes.adapter.configured(given).ssl_ca_cert
            assert found == str(tmp_path / "ca.crt")

    def test_without_the_variables_it_says_what_to_do(
        self, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KUBERNETES_SERVICE_PORT")
        with pytest.raises(NoToken, match="not in a cluster; give a Configuration"):
            Kubernetes.adapter.TokenApiClient(tokens)


def test_a_program_that_reads_the_token_once_gets_401_and_ours_does_not(
    server: Receiver, tmp_path: Path
) -> None:
    """The complaint: the file is replaced, and the client goes on with the old token."""
    path = tmp_path / "token"
    path.write_text("first")
    client = Kubernetes(TokenFile(path), server.url)
    server.script += [MAPS, MAPS]
    client.names()
    path.write_text("another")
    client.names()
    client.close()
    assert server.tokens == ["first", "another"]
