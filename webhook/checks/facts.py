"""What `cli.check` has read of an installation. Each part may be unread, with the reason; None is
what is not there.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar

from ..core import names
from ..core.policy import ClusterPolicy
from ..simulation.calling import Configuration, Entry
from .model import Finding, NotSeen, Unseen, failed, there, warning
from .objects import (
    Annotated,
    Budget,
    Deployment,
    EndpointSlice,
    NetworkPolicy,
    Service,
    Specified,
)

T = TypeVar("T")
Metrics = Mapping[str, float]
"""The samples of a process: by their text before the value, such as `boundtoken_policy_in_sync`."""
NOT_LOOKED_AT = Unseen("it was not looked at")
KEPT_SAMPLES = ("boundtoken_", "process_start_time_seconds")
"""What the names of the samples begin with that checks look at."""
READ_SECONDS = 120.0
"""After which every replica has read a change of the ConfigMap: the kubelet's period and cache."""
MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"


def samples(exposition: str) -> dict[str, float]:
    """What checks look at of the metrics of a process, in Prometheus' text format."""
    found = {}
    for line in exposition.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.startswith(KEPT_SAMPLES):
            try:
                found[sample] = float(value)
            except ValueError:
                continue
    return found


def needs_proxy(namespace: str) -> str:
    """What is told where the API server lets nobody ask the replicas."""
    return f"needs get on pods/proxy in {namespace}"


class Server(NamedTuple):
    """The API server: its release, and how many seconds its clock is ahead of ours."""

    version: str
    minor: tuple[int, int]
    ahead_seconds: float


class Replica(NamedTuple):
    """A pod of ours that has not ended. `problem` says why the API server's proxy could not ask it
    for its certificate, `is_forbidden` whether for want of a right. `distrusting` are the entries
    whose caBundle does not verify it. `ahead_seconds` is its clock beside the API server's.
    `keeps_ca` is whether its pod was made to sign its certificate itself, whatever the Deployment
    says now.
    """

    name: str
    node: str
    image: str
    is_ready: bool
    problem: str = ""
    is_forbidden: bool = False
    distrusting: tuple[str, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    renewal: datetime | None = None
    metrics: Metrics | Unseen = NOT_LOOKED_AT
    ahead_seconds: float | None = None
    keeps_ca: bool = False

    def labels(self, metric: str, label: str) -> list[str]:
        """The values of a label of a metric, of its samples that are not 0."""
        start = f"{metric}{{"
        found = []
        for sample, value in there(self.metrics).items():
            if value and sample.startswith(start):
                _, _, rest = sample.partition(f'{label}="')
                found.append(rest.partition('"')[0])
        return found


class WaitingPod(NamedTuple):
    """A pod of ours that does not run, and why."""

    name: str
    reason: str
    message: str


class CaBundle(NamedTuple):
    """The caBundle of one of our entries: whether it can verify anybody, and when its last
    certificate expires.
    """

    entry: str
    is_usable: bool
    text: str
    not_after: datetime | None = None


class ConfigurationFile(NamedTuple):
    """The configuration in the ConfigMap: its name, its faults, and its hash where it has none.
    `age_seconds` is since somebody wrote to the ConfigMap; None where that is not known.
    """

    name: str
    faults: tuple[str, ...]
    hash: str
    policy: ClusterPolicy | None = None
    text: str = ""
    age_seconds: float | None = None

    def unread(self, text: str, *commands: str) -> Finding:
        """What is told of replicas that have not read it: the kubelet needs its time."""
        if self.age_seconds is not None and self.age_seconds >= READ_SECONDS:
            return failed(text, *commands)
        return warning(f"{text}: a change takes up to 2 minutes", *commands)


class Right(NamedTuple):
    """One verb on one resource, of one object where it has a name, in a namespace or everywhere; or
    on a path of the API server, which `resource` is then, such as /metrics.
    """

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        of = f"/{self.name}" if self.name else ""
        return f"{self.verb} {resource}{of}" + (f" in {self.namespace}" if self.namespace else "")


class Granted(NamedTuple):
    """A right of our service account, and the binding that gives it."""

    right: Right
    binding: str

    def is_ours(self, own: str) -> bool:
        """Whether a binding of the manifests gives it, without which what is needed goes too."""
        if self.binding == f"rolebinding/{names.APP}":
            return self.right.namespace == own
        return self.binding == f"clusterrolebinding/{names.APP}"


class Probe(NamedTuple):
    """A pod that was created in a dry run, where `problem` says why it was not. `reason` is what
    boundtoken decides on it by its own code, and `differences` how what came back differs.
    """

    namespace: str
    problem: str = ""
    reason: str = ""
    is_injected: bool = False
    differences: tuple[str, ...] = ()
    is_forbidden: bool = False


class Governance(NamedTuple):
    """A request that the configuration refuses: whether a policy of the API server did, or only the
    webhook; `problem` is any other answer.
    """

    what: str
    is_refused: bool = False
    by_webhook: bool = False
    problem: str = ""


@dataclasses.dataclass
class Installation:
    """Everything that is looked at; before installing only a part of it."""

    version: str
    """Of this program."""
    now: datetime
    """By the API server's clock."""
    own: str = names.NAMESPACE
    server: Server | Unseen = NOT_LOOKED_AT
    deployment: Deployment | Unseen | None = NOT_LOOKED_AT
    installations: tuple[Deployment, ...] | Unseen = NOT_LOOKED_AT
    """Deployments with our labels, in every namespace."""
    replicas: tuple[Replica, ...] | Unseen = NOT_LOOKED_AT
    waiting: tuple[WaitingPod, ...] = ()
    budgets: tuple[Budget, ...] | Unseen = NOT_LOOKED_AT
    service: Service | Unseen | None = NOT_LOOKED_AT
    slices: tuple[EndpointSlice, ...] | Unseen = NOT_LOOKED_AT
    network_policies: tuple[NetworkPolicy, ...] | Unseen = NOT_LOOKED_AT
    configurations: Mapping[str, tuple[Configuration, ...] | Unseen] = dataclasses.field(
        default_factory=dict
    )
    ca_bundles: tuple[CaBundle, ...] = ()
    policies: Mapping[str, Specified | Unseen | None] = dataclasses.field(default_factory=dict)
    bindings: Mapping[str, Specified | Unseen | None] = dataclasses.field(default_factory=dict)
    rights: tuple[Granted, ...] | Unseen = NOT_LOOKED_AT
    file: ConfigurationFile | Unseen | None = NOT_LOOKED_AT
    cluster: ClusterPolicy | Unseen = NOT_LOOKED_AT
    fail_open: Mapping[str, int] | Unseen = NOT_LOOKED_AT
    namespaces: tuple[Annotated, ...] | Unseen = NOT_LOOKED_AT
    probe: Probe | Unseen = NOT_LOOKED_AT
    governance: tuple[Governance, ...] | Unseen = NOT_LOOKED_AT
    may: Mapping[Right, bool] | Unseen = NOT_LOOKED_AT
    """What the person who looks may do."""
    served: frozenset[str] | Unseen = NOT_LOOKED_AT
    """Resources of admissionregistration.k8s.io/v1."""
    gates: Mapping[str, bool] | Unseen = NOT_LOOKED_AT
    """Feature gates that the API server tells of."""
    namespace: Annotated | Unseen | None = NOT_LOOKED_AT
    year: int | Unseen = NOT_LOOKED_AT
    """How many seconds a token really lives that was requested for 3607."""
    account: Annotated | Unseen | None = NOT_LOOKED_AT
    """The service account of the replicas."""
    secrets: Mapping[str, bool | Unseen] | Unseen = NOT_LOOKED_AT
    """Whether each Secret is there that the replicas mount, by its name."""

    def entries(self) -> list[tuple[str, Entry]]:
        """Our entries, each with the name of its kind of configuration.

        Raises: NotSeen
        """
        found = []
        for resource in (MUTATING, VALIDATING):
            for configuration in there(self.configurations.get(resource, NOT_LOOKED_AT)):
                found += [
                    (resource, entry) for entry in configuration.webhooks or () if entry.is_ours
                ]
        return found

    @property
    def is_absent(self) -> bool:
        """Whether nothing of boundtoken is there, and all of it was looked for."""
        parts = (self.deployment, self.service, self.file)
        of_policies = (*self.policies.values(), *self.bindings.values())
        if any(part is not None for part in (*parts, *of_policies)):
            return False
        try:
            return not self.entries()
        except NotSeen:
            return False

    @property
    def brings_certificate(self) -> bool | None:
        """Whether the replicas are given their certificate; None where no Deployment tells."""
        found = self.deployment
        return found.brings_certificate if isinstance(found, Deployment) else None

    def deployed(self) -> Deployment:
        """The Deployment, which alone tells who keeps the certificates.

        Raises: NotSeen
        """
        try:
            return there(self.deployment, "deployment/boundtoken")
        except NotSeen as problem:
            text = f"{problem}: only the Deployment tells who keeps the certificates"
            raise NotSeen(text) from problem

    def asking(self) -> tuple[Replica, ...]:
        """The replicas, at least one.

        Raises: NotSeen
        """
        found = there(self.replicas)
        if not found:
            raise NotSeen("no replica runs")
        return found
