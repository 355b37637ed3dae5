"""The servers under load, each a process on its own core: ours from files, ours in a cluster, and
its own echo.
"""

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from aiohttp import web

from tests.controlplane.kubelet import in_mounts
from tests.support.processes import free_port
from webhook.core import names
from webhook.log import Log
from webhook.options import Address
from webhook.pki import authority
from webhook.pki.pem import read_key_pair
from webhook.serving.bodies import read_body
from webhook.serving.connection import Connections
from webhook.serving.listener import Listener
from webhook.serving.tls import LiveCertificate

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {boundtoken.dev/inject: enabled, boundtoken.dev/automount: disabled}}
"""
ANSWER = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"1","allowed":true}}'


class Server:
    """A running process: its port, its CA, its pid, its log."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ca: Path, log: Path) -> None:
        self.process, self.port, self.ca, self.log = process, port, ca, log

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def wait(self, word: str) -> None:
        deadline = time.monotonic() + 30
        while word not in self.log.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-2000:])
            time.sleep(0.001)


_STARTED = itertools.count()


@contextlib.contextmanager
def _process(
    command: list[str], folder: Path, port: int, environ: dict[str, str] | None = None
) -> Iterator[Server]:
    log = folder / f"log-{next(_STARTED)}"
    with log.open("wb") as out:
        core = ["taskset", "-c", "0"]
        # With bytecode, as in the image: without it a start takes three times as long.
        inherited = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }
        process = subprocess.Popen(
            [*core, *command], stdout=out, stderr=out, env={**inherited, **(environ or {})}
        )
    try:
        yield Server(process, port, folder / "ca.crt", log)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def standalone(folder: Path) -> Iterator[Server]:
    """`boundtoken serve --standalone` with one namespace that injects."""
    (folder / "shop.yaml").write_text(NAMESPACE)
    port = free_port()
    command = [
        str(Path(sys.executable).parent / "boundtoken"),
        "serve",
        "--listen",
        f"127.0.0.1:{port}",
    ]
    command += ["--plain-listen", f"127.0.0.1:{free_port()}", "--ca-out", str(folder / "ca.crt")]
    with _process([*command, "--standalone", str(folder / "shop.yaml")], folder, port) as server:
        yield server


@contextlib.contextmanager
def echo(folder: Path) -> Iterator[Server]:
    """The same TLS, the same limits, the same body read; the answer is constant."""
    write_pair(folder)
    port = free_port()
    with _process(
        [sys.executable, "-m", "tests.bench.servers", str(port), str(folder)], folder, port
    ) as server:
        server.wait("serving")
        yield server


@contextlib.contextmanager
def in_cluster(folder: Path, namespaces: int) -> Iterator[Server]:
    """As the pod that it is in a cluster: the same files, an API server that lists so many
    namespaces.
    """
    write_pair(folder)
    root_ca, api_port = (folder / "ca.crt").read_bytes(), free_port()
    for name, content in {"token": b"t", "ca.crt": root_ca}.items():
        (folder / "account").mkdir(exist_ok=True)
        (folder / "account" / name).write_bytes(content)
    port = free_port()
    command = [
        str(Path(sys.executable).parent / "boundtoken"),
        "serve",
        "--listen",
        f"127.0.0.1:{port}",
    ]
    command += ["--plain-listen", f"127.0.0.1:{free_port()}"]
    command += ["--tls-cert", str(folder / "tls.crt"), "--tls-key", str(folder / "tls.key")]
    account = [(folder / "account", "/var/run/secrets/kubernetes.io/serviceaccount")]
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
    with (
        _api(folder, api_port, namespaces),
        _process(in_mounts(command, account), folder, port, environ) as server,
    ):
        server.wait("namespaces listed")
        server.wait("certificate in use")
        yield server


def write_pair(folder: Path) -> None:
    now, life = datetime.now(UTC), timedelta(days=1)
    root = authority.make_authority("bench", now, life)
    pair = authority.issue(root, ["localhost", "127.0.0.1"], now, life)
    for name, content in {
        "ca.crt": root.certificate.pem,
        "tls.crt": pair.certificate.pem,
        "tls.key": pair.key,
    }.items():
        (folder / name).write_bytes(content)


def a_list(namespaces: int, start: int = 0, then: str = "") -> bytes:
    """A PartialObjectMetadataList as kubectl-applied namespaces give it; one in ten is
    annotated.
    """
    items = []
    for number in range(start, start + namespaces):
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 300}
        if number % 10 == 0:
            annotations |= {names.INJECT: "enabled", names.AUTOMOUNT: "disabled"}
        labels = {"kubernetes.io/metadata.name": f"team-{number}"}
        metadata = {
            "name": f"team-{number}",
            "uid": f"{number:036x}",
            "resourceVersion": str(number),
        }
        items.append({"metadata": {**metadata, "labels": labels, "annotations": annotations}})
    items.append(
        {
            "metadata": {
                "name": "shop",
                "annotations": {names.INJECT: "enabled", names.AUTOMOUNT: "disabled"},
            }
        }
    )
    metadata = {"resourceVersion": "1", "continue": then}
    return json.dumps({"metadata": metadata, "items": items}, separators=(",", ":")).encode()


@contextlib.contextmanager
def _api(folder: Path, port: int, namespaces: int) -> Iterator[None]:
    loop = asyncio.new_event_loop()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if "watch" not in request.query:
            start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
            then = str(start + limit) if start + limit < namespaces else ""
            return web.Response(body=a_list(limit, start, then), content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    async def serve() -> None:
        certificate = LiveCertificate()
        pair = read_key_pair((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())
        certificate.replace(pair, datetime.now(UTC))
        server = web.Server(answer, access_log=None)
        await loop.create_server(server, "127.0.0.1", port, ssl=certificate.context)

    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


async def _serve_echo(port: int, folder: Path) -> None:
    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        await read_body(http)
        return web.Response(body=ANSWER, content_type="application/json")

    certificate = LiveCertificate()
    pair = read_key_pair((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())
    certificate.replace(pair, datetime.now(UTC))
    log = Log("error", lambda _: None)
    connections = Connections(answer, log)
    Listener(Address(host="127.0.0.1", port=port), connections, certificate.context, log)
    print("serving", flush=True)
    await connections.sweep()


if __name__ == "__main__":
    uvloop.run(_serve_echo(int(sys.argv[1]), Path(sys.argv[2])))
