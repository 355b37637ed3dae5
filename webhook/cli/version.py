"""`boundtoken version`: this program, the API server, the replicas, and what does not go together.

Exit codes: 0 printed, with a warning for what does not go together, as kubectl does; 3 the cluster
cannot be reached, or does not tell its version, after what is known has been printed.
"""

import argparse
import asyncio
import json
import platform
import re
from typing import Any, NamedTuple

import msgspec

from .. import __version__
from ..cluster.client import ApiClient
from ..cluster.credentials import FromKubeconfig
from ..core import names
from ..core.text import one_line, truncate
from ..core.views import Metadata, View
from ..errors import ApiError, BoundtokenError
from ..simulation.calling import Configuration
from ..terminal import skew
from ..terminal.skew import UNKNOWN, Replica
from .cluster.kinds import OBJECT_NAME
from .cluster.reader import Reader
from .cluster.surroundings import GROUP, MUTATING, Surroundings
from .process import protect, say, warn

SUCCESS, FAILURE = 0, 3
SECONDS = 10
"""Of one call: the API server answers /version without looking anything up."""
MAX_METRICS_BYTES = 4 << 20
MAX_REPLICAS = 50
"""Of a Deployment of two; the rest is not looked at."""
MAX_CHARS = 100
"""Of a text that a cluster gives."""
FORBIDDEN = 403
SERVER = "the version of the API server"
NEEDED = "needs get on the URL /version, as the ClusterRole system:public-info-viewer has it"
"""Kubernetes binds that role to everybody who is authenticated, and to everybody else
(kubernetes.io/docs/reference/access-authn-authz/rbac, "API discovery roles")."""
_BUILD_INFO = re.compile(rb'^boundtoken_build_info\{[^}]*version="([^"\\]{1,64})"', re.MULTILINE)


class _Version(View, frozen=True):
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


class _Cluster(NamedTuple):
    """What was found in a cluster; `namespace` is where the replicas were looked for, and `server`
    is None where its version may not be read.
    """

    server: _Version | None
    namespace: str
    replicas: list[Replica] | None
    unread: dict[str, str]


def version(parsed: argparse.Namespace) -> int:
    """Print the versions."""
    protect()
    found, problem = None, ""
    if not parsed.client:
        try:
            found = asyncio.run(_read(parsed))
        except BoundtokenError as error:
            problem = str(error)
        else:
            problem = f"{SERVER}: {NEEDED}" if found.server is None else ""
    report = _report(found)
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    for text in report["warnings"]:
        warn(text)
    if problem:
        say(problem)
    return FAILURE if problem else SUCCESS


async def _read(parsed: argparse.Namespace) -> _Cluster:
    """Raises: ApiError, Unauthenticated"""
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        reader = Reader(client)
        server = await _server(reader)
        namespace = parsed.namespace or await _namespace(reader)
        replicas = await _replicas(reader, namespace)
    return _Cluster(server, namespace, replicas, reader.unread)


async def _server(reader: Reader) -> _Version | None:
    """Raises: ApiError, where it is not that it may not be read"""
    try:
        body = await reader.client.get("/version", seconds=SECONDS)
        return msgspec.json.decode(body, type=_Version)
    except msgspec.DecodeError as problem:
        raise ApiError("GET /version: the answer cannot be read") from problem
    except ApiError as problem:
        if problem.status != FORBIDDEN:
            raise
        reader.unread[SERVER] = NEEDED
        return None


async def _namespace(reader: Reader) -> str:
    """The namespace of boundtoken, by its webhook configuration."""
    around = Surroundings()
    found = await reader.list(f"{GROUP}/{MUTATING}", Configuration, MUTATING)
    around.configurations[MUTATING] = None if found is None else tuple(found)
    services = (entry.client_config.service for _, entry in around.ours(MUTATING))
    found_namespaces = (service.namespace for service in services if service)
    # Any text may stand there, and paths are made of it.
    return next(filter(OBJECT_NAME.fullmatch, found_namespaces), names.NAMESPACE)


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


def _report(found: _Cluster | None) -> dict[str, Any]:
    """What `-o json` prints; of a cluster that was not read nothing is known."""
    client = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()}/{platform.machine()}".lower(),
    }
    if found is None:
        nothing = {"serverVersion": None, "namespace": None, "replicas": None}
        return {"clientVersion": client, **nothing, "warnings": [], "unread": []}
    server = found.server
    replicas = found.replicas
    return {
        "clientVersion": client,
        "serverVersion": server
        and {"gitVersion": _text(server.git_version), "platform": _text(server.platform)},
        "namespace": found.namespace,
        "replicas": None
        if replicas is None
        else [replica._replace(version=_text(replica.version))._asdict() for replica in replicas],
        "warnings": skew.warnings(
            __version__, replicas or (), _text(server.git_version) if server else ""
        ),
        "unread": [
            {"what": one_line(what), "why": one_line(why)} for what, why in found.unread.items()
        ],
    }


def _text(given: str) -> str:
    return one_line(truncate(given, MAX_CHARS))


def _print(report: dict[str, Any]) -> None:
    client, server = report["clientVersion"], report["serverVersion"]
    print(f"Client Version: {client['version']}")
    print(f"Python Version: {client['python']} ({client['platform']})")
    if report["namespace"] is None:
        return
    print(f"Server Version: {server['gitVersion'] if server else 'not seen'}")
    print(f"Replica Version: {_running(report)}")
    for unread in report["unread"]:
        print(f"not seen: {unread['what']}: {unread['why']}")


def _running(report: dict[str, Any]) -> str:
    replicas = report["replicas"]
    if replicas is None:
        return f"not seen in {report['namespace']}"
    if not replicas:
        return f"no replica runs in {report['namespace']}"
    counts: dict[str, int] = {}
    for replica in replicas:
        counts[replica["version"]] = counts.get(replica["version"], 0) + 1
    return ", ".join(
        f"{version} ({count} replica{'' if count == 1 else 's'})"
        for version, count in sorted(counts.items())
    )
