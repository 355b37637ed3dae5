"""Who we are: a pod's files, read again for each request, or a kubeconfig."""

import asyncio
import base64
import json
import re
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.support.api import api_server
from tests.support.claims import a_token
from tests.support.clocks import Clock
from tests.support.processes import free_port
from webhook.cluster.client import ApiClient
from webhook.cluster.credentials import (
    IMPERSONATION,
    REREAD_SECONDS,
    FromKubeconfig,
    InCluster,
    ReadAgain,
    credentials_for,
)
from webhook.core.claims import audiences_of
from webhook.errors import ApiError, Unauthenticated
from webhook.pki import authority

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRON = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def a_kubeconfig(
    path: Path, user: dict[str, object], server: str = "https://127.0.0.1:6443"
) -> Path:
    contexts = [
        {"name": name, "context": {"cluster": name, "user": "me"}} for name in ("one", "two")
    ]
    clusters = [
        {"name": "one", "cluster": {"server": server}},
        {"name": "two", "cluster": {"server": "https://two:6443"}},
    ]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "contexts": contexts,
        "current-context": "one",
    }
    path.write_text(yaml.safe_dump({**config, "users": [{"name": "me", "user": user}]}))
    return path


@pytest.mark.parametrize(("context", "namespace"), [(None, "shop"), ("one", "shop"), ("two", "")])
def test_a_context_has_a_namespace_or_none(
    tmp_path: Path, context: str | None, namespace: str
) -> None:
    file = a_kubeconfig(tmp_path / "config", {"token": "secret"})
    config = yaml.safe_load(file.read_text())
    config["contexts"][0]["context"]["namespace"] = "shop"
    file.write_text(yaml.safe_dump(config))
    assert FromKubeconfig(str(file), context).namespace == namespace


def test_with_a_context_that_is_given_no_current_one_is_needed(tmp_path: Path) -> None:
    file = a_kubeconfig(tmp_path / "config", {"token": "secret"})
    config = yaml.safe_load(file.read_text())
    del config["current-context"]
    file.write_text(yaml.safe_dump(config))
    assert FromKubeconfig(str(file), "two").server == "https://two:6443"
    with pytest.raises(Unauthenticated, match="current-context"):
        FromKubeconfig(str(file))


@pytest.mark.parametrize("text", ["config", "[]", "{contexts: {}, clusters: 7}"])
def test_what_is_no_kubeconfig_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(Unauthenticated, match=r"kubeconfig .*/config: "):
        FromKubeconfig(str(tmp_path / "config"))


async def test_a_token_that_rotates_is_read_again(tmp_path: Path) -> None:
    credentials = InCluster(ENVIRON, tmp_path)
    for text in ("one", "two\n"):
        (tmp_path / "token").write_text(text)
        assert await credentials.authorization() == f"Bearer {text.strip()}"
    assert credentials.server == "https://10.0.0.1:443"


def test_an_ipv6_api_server_stands_in_brackets(tmp_path: Path) -> None:
    assert (
        InCluster({**ENVIRON, "KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).server
        == "https://[fd00::1]:443"
    )


def test_a_ca_that_changes_gives_a_new_context_and_the_same_one_does_not(tmp_path: Path) -> None:
    credentials = InCluster(ENVIRON, tmp_path)
    first, second = (
        authority.make_authority(name, NOW, timedelta(days=1)).certificate.pem
        for name in ("a", "b")
    )
    (tmp_path / "ca.crt").write_bytes(first)
    context = credentials.tls()
    assert credentials.tls() is context
    (tmp_path / "ca.crt").write_bytes(second)
    assert credentials.tls() is not context


async def test_outside_of_a_cluster_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="not in a cluster; give --kubeconfig FILE"):
        credentials_for(None, None, {}, tmp_path)
    with pytest.raises(
        Unauthenticated, match="No such file or directory; the pod needs a token volume there"
    ):
        await InCluster(ENVIRON, tmp_path).authorization()
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(Unauthenticated, match="must hold PEM certificates"):
        InCluster(ENVIRON, tmp_path).tls()


@pytest.mark.parametrize(
    "token",
    [b"", b"\xff\xfe", b"one\r\nX: y", b"a b"],
    ids=["empty", "bytes", "a header", "a blank"],
)
async def test_what_is_no_token_is_named_and_not_shown(tmp_path: Path, token: bytes) -> None:
    (tmp_path / "token").write_bytes(token)
    for ask in (
        InCluster(ENVIRON, tmp_path).authorization,
        lambda: asyncio.to_thread(InCluster(ENVIRON, tmp_path).audiences),
    ):
        with pytest.raises(Unauthenticated) as caught:
            await ask()
        assert (
            str(caught.value)
            == f"{tmp_path}/token: must hold a token, which is printable ASCII without whitespace"
        )


def test_a_bundle_of_authorities_may_have_comments_in_any_language(tmp_path: Path) -> None:
    pem = authority.make_authority("a", NOW, timedelta(days=1)).certificate.pem
    (tmp_path / "ca.crt").write_bytes("# Prüfstelle\n".encode() + pem)
    assert len(InCluster(ENVIRON, tmp_path).tls().get_ca_certs()) == 1  # and none of the system's


@pytest.mark.parametrize(
    ("token", "want"),
    [
        (a_token({"aud": ["a", "b"]}), ("a", "b")),
        (a_token({"aud": "a"}), ("a",)),
        (a_token({"aud": None}), ()),
        ("", ()),
        ("x.y.z", ()),
        (a_token({"aud": [1]}), ()),
        (a_token({"aud": 5}), ()),
        ("e30." + base64.urlsafe_b64encode(b"[" * 100_000).decode() + ".c2ln", ()),
    ],
)
def test_our_own_audiences_are_read_from_our_token(token: str, want: tuple[str, ...]) -> None:
    assert audiences_of(token) == want


async def test_a_kubeconfig_gives_server_token_and_context(tmp_path: Path) -> None:
    path = str(a_kubeconfig(tmp_path / "config", {"token": "abc"}))
    assert FromKubeconfig(path).server == "https://127.0.0.1:6443"
    assert FromKubeconfig(path, "two").server == "https://two:6443"
    assert await FromKubeconfig(path).authorization() == "Bearer abc"


async def test_a_kubeconfigs_exec_plugin_is_run(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    status = {"token": "from-plugin", "expirationTimestamp": "2099-01-01T00:00:00Z"}
    credential = json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": status,
        }
    )
    plugin.write_text(f"#!/bin/sh\necho '{credential}'\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "interactiveMode": "Never",
        }
    }
    credentials = FromKubeconfig(str(a_kubeconfig(tmp_path / "config", dict(user))))
    assert await credentials.authorization() == "Bearer from-plugin"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-plugin", "No such file or directory: 'no-such-plugin'"),
        ("false", "process returned 1"),
    ],
)
def test_an_exec_plugin_that_fails_is_named_rather_than_done_without(
    tmp_path: Path, command: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without credentials the API server would say that an anonymous user lacks a right."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": command}
    path = a_kubeconfig(tmp_path / "config", {"exec": plugin})
    with pytest.raises(Unauthenticated, match=f"the exec plugin {command} failed: .*{why}"):
        FromKubeconfig(str(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("has_authority", [True, False])
def test_a_server_is_verified_by_the_name_that_the_kubeconfig_says(
    tmp_path: Path, has_authority: bool
) -> None:
    path = a_kubeconfig(tmp_path / "config", {"token": "abc"})
    config = yaml.safe_load(path.read_text())
    config["clusters"][0]["cluster"]["tls-server-name"] = "kubernetes"
    if has_authority:
        pem = authority.make_authority("ca", NOW, timedelta(days=1)).certificate.pem
        cluster = config["clusters"][0]["cluster"]
        cluster["certificate-authority-data"] = base64.b64encode(pem).decode()
    path.write_text(yaml.safe_dump(config))
    context = FromKubeconfig(str(path)).tls()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (len(context.get_ca_certs()) == 1) is has_authority
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    assert wrapped.server_hostname == "kubernetes"
    with socket.socket() as plain:
        tls = context.wrap_socket(plain, server_hostname="127.0.0.1")
        assert tls.server_hostname == "kubernetes"
        tls.close()


@pytest.mark.parametrize("field", IMPERSONATION)
def test_a_user_that_acts_as_another_one_is_refused(tmp_path: Path, field: str) -> None:
    """Ignored, it would act with its own rights."""
    path = a_kubeconfig(tmp_path / "config", {"token": "abc", field: "jane"})
    with pytest.raises(Unauthenticated, match=rf"user 'me' acts as somebody else \({field}\)"):
        FromKubeconfig(str(path))


def test_what_a_kubeconfig_lacks_is_named(tmp_path: Path) -> None:
    path = a_kubeconfig(tmp_path / "config", {"token": "abc"})
    with pytest.raises(Unauthenticated, match="there is no context 'three', only: one, two$"):
        FromKubeconfig(str(path), "three")
    path.write_text(path.read_text().replace("user: me", "user: you"))
    with pytest.raises(Unauthenticated, match="context 'one': there is no user 'you'$"):
        FromKubeconfig(str(path))
    nowhere = str(tmp_path / "missing")
    with pytest.raises(Unauthenticated, match="there is no such file; give --kubeconfig FILE, or"):
        FromKubeconfig(nowhere)
    path = a_kubeconfig(tmp_path / "config", {"token": "abc"})
    assert FromKubeconfig(f"{nowhere}:{path}").header() == "Bearer abc", "one of them is enough"
    path.write_text("a: [\n")
    with pytest.raises(Unauthenticated) as caught:
        FromKubeconfig(str(path))
    assert "\n" not in str(caught.value)


def test_a_kubeconfigs_client_certificate_is_loaded(tmp_path: Path) -> None:
    root = authority.make_authority("ca", NOW, timedelta(days=1))
    leaf = authority.issue(root, ["me"], NOW, timedelta(days=1))
    pem = {"client-certificate-data": leaf.certificate.pem, "client-key-data": leaf.key}
    user = {name: base64.b64encode(value).decode() for name, value in pem.items()}
    credentials = FromKubeconfig(str(a_kubeconfig(tmp_path / "config", dict(user))))
    assert credentials.tls().verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize("content", ["", "{}", "contexts: 5", ": :"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(Unauthenticated, match=f"kubeconfig {re.escape(str(path))}"):
        FromKubeconfig(str(path))
    with pytest.raises(Unauthenticated, match="kubeconfig .*missing"):
        FromKubeconfig(str(tmp_path / "missing"))


def test_a_token_file_of_a_kubeconfig_may_end_in_a_newline(tmp_path: Path) -> None:
    """As kubectl takes it; a header may have none."""
    (tmp_path / "token").write_text("abc\n")
    path = a_kubeconfig(tmp_path / "config", {"tokenFile": "token"})
    assert FromKubeconfig(str(path)).header() == "Bearer abc"


def test_a_kubeconfig_is_read_again_once_a_minute(tmp_path: Path) -> None:
    """As a process needs it that runs for longer than a token lives."""
    clock, token = Clock(), tmp_path / "token"
    token.write_text("one")
    path = a_kubeconfig(tmp_path / "config", {"tokenFile": str(token)})
    credentials = ReadAgain(str(path), clock=clock)
    for text, seconds, expected in (
        ("two", REREAD_SECONDS - 1, "one"),
        ("two", 1, "two"),
        ("three", 1, "two"),
        ("three", REREAD_SECONDS, "three"),
    ):
        token.write_text(text)
        clock.now += seconds
        assert credentials.header() == f"Bearer {expected}"
    context = credentials.tls()
    assert credentials.tls() is context
    a_kubeconfig(path, {"token": "x"}, "https://127.0.0.2:6443")
    clock.now += REREAD_SECONDS
    assert credentials.address().server == "https://127.0.0.1:6443", "it reads nothing"
    assert credentials.tls() is not context
    assert (credentials.server, credentials.header()) == ("https://127.0.0.2:6443", "Bearer x")


def test_a_kubeconfig_that_cannot_be_read_again_is_used_on(tmp_path: Path) -> None:
    clock = Clock()
    path = a_kubeconfig(tmp_path / "config", {"token": "one"})
    credentials = ReadAgain(str(path), clock=clock)
    path.write_text(": :")
    clock.now += REREAD_SECONDS
    assert credentials.header() == "Bearer one"
    with pytest.raises(Unauthenticated, match="kubeconfig .*config"):
        ReadAgain(str(path), clock=clock)


async def test_a_server_that_is_not_there_is_named_and_no_object_of_python(tmp_path: Path) -> None:
    server = f"https://127.0.0.1:{free_port()}"
    path = a_kubeconfig(tmp_path / "config", {"token": "abc"}, server)
    async with ApiClient(FromKubeconfig(str(path)), "boundtoken/test") as client:
        with pytest.raises(ApiError, match="Cannot connect to host 127.0.0.1:") as caught:
            await client.get("/api")
    assert "object at" not in str(caught.value)


async def test_the_client_sends_what_the_credential_says_now(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        credentials = InCluster(ENVIRON, tmp_path)
        root = authority.make_authority("ca", NOW, timedelta(days=1))
        (tmp_path / "ca.crt").write_bytes(root.certificate.pem)
        credentials.server = api.server
        async with ApiClient(credentials, "boundtoken/test") as client:
            for text in ("one", "two"):
                (tmp_path / "token").write_text(text)
                await client.get("/api/v1/namespaces", query={"limit": "5"})
        assert [request.headers["Authorization"] for request in api.requests] == [
            "Bearer one",
            "Bearer two",
        ]
        assert api.requests[0].headers["User-Agent"] == "boundtoken/test"
    await asyncio.sleep(0)
