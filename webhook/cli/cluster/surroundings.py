"""What an object is admitted in: the configuration of the cluster, its webhooks and what stands
behind them, and namespaces; from files or from the cluster.
"""

import base64
import dataclasses
from datetime import datetime
from typing import NamedTuple

import msgspec

from ... import cluster_config
from ...checks.objects import EndpointSlice
from ...cluster.client import METADATA
from ...core import names, policy
from ...core.policy import ClusterPolicy, NamespacePolicy
from ...core.text import quote
from ...enforcement.policies import bindings
from ...errors import BadCertificate, BadInput, NotFound
from ...pki.pem import read_certificates
from ...simulation.admission import Admission
from ...simulation.calling import Configuration, Entry
from . import own_namespace
from .kinds import OBJECT_NAME
from .own_namespace import GROUP, KINDS
from .reader import Reader
from .views import Annotated, ConfigMap, ConfigMapMetadata, Service, ServiceAccount

MUTATING, VALIDATING = KINDS
PATHS = {MUTATING: "/mutate", VALIDATING: "/validate"}
"""Where a replica answers (serving.app)."""
NO_NAMESPACE = "there is no namespace of this name"
ASSUMED = "the defaults, for it was not seen"


class State(NamedTuple):
    """Whether something stands; `holds` is None where it was not seen."""

    holds: bool | None
    text: str


class Namespace(NamedTuple):
    """A namespace: its labels and annotations, None where they are not known, and its whole object
    where it was read.
    """

    name: str
    labels: dict[str, str] | None
    annotations: dict[str, str] | None
    document: dict[str, object]
    problem: str = ""
    """Why there is none of this name."""


class Account(NamedTuple):
    """A service account: whether it opts out of automounting, False where it was not seen."""

    opts_out: bool = False
    is_missing: bool = False


@dataclasses.dataclass
class Surroundings:
    """`configurations` has the webhook configurations by resource, None for those that were not
    seen; it is empty where no cluster was looked at.
    """

    cluster: ClusterPolicy = dataclasses.field(default_factory=ClusterPolicy)
    configuration_from: str = "the defaults"
    configurations: dict[str, tuple[Configuration, ...] | None] = dataclasses.field(
        default_factory=dict
    )
    services: dict[tuple[str, str, int], State] = dataclasses.field(default_factory=dict)
    now: datetime | None = None
    policies: State | None = None

    @property
    def is_live(self) -> bool:
        return bool(self.configurations)

    @property
    def is_configuration_known(self) -> bool:
        return self.configuration_from != ASSUMED

    @property
    def mutating(self) -> tuple[Configuration, ...]:
        return self.configurations.get(MUTATING) or ()

    def ours(self, resource: str) -> list[tuple[str, Entry]]:
        """Our entries, each with the name of its configuration."""
        return [
            (configuration.metadata.name, entry)
            for configuration in self.configurations.get(resource) or ()
            for entry in configuration.webhooks or ()
            if entry.is_ours
        ]

    @property
    def installed(self) -> str:
        """When our mutating configuration was made, as the API server writes it; may be empty."""
        return next(
            (
                configuration.metadata.creation_timestamp
                for configuration in self.mutating
                if any(entry.is_ours for entry in configuration.webhooks or ())
            ),
            "",
        )

    def ca_bundle(self, entry: Entry) -> State:
        """Whether the caBundle of an entry can verify anybody."""
        text = entry.client_config.ca_bundle
        if not text:
            if entry.client_config.url:
                return State(True, "none: the system's authorities")
            return State(False, "none: the API server cannot verify a replica")
        try:
            certificates = read_certificates(decoded(text))
        except (BadCertificate, ValueError):
            return State(False, "cannot be read")
        if self.now is None or any(one.is_valid(self.now) for one in certificates):
            count = len(certificates)
            return State(True, f"{count} certificate{'' if count == 1 else 's'}")
        return State(False, "every certificate in it has expired, or is not valid yet")

    def service(self, entry: Entry, resource: str) -> State:
        """Whether Service and endpoints of an entry stand, and whether a replica knows its path."""
        service = entry.client_config.service
        if service is None:
            return State(None, "a URL, which was not looked at")
        if service.path != PATHS[resource]:
            path, right = service.path or "/", PATHS[resource]
            return State(False, f"path {quote(path)} of the entry: boundtoken answers at {right}")
        key = (service.namespace, service.name, service.port)
        return self.services.get(key, State(None, "not seen"))

    def admission(self, namespace: Namespace) -> Admission:
        """Admission in this namespace; one without annotations where they are not known."""
        return Admission(namespace.name, self.cluster, self.policy(namespace))

    def policy(self, namespace: Namespace) -> NamespacePolicy:
        own = policy.namespace_annotations(namespace.annotations)
        return policy.resolve_namespace(self.cluster, own)


def decoded(ca_bundle: str) -> bytes:
    """The PEM of a caBundle. Raises: ValueError"""
    return base64.b64decode(ca_bundle)


async def read(
    reader: Reader, webhook_namespace: str | None, given: ClusterPolicy | None
) -> Surroundings:
    """The surroundings in a cluster; `given` is a configuration from a file."""
    around = Surroundings(now=reader.client.now())
    around.configurations = dict(await own_namespace.configurations(reader))
    ours = [entry for resource in KINDS for _, entry in around.ours(resource)]
    services = {
        (service.namespace, service.name, service.port)
        for entry in ours
        if (service := entry.client_config.service) is not None
    }
    own = webhook_namespace or await _own(reader, around)
    if not services and None in around.configurations.values():
        services = {(own, names.APP, 10250)}  # manifests/50-service.yaml
    for namespace, name, port in sorted(services):
        around.services[namespace, name, port] = await _service(reader, namespace, name, port)
    around.now = reader.client.now()
    configured = await configuration(reader, own, given)
    around.cluster, around.configuration_from, around.policies = configured
    return around


async def _own(reader: Reader, around: Surroundings) -> str:
    """The first of the namespaces in which boundtoken may be; the usual one where there is none."""
    found = await own_namespace.candidates(reader, around.configurations)
    return next(iter(found), names.NAMESPACE)


async def _service(reader: Reader, namespace: str, name: str, port: int) -> State:
    base, title = f"/api/v1/namespaces/{namespace}", f"service/{name} in {namespace}"
    try:
        service = await reader.get(f"{base}/services/{name}", Service, f"services in {namespace}")
    except NotFound:
        return State(False, f"{title} is missing")
    if service is not None and all(one.port != port for one in service.spec.ports or ()):
        return State(False, f"{title} has no port {port}")
    slices = await reader.list(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        EndpointSlice,
        f"endpointslices in {namespace}",
        {"labelSelector": f"kubernetes.io/service-name={name}"},
    )
    if slices is None:
        return State(None, f"{title}: its endpoints were not seen")
    ready = sum(one.ready for one in slices)
    return State(ready > 0, f"{title}, {ready or 'no'} ready endpoint{'' if ready == 1 else 's'}")


class Configured(NamedTuple):
    """A configuration, where it is from, and whether the policies that enforce it are there."""

    cluster: ClusterPolicy
    source: str
    policies: State | None


async def configuration(reader: Reader, own: str, given: ClusterPolicy | None = None) -> Configured:
    """The configuration that the replicas use: what they keep in the policy binding is what they
    have read, also where the ConfigMap has become bad since. `given` takes its place.
    """
    text, audiences, policies = await _of_binding(reader)
    source = f"validatingadmissionpolicybinding/{names.POD_POLICY}"
    if not text:
        text, source = await config_map(reader, own)
    if given is not None:
        text, source = "", "--config"
    cluster = given or ClusterPolicy()
    if text:
        try:
            cluster = cluster_config.parse(text, own_namespace=own).policy
        except BadInput:
            reader.unread["the configuration"] = f"{source} has faults: boundtoken config check"
            source = ASSUMED
    # The audiences of the configuration are among those that the replicas noted.
    known = audiences or cluster.api_audiences
    cluster = msgspec.structs.replace(cluster, own_namespace=own, api_audiences=known)
    return Configured(cluster, source, policies)


async def _of_binding(reader: Reader) -> tuple[str, tuple[str, ...], State | None]:
    """The last good text, the API server's audiences, and whether the binding is there."""
    path = f"{GROUP}/validatingadmissionpolicybindings/{names.POD_POLICY}"
    try:
        found = await reader.get(
            path, Annotated, "validatingadmissionpolicybindings", accept=METADATA
        )
    except NotFound:
        return "", (), State(False, f"{names.POD_POLICY} is missing: nothing is denied")
    if found is None:
        return "", (), None
    annotations = policy.own_annotations(found.metadata.annotations)
    audiences = tuple(annotations.get(names.API_AUDIENCES, "").split())
    return bindings.last_good(annotations), audiences, State(True, names.POD_POLICY)


async def config_map(reader: Reader, own: str) -> tuple[str, str]:
    """The text of the ConfigMap, which is found by its labels, and its name; an empty text where it
    was not seen (the name is then ASSUMED), and where there is none.
    """
    found = await config_maps(reader, own)
    for text, metadata in found or ():
        return text, f"configmap/{metadata.name}"
    return "", ASSUMED if found is None else f"the defaults: no ConfigMap in {own}"


async def config_maps(reader: Reader, own: str) -> list[tuple[str, ConfigMapMetadata]] | None:
    """Text and metadata of each ConfigMap that has a configuration; None where none was seen."""
    labels = ",".join(f"{name}={value}" for name, value in names.CONFIG_LABELS.items())
    found = await reader.list(
        f"/api/v1/namespaces/{own}/configmaps",
        ConfigMap,
        f"configmaps in {own}",
        {"labelSelector": labels},
    )
    if found is None:
        return None
    return [
        (one.data.text, one.metadata)
        for one in found
        if one.data is not None and one.data.text is not None
    ]


async def read_namespace(reader: Reader, name: str) -> Namespace:
    """A namespace of the cluster."""
    if not OBJECT_NAME.fullmatch(
        name
    ):  # a manifest may have anything there, and paths are made of it
        return Namespace(name, {}, {}, {}, NO_NAMESPACE)
    try:
        document = await reader.document(f"/api/v1/namespaces/{name}", f"namespaces/{name}")
    except NotFound:
        return Namespace(name, {}, {}, {}, NO_NAMESPACE)
    return Namespace(name, None, None, {}) if document is None else namespace_of(document)


def namespace_of(document: dict[str, object]) -> Namespace:
    """A namespace by its object. What is no text in it is left out, as no API server has it."""
    metadata = document.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}

    def texts(name: str) -> dict[str, str]:
        of = found.get(name)
        pairs = of.items() if isinstance(of, dict) else ()
        return {str(key): value for key, value in pairs if isinstance(value, str)}

    name = str(found.get("name", ""))
    return Namespace(name, texts("labels"), texts("annotations"), document)


async def read_account(reader: Reader, namespace: str, name: str) -> Account:
    """A service account of the cluster."""
    if not OBJECT_NAME.fullmatch(namespace) or not OBJECT_NAME.fullmatch(name):
        return Account(is_missing=True)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
    try:
        found = await reader.get(path, ServiceAccount, f"serviceaccounts in {namespace}")
    except NotFound:
        return Account(is_missing=True)
    return Account(found is not None and found.automount_service_account_token is False)
