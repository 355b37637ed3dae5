"""A service on loopback for one test, with real TLS: standalone, or with files for its certificate
and a small API server.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509

from tests.support.builders import Json, a_pod, a_review
from tests.support.processes import free_port
from tests.support.waiting import eventually
from webhook import options
from webhook.log import Log
from webhook.serving import app, files
from webhook.serving.service import Service

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  annotations: {boundtoken.dev/inject: enabled, boundtoken.dev/automount: disabled}
"""


class Running:
    """A service, a client that trusts it, and what it logs."""

    def __init__(
        self, service: Service, port: int, plain: int, lines: list[Json], folder: Path
    ) -> None:
        self.service = service
        self.port = port
        self.lines = lines
        self.folder = folder
        self.url = f"https://localhost:{port}"
        self.plain = f"http://127.0.0.1:{plain}"
        self.task: asyncio.Task[None]
        self._trust: ssl.SSLContext | None = None

    def trust(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        return self._trust

    async def post(
        self, body: Any, *, session: aiohttp.ClientSession | None = None, **options: Any
    ) -> tuple[int, str]:
        """Status and text of a POST to /mutate."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        own = session or aiohttp.ClientSession()
        try:
            url = self.url + options.pop("path", "/mutate")
            async with own.post(
                url, data=data, headers=headers, ssl=self.trust(), **options
            ) as answer:
                return answer.status, await answer.text()
        finally:
            if session is None:
                await own.close()

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.plain + path) as answer:
            return answer.status, await answer.text()

    async def metric(self, line: str) -> float:
        """The value of the metric whose line begins so; 0 where there is none yet."""
        _, text = await self.get("/metrics")
        return next(
            (float(sample.split()[-1]) for sample in text.splitlines() if sample.startswith(line)),
            0.0,
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "localhost", self.port, ssl=self.trust(), server_hostname="localhost"
        )

    def log_lines(self, event: str) -> list[Json]:
        return [line for line in self.lines if line["event"].startswith(event)]


REVIEW = a_review(a_pod())
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "%s"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@asynccontextmanager
async def running(folder: Path, *, ready: bool = True, **flags: Any) -> AsyncIterator[Running]:
    """A service with these flags; standalone with the namespace `shop` unless they say
    otherwise.
    """
    port, plain = free_port(), free_port()
    if "tls_cert" not in flags:
        (folder / "namespaces").mkdir(exist_ok=True)
        (folder / "namespaces" / "shop.yaml").write_text(NAMESPACE)
        flags = {"standalone": [folder / "namespaces"], "ca_out": folder / "ca.crt", **flags}
    flags = {
        "listen": f"127.0.0.1:{port}",
        "plain_listen": f"127.0.0.1:{plain}",
        "drain_seconds": "0",
        **flags,
    }
    app.KEEP_METRICS_SECONDS, files.EVERY_SECONDS = 0.0, 0.1  # tests look at once
    lines: list[Json] = []
    log = Log("debug", lambda written: lines.extend(map(json.loads, written.splitlines())))
    service = Service(options.resolve(flags, {}), {}, log)
    started = Running(service, port, plain, lines, folder)
    started.task = asyncio.create_task(service.run())
    try:
        await eventually(lambda: bool(started.log_lines("serving")) or started.task.done())
        if ready:
            await eventually(lambda: started.task.done() or not service.unready_reasons())
        if started.task.done():
            await started.task
            raise RuntimeError(f"the service has ended before it was used: {lines}")
        yield started
    finally:
        if not started.task.done():
            service.stop()
        await started.task


async def injects(service: Running) -> bool:
    status, text = await service.post(REVIEW)
    assert status == 200
    return "patch" in json.loads(text)["response"]


def files_flags(folder: Path, server: str) -> dict[str, Any]:
    (folder / "kubeconfig").write_text(KUBECONFIG % server)
    names = {"tls_cert": "tls/tls.crt", "tls_key": "tls/tls.key", "kubeconfig": "kubeconfig"}
    return {flag: str(folder / name) for flag, name in names.items()}


async def served(service: Running) -> int:
    """The serial number of the certificate that a new connection sees."""
    _, writer = await service.connect()
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    return certificate_of(tls).serial_number


def certificate_of(tls: ssl.SSLObject) -> x509.Certificate:
    der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)
