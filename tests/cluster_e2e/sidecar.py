"""Another mutating webhook, as meshes have them: it adds something of its own to every pod of one
namespace.
"""

import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import Json, a_container
from tests.support.threads import served
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.pki import authority

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


Change = Callable[[Json], list[Json]]
"""From a pod to the operations of a JSON Patch; none where it is as it should be."""


def a_sidecar(pod: Json) -> list[Json]:
    """A container without mounts."""
    if any(container["name"] == "sidecar" for container in pod["spec"]["containers"]):
        return []
    return [{"op": "add", "path": "/spec/containers/-", "value": a_container("sidecar")}]


def a_year(pod: Json) -> list[Json]:
    """A token that lives a year, put back."""
    volumes = pod["spec"].get("volumes") or []
    if any(other["name"] == "late" for other in volumes):
        return []
    volume = {
        "name": "late",
        "projected": {
            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3607}}]
        },
    }
    return [{"op": "add", "path": "/spec/volumes", "value": [*volumes, volume]}]


def without_ours(pod: Json) -> list[Json]:
    """Our volume and its mounts taken off again."""
    spec = pod["spec"]
    ours = {volume["name"] for volume in spec.get("volumes") or []} & {names.VOLUME}
    stays = [volume for volume in spec.get("volumes") or [] if volume["name"] not in ours]
    containers = [
        {
            **container,
            "volumeMounts": [
                mount for mount in container.get("volumeMounts") or [] if mount["name"] not in ours
            ],
        }
        for container in spec["containers"]
    ]
    replaced = {"volumes": stays, "containers": containers}
    return [
        {"op": "add", "path": f"/spec/{name}", "value": value}
        for name, value in replaced.items()
        if ours
    ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    change: Change

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        response = {"uid": request["uid"], "allowed": True}
        if patch := type(self).change(request["object"]):
            response |= {
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            }
        body = json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def other_webhook(
    plane: ControlPlane, name: str, namespace: str, change: Change = a_sidecar
) -> Iterator[None]:
    """The webhook `name`, which with ours is called in the order of the names, while the block
    runs.
    """
    called = threading.Event()

    def noted(pod: Json) -> list[Json]:
        called.set()
        return change(pod)

    now = datetime.now(UTC)
    root = authority.make_authority("sidecar", now, timedelta(days=1))
    leaf = authority.issue(root, ["127.0.0.1"], now, timedelta(days=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(leaf.certificate.pem + leaf.key)
        file.flush()
        context.load_cert_chain(file.name)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (_Handler,), {"change": staticmethod(noted)})
    )
    server.socket = context.wrap_socket(server.socket, server_side=True)
    entry = {
        "name": f"{name}.example.com",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_address[1]}/",
            "caBundle": base64.b64encode(root.certificate.pem).decode(),
        },
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
            }
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
    }
    with served(server):
        plane.call("POST", CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": [entry]})
        try:
            wait_for(lambda: _probed(plane, namespace) and called.is_set())
            yield
        finally:
            plane.call("DELETE", f"{CONFIGURATIONS}/{name}")


def _probed(plane: ControlPlane, namespace: str) -> bool:
    probe = {"metadata": {"name": "probe"}, "spec": {"containers": [a_container()]}}
    with contextlib.suppress(StatusError):
        plane.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", probe)
    return True
