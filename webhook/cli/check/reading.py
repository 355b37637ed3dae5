"""Reads what the checks of an installation judge, each part with the reason where it is unseen."""

import asyncio
import re
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import quote

import msgspec

from ... import __version__, cluster_config
from ...checks import shipped
from ...checks.facts import (
    CaBundle,
    ConfigurationFile,
    Installation,
    Replica,
    Server,
    WaitingPod,
    needs_proxy,
    samples,
)
from ...checks.model import Unseen
from ...checks.objects import (
    Annotated,
    Budget,
    Deployment,
    EndpointSlice,
    NetworkPolicy,
    Pod,
    Service,
    Specified,
)
from ...cluster.client import JSON, ApiClient, decode
from ...core import names
from ...core.text import truncate
from ...errors import ApiError, BadCertificate, BadInput, NotFound
from ...pki import lifecycle, replicas
from ...pki.pem import Certificates, read_certificates
from ...simulation.calling import Entry
from ..certs_show import verifies
from ..cluster import surroundings
from ..cluster.own_namespace import GROUP, KINDS
from ..cluster.reader import FORBIDDEN, Reader
from ..cluster.surroundings import Surroundings
from . import grants

T = TypeVar("T")
MAX_PAGES = 400
"""100,000 namespaces: ten times what Kubernetes supports."""
MAX_METRICS_BYTES = 64 << 20
"""Of an API server: some ten MiB in a big cluster."""
METRICS_SECONDS = 20.0
MAX_SECRETS = 16
"""That the replicas mount: one has their certificate, and an overlay may add others."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
VERSION = re.compile(r"v(\d+)\.(\d+)")
FAIL_OPEN = re.compile(
    r'^apiserver_admission_webhook_fail_open_count\{name="([a-z.]+\.boundtoken\.dev)"[^}]*\} (\S+)',
    re.MULTILINE,
)


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


_VERSION = msgspec.json.Decoder(_Version)


async def server(client: ApiClient) -> Server | Unseen:
    """The API server's release and clock."""
    try:
        found = decode(_VERSION, await client.get("/version"))
    except ApiError as problem:
        return Unseen(truncate(str(problem)))
    release = VERSION.match(found.git_version)
    minor = (int(release[1]), int(release[2])) if release is not None else (0, 0)
    return Server(truncate(found.git_version, 60), minor, client.ahead_seconds)


async def installation(reader: Reader, own: str | None, known: Server | Unseen) -> Installation:
    """Everything but what is tried in a dry run."""
    client = reader.client
    around = await surroundings.read(reader, own, None)
    namespace = around.cluster.own_namespace
    seen = Installation(__version__, client.now(), namespace, known)
    if around.is_configuration_known:
        seen.cluster = around.cluster
    else:
        seen.cluster = Unseen(_why(reader, "the configuration", f"configmaps in {namespace}"))
    seen.configurations = {
        resource: Unseen(_why(reader, resource)) if found is None else found
        for resource, found in around.configurations.items()
    }
    part = _Parts(reader, namespace)
    seen.installations = await installations(reader)
    path = f"/apis/apps/v1/{part.base}/deployments/{names.APP}"
    seen.deployment = await part.get(path, Deployment, "deployments")
    seen.service = await part.get(f"/api/v1/{part.base}/services/{names.APP}", Service, "services")
    selector = f"kubernetes.io/service-name={names.APP}"
    seen.slices = await part.list("discovery.k8s.io/v1", "endpointslices", EndpointSlice, selector)
    seen.budgets = await part.list("policy/v1", "poddisruptionbudgets", Budget)
    seen.network_policies = await part.list("networking.k8s.io/v1", "networkpolicies", NetworkPolicy)  # fmt: skip
    seen.policies = await _specified(reader, "validatingadmissionpolicies", shipped.POLICIES)
    seen.bindings = await _specified(reader, "validatingadmissionpolicybindings", shipped.BINDINGS)
    seen.rights = await grants.rights(reader, namespace)
    path = f"/api/v1/{part.base}/serviceaccounts/{names.APP}"
    seen.account = await part.get(path, Annotated, "serviceaccounts")
    seen.secrets = await _secrets(part, seen.deployment)
    seen.file = await _file(reader, namespace, seen.deployment)
    seen.namespaces = await _namespaces(reader)
    seen.fail_open = await _fail_open(client)
    seen.now = client.now()
    seen.ca_bundles = tuple(_ca_bundle(around, *pair) for pair in _ours(around).items())
    pods = await part.list("v1", "pods", Pod, f"app.kubernetes.io/name={names.APP}")
    seen.waiting = () if isinstance(pods, Unseen) else tuple(_waiting(pods))
    seen.replicas = pods if isinstance(pods, Unseen) else await _replicas(part, around, pods)
    return seen


async def installations(reader: Reader) -> tuple[Deployment, ...] | Unseen:
    """Every Deployment with our labels, wherever it is."""
    query = {"labelSelector": f"app.kubernetes.io/name={names.APP}"}
    found = await reader.list("/apis/apps/v1/deployments", Deployment, "deployments", query)
    return Unseen(_why(reader, "deployments")) if found is None else tuple(found)


def _why(reader: Reader, *whats: str) -> str:
    return next((reader.unread[what] for what in whats if what in reader.unread), "it was not seen")


class _Parts:
    """Reads objects of the own namespace."""

    def __init__(self, reader: Reader, namespace: str) -> None:
        self.reader, self.namespace = reader, namespace
        self.base = f"namespaces/{namespace}"

    async def get(
        self, path: str, kind: type[T], what: str, *, accept: str = JSON
    ) -> T | Unseen | None:
        """An object; None where it is not there."""
        title = f"{what} in {self.namespace}"
        try:
            found = await self.reader.get(path, kind, title, accept=accept)
        except NotFound:
            return None
        return Unseen(_why(self.reader, title)) if found is None else found

    async def list(
        self, api: str, resource: str, kind: type[T], selector: str = ""
    ) -> tuple[T, ...] | Unseen:
        base = "/api/" if "/" not in api else "/apis/"
        title = f"{resource} in {self.namespace}"
        query = {"labelSelector": selector} if selector else None
        found = await self.reader.list(f"{base}{api}/{self.base}/{resource}", kind, title, query)
        return Unseen(_why(self.reader, title)) if found is None else tuple(found)


async def _specified(
    reader: Reader, resource: str, ours: dict[str, object]
) -> dict[str, Specified | Unseen | None]:
    found: dict[str, Specified | Unseen | None] = {}
    for name in ours:
        try:
            one = await reader.get(f"{GROUP}/{resource}/{name}", Specified, resource)
        except NotFound:
            found[name] = None
            continue
        found[name] = Unseen(_why(reader, resource)) if one is None else one
    return found


async def _file(
    reader: Reader, own: str, deployment: Deployment | Unseen | None
) -> ConfigurationFile | Unseen | None:
    """The configuration that the replicas mount: others may have its labels, such as one of an
    earlier overlay.
    """
    config_maps = await surroundings.config_maps(reader, own)
    if config_maps is None:
        return Unseen(_why(reader, f"configmaps in {own}"))
    if isinstance(deployment, Deployment) and deployment.config_maps:
        config_maps = [pair for pair in config_maps if pair[1].name in deployment.config_maps]
    if not config_maps:
        return None
    text, metadata = config_maps[0]
    now, changed = reader.client.now(), metadata.changed
    age = None if changed is None else (now - changed).total_seconds()
    found = ConfigurationFile(metadata.name, (), "", text=text, age_seconds=age)
    try:
        parsed = cluster_config.parse(text, own_namespace=own)
    except BadInput as problem:
        return found._replace(faults=problem.faults)
    return found._replace(hash=parsed.hash, policy=parsed.policy)


async def _secrets(
    part: _Parts, deployment: Deployment | Unseen | None
) -> dict[str, bool | Unseen]:
    """Whether those that the replicas mount are there. No more than that is read of them."""
    found: dict[str, bool | Unseen] = {}
    mounted = deployment.secrets if isinstance(deployment, Deployment) else ()
    for number, name in enumerate(mounted):
        if number >= MAX_SECRETS:
            found[name] = Unseen(f"only the first {MAX_SECRETS} Secrets are looked at")
            continue
        path = f"/api/v1/{part.base}/secrets/{quote(name, safe='')}"
        secret = await part.get(path, Annotated, f"secrets/{name}", accept=METADATA_ONLY)
        found[name] = secret if isinstance(secret, Unseen) else secret is not None
    return found


async def _namespaces(reader: Reader) -> tuple[Annotated, ...] | Unseen:
    path, what = "/api/v1/namespaces", "namespaces"
    found = await reader.list(path, Annotated, what, max_pages=MAX_PAGES)
    return Unseen(_why(reader, what)) if found is None else tuple(found)


async def metrics_of_server(client: ApiClient) -> str | Unseen:
    """The metrics of the API server that answers."""
    try:
        body = await client.get("/metrics", accept="*/*", seconds=METRICS_SECONDS, limit=MAX_METRICS_BYTES)  # fmt: skip
    except ApiError as problem:
        is_forbidden = problem.status == FORBIDDEN
        return Unseen("needs get on /metrics" if is_forbidden else truncate(str(problem)))
    return body.decode(errors="replace")


async def _fail_open(client: ApiClient) -> dict[str, int] | Unseen:
    text = await metrics_of_server(client)
    if isinstance(text, Unseen):
        return text
    found: dict[str, int] = {}
    for name, value in FAIL_OPEN.findall(text):
        found[name] = found.get(name, 0) + round(float(value))
    return found


def _ours(around: Surroundings) -> dict[str, Entry]:
    """Our entries by their name, with that of the configuration where several have such."""
    found = {}
    for resource in KINDS:
        ours = around.ours(resource)
        several = len({name for name, _ in ours}) > 1
        for name, entry in ours:
            found[f"{name}/{entry.name}" if several else entry.name] = entry
    return found


def _ca_bundle(around: Surroundings, title: str, entry: Entry) -> CaBundle:
    state = around.ca_bundle(entry)
    ends = [one.not_after for one in _authorities(entry)]
    return CaBundle(title, state.holds is not False, state.text, max(ends, default=None))


def _authorities(entry: Entry) -> Certificates:
    try:
        return read_certificates(surroundings.decoded(entry.client_config.ca_bundle or ""))
    except (BadCertificate, ValueError):
        return ()


def _waiting(pods: tuple[Pod, ...]) -> Iterator[WaitingPod]:
    for pod in pods:
        if pod.is_running and (found := pod.waiting) is not None:
            yield WaitingPod(pod.metadata.name, found.reason, truncate(found.message))


async def _replicas(
    part: _Parts, around: Surroundings, pods: tuple[Pod, ...]
) -> tuple[Replica, ...] | Unseen:
    client = part.reader.client
    # Without an address nobody reaches it, and nothing of the network is wrong.
    addressed = {pod.metadata.name for pod in pods if pod.is_running and pod.status.pod_ip}
    try:
        answers = await replicas.fetch(client, part.namespace, addressed)
    except ApiError as problem:
        return Unseen(truncate(str(problem)))
    served = {one.name: one for one in answers}
    entries = {title: _authorities(entry) for title, entry in _ours(around).items()}
    found = (
        _replica(part, pod, served[pod.metadata.name], entries)
        for pod in pods
        if pod.metadata.name in served
    )
    return tuple(await asyncio.gather(*found))


async def _replica(
    part: _Parts, pod: Pod, served: replicas.Replica, entries: dict[str, Certificates]
) -> Replica:
    containers = pod.spec.containers or ()
    image = next((one.image for one in containers if one.name == names.APP), "")
    found = Replica(
        pod.metadata.name,
        pod.spec.node_name,
        image,
        served.ready,
        truncate(served.problem),
        is_forbidden=served.status == FORBIDDEN,
        metrics=await _metrics(part, pod),
        ahead_seconds=served.ahead_seconds,
        keeps_ca=not pod.spec.brings_certificate,
    )
    if not served.chain:
        return found
    leaf = served.chain[0]
    distrusting = (
        name for name, authorities in entries.items() if not verifies(authorities, served.chain)
    )
    return found._replace(
        distrusting=tuple(distrusting),
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        renewal=lifecycle.renewal_time(leaf, part.reader.client.now()),
    )


async def _metrics(part: _Parts, pod: Pod) -> dict[str, float] | Unseen:
    """Samples of a replica, through the API server's proxy."""
    name = pod.metadata.name
    path = f"/api/v1/{part.base}/pods/http:{name}:{shipped.METRICS_PORT}/proxy/metrics"
    try:
        body, _ = await part.reader.client.proxied(path, seconds=replicas.SECONDS, limit=1 << 20)
    except ApiError as problem:
        if problem.status == FORBIDDEN:
            return Unseen(needs_proxy(part.namespace))
        return Unseen(f"pod/{name}: {truncate(str(problem))}")
    return samples(body.decode(errors="replace"))
