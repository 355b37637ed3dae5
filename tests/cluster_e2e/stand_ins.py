"""What stands in for a part of a cluster that a test cannot break: a replica with another clock,
and an API server of which a proxy in front of it tells something else.
"""

import contextlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.egress import told
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.threads import served
from webhook.cli.check.probes import a_pod
from webhook.pki.pem import KeyPair

PODS = f"{NAMESPACES}/boundtoken-system/pods"
ADDRESS, ANOTHER_NODE = "127.97.251.7", "node-2"
STRATEGIC = "application/strategic-merge-patch+json"
Rewrite = Callable[[bytes], bytes]


@contextlib.contextmanager
def a_replica(
    cluster: Cluster, name: str, status: Json, image: str = "example/boundtoken:0.0.1"
) -> Iterator[None]:
    """A pod with boundtoken's labels and this status, on a node of its own. Nothing runs in it: it
    waits for a ConfigMap that is not there.
    """
    plane, pod = cluster.plane, a_pod(annotated=False)
    with contextlib.suppress(StatusError):
        plane.call("POST", "/api/v1/nodes", {"metadata": {"name": ANOTHER_NODE}, "spec": {}})
    pod["metadata"] = {"name": name, "labels": {"app.kubernetes.io/name": "boundtoken"}}
    (container,) = pod["spec"]["containers"]
    container |= {
        "name": "boundtoken",
        "image": image,
        "ports": [{"name": "tls", "containerPort": 10250}],
        "volumeMounts": [{"name": "missing", "mountPath": "/missing"}],
    }
    pod["spec"] |= {
        "nodeName": ANOTHER_NODE,
        "volumes": [{"name": "missing", "configMap": {"name": "missing"}}],
    }
    plane.call("POST", PODS, pod)
    try:
        plane.call("PATCH", f"{PODS}/{name}/status", {"status": status}, kind=STRATEGIC)
        yield
    finally:
        plane.call("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})


def waiting(reason: str, message: str) -> Json:
    """The status of a pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    container = {
        "name": "boundtoken",
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }
    return {"phase": "Pending", "containerStatuses": [container]}


ADDRESSED: Json = {
    "phase": "Running",
    "podIP": told(ADDRESS),
    "podIPs": [{"ip": told(ADDRESS)}],
    "conditions": [{"type": "Ready", "status": "False"}],
}
"""Of a pod that answers at ADDRESS."""


@contextlib.contextmanager
def answering(folder: Path, pair: KeyPair, metrics: str, ahead: timedelta) -> Iterator[None]:
    """A process at ADDRESS that serves this certificate and metrics, with this clock."""
    (folder / "pair.pem").write_bytes(pair.certificate.pem + pair.key)
    bodies = {"/certificate": pair.certificate.pem, "/metrics": metrics.encode()}

    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.answer(
                200, bodies[self.path], format_datetime(datetime.now(UTC) + ahead, usegmt=True)
            )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "pair.pem")
    secure, plain = (ThreadingHTTPServer((ADDRESS, port), Handler) for port in (10250, 8080))
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    with served(secure), served(plain):
        yield


class _Quiet(BaseHTTPRequestHandler):
    def answer(self, code: int, body: bytes, date: str) -> None:
        self.send_response_only(code)
        self.send_header("Date", date)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def in_front(
    plane: ControlPlane, rewrites: dict[str, Rewrite], ahead: timedelta = timedelta()
) -> Iterator[str]:
    """A proxy before the API server, for an admin: it rewrites the answers to these paths, and its
    clock is this much ahead. Gives its address.
    """
    context = ssl.create_default_context(cafile=str(plane.ca_file))

    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.forward(None)

        def do_POST(self) -> None:
            self.forward(self.rfile.read(int(self.headers["Content-Length"])))

        def forward(self, body: bytes | None) -> None:
            headers = {"Authorization": f"Bearer {plane.tokens['admin']}"}
            for name in ("Accept", "Content-Type"):
                if name in self.headers:
                    headers[name] = self.headers[name]
            url = plane.url + self.path
            request = urllib.request.Request(url, body, headers, method=self.command)
            found: Any
            try:
                found = urllib.request.urlopen(request, context=context, timeout=30)
            except urllib.error.HTTPError as problem:
                found = problem
            with found:
                text = rewrites.get(self.path.partition("?")[0], bytes)(found.read())
            date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
            with contextlib.suppress(OSError):
                self.answer(found.status, text, date)

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}"


def in_json(change: Callable[[Json], None]) -> Rewrite:
    """A rewrite of a document."""

    def rewrite(body: bytes) -> bytes:
        document = json.loads(body)
        change(document)
        return json.dumps(document).encode()

    return rewrite
