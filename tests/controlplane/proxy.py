"""A stand-in for kube-proxy: it listens on the addresses of Services, and forwards each new
connection to a ready endpoint.
"""

import asyncio
import contextlib
import itertools

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.egress import Background, heard, joined

EVERY_SECONDS = 0.2


class Proxy(Background):
    """kube-proxy for the Services of one namespace: new connections go to ready endpoints, old ones
    live on.
    """

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__()
        self._plane = plane
        self._namespace = namespace
        self._backends: dict[str, list[tuple[str, int]]] = {}
        self._servers: dict[tuple[str, str], asyncio.Server] = {}
        self._turn = itertools.count()

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each Service, by name."""
        return dict(list(self._servers))

    def ready(self, service: str) -> int:
        """How many endpoints the Service has as kube-proxy knows it."""
        return len(self.backends(service))

    def backends(self, service: str) -> list[str]:
        """Their addresses."""
        return [host for host, _ in self._backends.get(service, ())]

    async def begin(self) -> None:
        self.run(self._follow())

    def end(self) -> None:
        for server in self._servers.values():
            server.close()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(OSError, StatusError, KeyError):
                await self._sync()
            await asyncio.sleep(EVERY_SECONDS)

    async def _sync(self) -> None:
        base = f"/api/v1/namespaces/{self._namespace}/services"
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        services = (await asyncio.to_thread(self._plane.call, "GET", base))["items"]
        listed = (await asyncio.to_thread(self._plane.call, "GET", slices))["items"]
        for service in services:
            name, spec = service["metadata"]["name"], service["spec"]
            self._backends[name] = [
                (heard(address), slice_["ports"][0]["port"])
                for slice_ in listed
                if slice_["metadata"]["labels"].get("kubernetes.io/service-name") == name
                and slice_.get("ports")
                for endpoint in slice_.get("endpoints") or ()
                if endpoint["conditions"].get("ready")
                for address in endpoint["addresses"]
            ]
            address = spec["clusterIP"]  # another one when the Service is made again
            if (name, address) not in self._servers:
                self._servers[name, address] = await asyncio.start_server(
                    lambda *ends, name=name: self.run(self._forward(name, *ends)),
                    address,
                    spec["ports"][0]["port"],
                )

    async def _forward(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        backends = self._backends.get(name) or []
        try:
            if not backends:
                raise ConnectionRefusedError
            host, port = backends[next(self._turn) % len(backends)]
            ends = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        await joined((reader, writer), ends)
