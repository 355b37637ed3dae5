"""The alerts that `test_alerts` leaves: on replicas that ask each second whether anybody calls
them, on a network that loses every packet between them and the API server, and on a replica with a
bug.

The limit of BoundtokenCacheStale is five minutes, too long for every run. Here it is
BOUNDTOKEN_STALE_SECONDS; `make long` has all of them.
"""

import base64
import http.client
import json
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from tests.cluster_e2e.breaking import (
    GROUP,
    MUTATING,
    SELF_PROBE_INTERVAL,
    SELF_PROBE_ROLE,
    changed,
    deleted,
    started_again,
)
from tests.cluster_e2e.watching import Watched, watching
from tests.controlplane.cluster import MERGE_PATCH, ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.controlplane.relay import Relay
from tests.support.builders import Json, a_bare_pod, a_review
from tests.support.certificates import an_authority, write_pair
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.paths import ROOT
from tests.support.processes import Server, free_port, started
from tests.support.prometheus import of_pod
from webhook.pki import authority

STALE_SECONDS = int(os.environ.get("BOUNDTOKEN_STALE_SECONDS", "8"))
BUG = "\n\ndef decide(*_: object) -> Decision:\n    raise ZeroDivisionError\n"
BROKEN = "pods.broken.example.com"
MANY_REVIEWS = 2000
"""More than the log keeps while nobody reads it, 1 MiB and a pipe: each writes about 680 bytes."""


@pytest.fixture(scope="module")
def relay(plane: ControlPlane) -> Iterator[Relay]:
    relay = Relay(plane.port)
    relay.start()
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def watched(
    plane: ControlPlane, kubelet: Kubelet, relay: Relay, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """The replicas reach the API server through the relay only, and probe each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    variables = {SELF_PROBE_INTERVAL: "1", "KUBERNETES_SERVICE_PORT": str(relay.port)}
    with (
        started_again(kubelet, variables),
        watching(Cluster(plane, kubelet), folder, STALE_SECONDS) as running,
    ):
        yield running


def test_somebody_deletes_the_webhook_configuration(watched: Watched) -> None:
    assert "BoundtokenNotCalled" not in watched.firing()
    with deleted(watched.cluster, MUTATING):
        watched.wait("BoundtokenNotCalled")
    watched.wait_until_over("BoundtokenNotCalled")


def test_somebody_takes_the_right_of_the_self_probe(watched: Watched) -> None:
    assert "BoundtokenSelfProbeBlind" not in watched.firing()
    with changed(watched.cluster, SELF_PROBE_ROLE, {"op": "remove", "path": "/rules/2"}):
        watched.wait("BoundtokenSelfProbeBlind")
        assert "BoundtokenNotCalled" not in watched.firing()
    watched.wait_until_over("BoundtokenSelfProbeBlind")


def test_nothing_arrives_between_the_replicas_and_the_api_server(
    watched: Watched, relay: Relay
) -> None:
    """They look up each new namespace until that takes too long, and hear of no change."""
    cluster, numbers = watched.cluster, count()
    known = cluster.namespace()

    def change() -> None:
        labels = {"metadata": {"labels": {"number": str(next(numbers))}}}
        cluster.plane.call("PATCH", f"{NAMESPACES}/{known}", labels, kind=MERGE_PATCH)

    watched.wait_until_over("BoundtokenCacheStale", again=change)
    assert "BoundtokenSlow" not in watched.firing()
    relay.block()
    try:
        unknown = cluster.namespace(inject="enabled")

        def create(_: int) -> None:
            cluster.create(unknown, a_bare_pod(), query="?dryRun=All")

        with ThreadPoolExecutor(10) as pool:
            watched.wait("BoundtokenSlow", again=lambda: list(pool.map(create, range(10))))
        watched.wait("BoundtokenCacheStale", again=change, seconds=60 + STALE_SECONDS)
    finally:
        relay.unblock()
    watched.wait_until_over("BoundtokenCacheStale", again=change)


@pytest.fixture
def broken_replica(watched: Watched, tmp_path: Path) -> Iterator[Server]:
    """One more replica, of a copy of the code in which mutation has a bug; nobody reads its log."""
    shutil.copytree(ROOT / "webhook", tmp_path / "webhook", ignore=shutil.ignore_patterns("*.pyc"))
    with (tmp_path / "webhook/mutation/mutate.py").open("a") as module:
        module.write(BUG)
    hosts, lifetime = ["localhost", "127.0.0.1"], timedelta(hours=1)
    write_pair(
        tmp_path, authority.issue(an_authority(tmp_path), hosts, datetime.now(UTC), lifetime)
    )
    port, plain = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "webhook", "serve"),
        *("--kubeconfig", str(watched.cluster.plane.kubeconfig())),
        *("--tls-cert", str(tmp_path / "tls/tls.crt"), "--tls-key", str(tmp_path / "tls/tls.key")),
        *("--listen", f"127.0.0.1:{port}", "--plain-listen", f"127.0.0.1:{plain}"),
    ]
    unread, output = os.pipe()
    try:
        with started(
            command, tmp_path, port=port, plain=plain, cwd=tmp_path, output=output
        ) as server:
            server.wait_until_ready()
            watched.more = [of_pod(f"127.0.0.1:{plain}", "broken")]
            yield server
    finally:
        watched.more = []
        os.close(unread)
        os.close(output)


def configuration(server: Server, namespace: str) -> Json:
    """A webhook of its own for pods of a namespace, which refuses them while it does not answer."""
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    ca = base64.b64encode(server.ca.read_bytes()).decode()
    webhook = {
        "name": BROKEN,
        "clientConfig": {"url": f"https://127.0.0.1:{server.port}/mutate", "caBundle": ca},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail",
        "timeoutSeconds": 30,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": "broken"}, "webhooks": [webhook]}


def test_a_replica_has_a_bug_and_nobody_reads_its_log(
    watched: Watched, broken_replica: Server
) -> None:
    cluster, configurations = watched.cluster, f"{GROUP}/mutatingwebhookconfigurations"
    namespace = cluster.namespace()
    body = configuration(broken_replica, namespace)
    cluster.plane.call("POST", configurations, body)
    assert "BoundtokenInternalError" not in watched.firing()
    try:

        def create() -> None:
            cluster.create(namespace, a_bare_pod(), query="?dryRun=All")

        watched.wait("BoundtokenInternalError", again=create)
    finally:
        cluster.plane.call("DELETE", f"{configurations}/broken")
    assert "BoundtokenLogLinesLost" not in watched.firing()
    watched.wait("BoundtokenLogLinesLost", again=lambda: review_many(broken_replica))


def review_many(server: Server) -> None:
    """As many reviews as the log cannot keep, over one connection."""
    review = json.dumps(a_review(a_bare_pod()))
    headers = {"Content-Type": "application/json"}
    connection = http.client.HTTPSConnection(
        "localhost", server.port, context=server.trust(), timeout=30
    )
    for _ in range(MANY_REVIEWS):
        connection.request("POST", "/mutate", review, headers)
        with connection.getresponse() as answer:
            assert b'"allowed":true' in answer.read()
    connection.close()
