"""What clients and the API server say of the errors that docs/troubleshoot.md begins with."""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt

from tests.cluster_e2e.breaking import GROUP
from tests.controlplane.cluster import ControlPlane, KubectlError
from tests.support.certificates import a_leaf
from tests.support.cluster import Cluster
from tests.support.waiting import wait_for
from webhook.pki import authority
from webhook.pki.pem import KeyPair

WEBHOOKS = f"{GROUP}/validatingwebhookconfigurations"
DAY = timedelta(days=1)


def get(plane: ControlPlane, path: str, token: str) -> str:
    """The status line of an answer, and its body."""
    host = plane.url.removeprefix("https://")
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    connection = http.client.HTTPSConnection(host, context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return f"{answer.status} {answer.reason} {json.loads(answer.read())['message']}"


def of_tokens(cluster: Cluster) -> Iterator[str]:
    """A token without rights, one for another audience, and one that has expired."""
    plane, namespace = cluster.plane, cluster.namespace()
    wait_for(lambda: "default" in plane.kubectl("get", "sa", "-n", namespace, "-o", "name"))
    token = plane.kubectl("create", "token", "default", "-n", namespace).strip()
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    yield get(plane, path, token)
    foreign = plane.kubectl("create", "token", "default", "-n", namespace, "--audience=vault")
    yield get(plane, path, foreign.strip())
    claims = jwt.decode(token, options={"verify_signature": False})
    hour = {name: claims[name] - 2 * 3600 for name in ("iat", "nbf")} | {"exp": claims["iat"] - 60}
    key = (plane.folder / "sa.key").read_text()
    algorithm = jwt.get_unverified_header(token)["alg"]
    headers = {"kid": jwt.get_unverified_header(token)["kid"]}
    yield plane.review_token(jwt.encode(claims | hour, key, algorithm, headers))["error"]


def of_webhooks(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Webhooks that do not answer, whose authority is another, and whose certificate is old."""
    now = datetime.now(UTC)
    root = authority.make_authority("one", now - DAY, 2 * DAY)
    another = authority.make_authority("another", now - DAY, 2 * DAY)
    old = authority.issue(root, ["127.0.0.1"], now - DAY, timedelta(hours=1))
    yield called(cluster, root, None, folder)
    yield called(cluster, another, a_leaf(root), folder)
    yield called(cluster, root, old, folder)


def called(cluster: Cluster, root: KeyPair, leaf: KeyPair | None, folder: Path) -> str:
    """What kubectl prints where such a webhook is called, which fails closed; without a leaf it
    never answers.
    """
    plane, namespace = cluster.plane, cluster.namespace()
    with listening(leaf, folder) as port:
        entry = {
            "name": "troubleshoot.example.com",
            "clientConfig": {
                "url": f"https://127.0.0.1:{port}/",
                "caBundle": base64.b64encode(root.certificate.pem).decode(),
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 1,
        }  # fmt: skip
        body = {"metadata": {"name": "troubleshoot"}, "webhooks": [entry]}
        plane.call("POST", WEBHOOKS, body)
        try:
            return str(wait_for(lambda: refused(plane, namespace), 20))
        finally:
            plane.call("DELETE", f"{WEBHOOKS}/troubleshoot")


def refused(plane: ControlPlane, namespace: str) -> str:
    try:
        plane.kubectl("create", "configmap", "x", "-n", namespace, "--dry-run=server")
    except KubectlError as problem:
        return str(problem)
    return ""


@contextlib.contextmanager
def listening(leaf: KeyPair | None, folder: Path) -> Iterator[int]:
    """A port that takes connections, and shows this certificate; else it says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if leaf is not None:
        pair = folder / "leaf.pem"
        pair.write_bytes(leaf.certificate.pem + leaf.key)
        context.load_cert_chain(pair)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                if leaf is None:
                    kept.append(connection)
                    continue
                with contextlib.suppress(OSError), context.wrap_socket(connection, True):
                    """The caller goes when it has seen the certificate."""

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        for connection in kept:
            connection.close()
