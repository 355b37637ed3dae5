"""The adapters of clients on the real API server, which accepts the first token no more."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kubernetes.client
import kubernetes.stream
import pytest

from tests.support.adapters import Caller, callers
from tests.support.cluster import Cluster
from tests.support.grpc_server import GrpcServer
from tests.support.kubernetes_clients import ALL, Kubernetes
from tests.support.waiting import wait_for
from webhook.tokens import ApiServer, ObjectReference, TokenFile, TokenRequest, TokenRequestSource

LOCK = "lock"
"""The Secret that tokens are bound to."""


@pytest.fixture
def server(cluster: Cluster) -> ApiServer:
    return ApiServer.from_kubeconfig(str(cluster.plane.kubeconfig()))


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    namespace = cluster.namespace()
    cluster.reader(namespace)
    make_secret(cluster, namespace)
    return namespace


@pytest.fixture
def grpc_server(tmp_path: Path) -> Iterator[GrpcServer]:
    with GrpcServer(tmp_path) as server:
        yield server


def make_secret(cluster: Cluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    cluster.plane.call("POST", path, {"metadata": {"name": LOCK}})


def source_of(server: ApiServer, namespace: str) -> TokenRequestSource:
    """Its tokens are bound to the Secret of this name that there is."""
    bound = ObjectReference("Secret", LOCK, "")
    return TokenRequestSource(server, TokenRequest(namespace, "default", (), 600, bound))


def test_a_token_that_is_not_accepted_any_more_is_renewed_by_every_adapter(
    cluster: Cluster, server: ApiServer, namespace: str, grpc_server: GrpcServer
) -> None:
    """The Secret that the token is bound to was made again: the old token died with the old one."""
    found = callers(cluster.plane, namespace, grpc_server)
    sources = {name: source_of(server, namespace) for name in found}
    first = {name: source.get() for name, source in sources.items()}
    cluster.plane.call("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{LOCK}")
    make_secret(cluster, namespace)
    wait_for(
        lambda: (
            not any(
                cluster.plane.review_token(token).get("authenticated") for token in first.values()
            )
        ),
        40,
    )

    def statuses(name: str, caller: Caller) -> list[int]:
        with caller(sources[name]) as call:
            return [call(), call()]

    with ThreadPoolExecutor(len(found)) as threads:
        results = dict(zip(found, threads.map(statuses, found, found.values()), strict=True))
    assert results == {name: [200, 200] for name in found}
    assert not [name for name, source in sources.items() if source.get() == first[name]]


@pytest.mark.parametrize("way", ALL, ids=lambda way: way.__doc__)
def test_a_watch_and_a_write(
    cluster: Cluster,
    server: ApiServer,
    namespace: str,
    way: Callable[[TokenRequestSource, str, str], Kubernetes],
) -> None:
    client = way(source_of(server, namespace), cluster.plane.url, str(cluster.plane.ca_file))
    client.create("settings", namespace)
    assert "settings" in client.names(namespace)
    assert "settings" in client.watched(namespace)
    client.close()


def test_in_a_pod(
    cluster: Cluster,
    server: ApiServer,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the files and variables that a pod has."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.plane.port))
    (tmp_path / "token").write_text(source_of(server, namespace).get())
    (tmp_path / "ca.crt").write_bytes(cluster.plane.ca_file.read_bytes())
    source = TokenFile(tmp_path / "token")
    with Kubernetes.adapter.TokenApiClient(source) as api:
        found = kubernetes.client.CoreV1Api(api).list_namespaced_config_map(namespace)
    assert found.kind == "ConfigMapList"


def test_a_stream_has_a_token_too(cluster: Cluster, server: ApiServer, namespace: str) -> None:
    """It makes its requests itself: there is no pod, and this is an answer to who may ask."""
    client = Kubernetes(source_of(server, namespace), cluster.plane.url, str(cluster.plane.ca_file))
    with pytest.raises(kubernetes.client.ApiException, match="404 Not Found"):
        kubernetes.stream.stream(
            client.core().connect_get_namespaced_pod_exec, "none", namespace, command=["true"]
        )
    client.close()
