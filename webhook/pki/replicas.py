"""The certificate that each replica serves, requested through the API server's proxy.

The API server reaches the TLS port of every replica, or no review would be answered; so its proxy
does too. The proxy does not verify what it reaches, and need not: a certificate is public, and its
signature proves who made it.
"""

import asyncio
from collections.abc import Collection

import msgspec

from ..cluster.client import MAX_LIST_BYTES, ApiClient, decode
from ..core import names
from ..errors import ApiError, BadCertificate
from .pem import MAX_PEM_BYTES, Certificate, Certificates, read_certificates

CERTIFICATE_PATH = "/certificate"
PORT = "tls"
SECONDS = 5.0


class Replica(msgspec.Struct, frozen=True):
    """A pod of ours. `chain` is what it serves, the leaf first; it is empty if the pod could not be
    asked, and `problem` says why.
    """

    name: str
    ready: bool
    chain: Certificates = ()
    problem: str = ""
    status: int = 0
    """The HTTP code of a refusal by the API server; 0 where there was none."""
    ahead_seconds: float | None = None
    """How far its clock is ahead of the API server's; None where its answer does not say."""

    def is_signed_by(self, ca: Certificate) -> bool:
        """Whether it answered, with a leaf that this CA has signed."""
        return bool(self.chain) and self.chain[0].is_signed_by(ca)


class _Port(msgspec.Struct, rename="camel"):
    name: str = ""
    container_port: int = 0


class _Container(msgspec.Struct):
    ports: list[_Port] = []


class _Spec(msgspec.Struct):
    containers: list[_Container]


class _Condition(msgspec.Struct):
    type: str
    status: str


class _Status(msgspec.Struct):
    phase: str = ""
    conditions: list[_Condition] = []


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    deletion_timestamp: str = ""


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec
    status: _Status


class _Pods(msgspec.Struct):
    items: list[_Pod]


_PODS = msgspec.json.Decoder(_Pods)


async def fetch(
    client: ApiClient, namespace: str, only: Collection[str] | None = None
) -> list[Replica]:
    """Every pod of ours that has not ended and is not being deleted, by name, with what it serves;
    of these names only, where they are given.

    Raises: ApiError, if the pods cannot be listed
    """
    path, query = (
        f"/api/v1/namespaces/{namespace}/pods",
        {"labelSelector": f"app.kubernetes.io/name={names.APP}"},
    )
    pods = decode(_PODS, await client.get(path, query=query, limit=MAX_LIST_BYTES)).items
    running = [
        pod
        for pod in pods
        if not pod.metadata.deletion_timestamp and pod.status.phase not in ("Succeeded", "Failed")
        if only is None or pod.metadata.name in only
    ]
    return list(
        await asyncio.gather(
            *(
                _fetch_one(client, path, pod)
                for pod in sorted(running, key=lambda pod: pod.metadata.name)
            )
        )
    )


async def _fetch_one(client: ApiClient, path: str, pod: _Pod) -> Replica:
    name = pod.metadata.name
    ready = any(
        (condition.type, condition.status) == ("Ready", "True")
        for condition in pod.status.conditions
    )
    ports = [
        port.container_port
        for container in pod.spec.containers
        for port in container.ports
        if port.name == PORT
    ]
    if not ports:
        return Replica(name, ready, problem=f"it has no port named {PORT}")
    proxied = f"{path}/https:{name}:{ports[0]}/proxy{CERTIFICATE_PATH}"
    try:
        pem, ahead = await client.proxied(proxied, seconds=SECONDS, limit=MAX_PEM_BYTES)
        return Replica(name, ready, read_certificates(pem), ahead_seconds=ahead)
    except ApiError as problem:
        return Replica(name, ready, problem=str(problem), status=problem.status)
    except BadCertificate:
        return Replica(name, ready, problem="its answer is not a certificate")
