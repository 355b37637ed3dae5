"""The servers under load, each a process on its own core: ours from files, ours in a cluster, and
its own echo.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from aiohttp import web

from tests.controlplane.runtime import Mount, in_mounts
from tests.support.certificates import a_leaf, an_authority, write_pair
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import Server, free_port, running_process, started
from webhook.core import names
from webhook.log import Log
from webhook.options import Address
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
CERTIFICATE, KEY = "tls/tls.crt", "tls/tls.key"
ANSWER = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"1","allowed":true}}'


def on_core_0(command: list[str]) -> list[str]:
    return ["taskset", "-c", "0", *command]


def environ(**more: str) -> dict[str, str]:
    """With bytecode, as in the image: without it a start takes three times as long."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    return {**inherited, **more}


@contextlib.contextmanager
def standalone(folder: Path) -> Iterator[Server]:
    """`boundtoken serve --standalone` with one namespace that injects; not waited for."""
    namespaces = folder / "shop.yaml"
    namespaces.write_text(NAMESPACE)
    with running_process(
        folder, namespaces=namespaces, wrapped=on_core_0, environ=environ(), ready=False
    ) as server:
        yield server


@contextlib.contextmanager
def echo(folder: Path) -> Iterator[Server]:
    """The same TLS, the same limits, the same body read; the answer is constant."""
    write_pair(folder, a_leaf(an_authority(folder)))
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.servers", str(port), str(folder)]
    with started(on_core_0(command), folder, port=port, environ=environ()) as server:
        server.wait_for_log("serving")
        yield server


@contextlib.contextmanager
def in_cluster(folder: Path, namespaces: int) -> Iterator[Server]:
    """As the pod that it is in a cluster: the same files, an API server that lists so many
    namespaces.
    """
    write_pair(folder, a_leaf(an_authority(folder)))
    root_ca, api_port = (folder / "ca.crt").read_bytes(), free_port()
    for name, content in {"token": b"t", "ca.crt": root_ca}.items():
        (folder / "account").mkdir(exist_ok=True)
        (folder / "account" / name).write_bytes(content)
    port = free_port()
    command = [
        str(BOUNDTOKEN),
        "serve",
        "--listen",
        f"127.0.0.1:{port}",
    ]
    command += ["--plain-listen", f"127.0.0.1:{free_port()}"]
    command += ["--tls-cert", str(folder / CERTIFICATE), "--tls-key", str(folder / KEY)]
    account = [Mount(folder / "account", "/var/run/secrets/kubernetes.io/serviceaccount")]
    cluster = environ(KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT=str(api_port))
    with (
        _api(folder, api_port, namespaces),
        started(
            on_core_0(in_mounts(command, account)), folder, port=port, environ=cluster
        ) as server,
    ):
        server.wait_for_log("namespaces listed")
        server.wait_for_log("certificate in use")
        yield server


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
        pair = read_key_pair((folder / CERTIFICATE).read_bytes(), (folder / KEY).read_bytes())
        certificate.replace(pair, datetime.now(UTC))
        server = web.Server(answer, access_log=None)
        await loop.create_server(server, "127.0.0.1", port, ssl=certificate.context)

    async def end() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield
    asyncio.run_coroutine_threadsafe(end(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


async def _serve_echo(port: int, folder: Path) -> None:
    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        await read_body(http)
        return web.Response(body=ANSWER, content_type="application/json")

    certificate = LiveCertificate()
    pair = read_key_pair((folder / CERTIFICATE).read_bytes(), (folder / KEY).read_bytes())
    certificate.replace(pair, datetime.now(UTC))
    log = Log("error", lambda _: None)
    connections = Connections(answer, log)
    Listener(Address(host="127.0.0.1", port=port), connections, certificate.context, log)
    print("serving", flush=True)
    await connections.sweep()


if __name__ == "__main__":
    uvloop.run(_serve_echo(int(sys.argv[1]), Path(sys.argv[2])))
