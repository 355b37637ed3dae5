"""What `boundtoken version` reads of a cluster: the versions of its API server and of the replicas.

Apart from the command itself, because it needs packages of the extra `cli`, and `--client` needs
none.
"""

import argparse
import asyncio
import re
from typing import NamedTuple

import msgspec

from .. import __version__
from ..cluster.client import ApiClient
from ..cluster.credentials import FromKubeconfig
from ..core import names
from ..core.text import truncate
from ..core.views import Metadata, View
from ..errors import ApiError
from ..terminal import skew
from ..terminal.skew import UNKNOWN, Replica
from .cluster import own_namespace
from .cluster.reader import Reader
from .cluster.surroundings import MUTATING

SECONDS = 10
"""Of one call: the API server answers /version without looking anything up."""
MAX_METRICS_BYTES = 4 << 20
MAX_REPLICAS = 50
"""Of a Deployment of two; the rest is not looked at."""
FORBIDDEN = 403
SERVER = "the version of the API server"
NEEDED = "needs get on the URL /version, as the ClusterRole system:public-info-viewer has it"
"""Kubernetes binds that role to everybody who is authenticated, and to everybody else
(kubernetes.io/docs/reference/access-authn-authz/rbac, "API discovery roles")."""
_BUILD_INFO = re.compile(rb'^boundtoken_build_info\{[^}]*version="([^"\\]{1,64})"', re.MULTILINE)


class ServerVersion(View, frozen=True):
    git_version: str = ""
    platform: str = ""


class _Container(View, frozen=True):
    name: str = ""
    image: str = ""


class _Spec(View, frozen=True):
    containers: tuple[_Container, ...] = ()


class _Status(View, frozen=True):
    phase: str = ""


class _Pod(View, frozen=True):
    metadata: Metadata = Metadata()
    spec: _Spec = _Spec()
    status: _Status = _Status()


class Versions(NamedTuple):
    """What was found in a cluster; `namespace` is where the replicas were looked for, and `server`
    is None where its version may not be read.
    """

    server: ServerVersion | None
    namespace: str
    replicas: list[Replica] | None
    unread: dict[str, str]


async def read(parsed: argparse.Namespace) -> Versions:
    """What the cluster tells. Raises: ApiError, Unauthenticated"""
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        reader = Reader(client)
        server = await _server(reader)
        namespace = parsed.namespace or await _namespace(reader)
        replicas = await _replicas(reader, namespace)
    return Versions(server, namespace, replicas, reader.unread)


async def _server(reader: Reader) -> ServerVersion | None:
    """Raises: ApiError, where it is not that it may not be read"""
    try:
        body = await reader.client.get("/version", seconds=SECONDS)
        return msgspec.json.decode(body, type=ServerVersion)
    except msgspec.DecodeError as problem:
        raise ApiError("GET /version: the answer cannot be read") from problem
    except ApiError as problem:
        if problem.status != FORBIDDEN:
            raise
        reader.unread[SERVER] = NEEDED
        return None


async def _namespace(reader: Reader) -> str:
    """The namespace of boundtoken, by its webhook configuration."""
    found = await own_namespace.configurations(reader, (MUTATING,))
    return next(iter(own_namespace.called(found)), names.NAMESPACE)


async def _replicas(reader: Reader, namespace: str) -> list[Replica] | None:
    """The replicas that run; None where they were not seen."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    query = {"labelSelector": f"app.kubernetes.io/name={names.APP}"}
    pods = await reader.list(path, _Pod, f"pods in {namespace}", query)
    if pods is None:
        return None
    running = [pod for pod in pods if pod.status.phase == "Running"][:MAX_REPLICAS]
    return list(await asyncio.gather(*(_replica(reader, path, pod) for pod in running)))


async def _replica(reader: Reader, path: str, pod: _Pod) -> Replica:
    """A replica by the tag of its image, else by what it says in its metrics."""
    image = next((one.image for one in pod.spec.containers if one.name == names.APP), "")
    if of_image := skew.of_image(image):
        return Replica(pod.metadata.name, of_image, "image")
    try:
        metrics = await reader.client.get(
            f"{path}/{pod.metadata.name}:8080/proxy/metrics",
            seconds=SECONDS,
            limit=MAX_METRICS_BYTES,
        )
    except ApiError as problem:
        # An image may have any tag; who may not look into pods is told what would be needed.
        why = "needs get on pods/proxy" if problem.status in (401, 403) else str(problem)
        reader.unread[f"the version of {pod.metadata.name}"] = truncate(why)
        return Replica(pod.metadata.name, UNKNOWN, "")
    told = _BUILD_INFO.search(metrics)
    if told is None:
        return Replica(pod.metadata.name, UNKNOWN, "")
    return Replica(pod.metadata.name, told[1].decode("ascii", "replace"), "metrics")
