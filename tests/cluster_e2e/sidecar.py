"""Another mutating webhook, as meshes have them: it adds a container without mounts to every pod of one namespace."""

import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.controlplane.cluster import ControlPlane, wait_for
from tests.pods import a_container
from webhook.pki import authority

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        response = {"uid": request["uid"], "allowed": True}
        if all(each["name"] != "sidecar" for each in request["object"]["spec"]["containers"]):
            patch = [{"op": "add", "path": "/spec/containers/-", "value": a_container("sidecar")}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def sidecar_webhook(plane: ControlPlane, name: str, namespace: str) -> Iterator[None]:
    """The webhook `name`, which with ours is called in the order of the names, while the block runs."""
    now = datetime.now(UTC)
    root = authority.make_authority("sidecar", now, timedelta(days=1))
    leaf = authority.issue(root, ["127.0.0.1"], now, timedelta(days=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(leaf.certificate + leaf.key)
        file.flush()
        context.load_cert_chain(file.name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    entry = {
        "name": f"{name}.example.com",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_address[1]}/",
            "caBundle": base64.b64encode(root.certificate).decode(),
        },
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
    }
    plane.call("POST", CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": [entry]})
    try:
        _wait_until_called(plane, namespace)
        yield
    finally:
        plane.call("DELETE", f"{CONFIGURATIONS}/{name}")
        server.shutdown()
        server.server_close()
        thread.join()


def _wait_until_called(plane: ControlPlane, namespace: str) -> None:
    probe = {"metadata": {"name": "probe"}, "spec": {"containers": [a_container()]}}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    wait_for(lambda: len(plane.call("POST", path, probe)["spec"]["containers"]) == 2)
