"""Objects of a cluster as far as checks read them."""

from typing import Any

import msgspec

from ..core.views import Metadata, View
from ..simulation.calling import Selector

JsonObject = dict[str, Any]
LEGACY_FLAG, LEGACY_VARIABLE = "--legacy-tokens", "BOUNDTOKEN_LEGACY_TOKENS"
"""Of `boundtoken serve`, which the component legacy-tokens sets to on."""
PROBE_FLAG, PROBE_VARIABLE = "--self-probe-interval", "BOUNDTOKEN_SELF_PROBE_INTERVAL"
"""Of `boundtoken serve`: 0 for no self-probe."""


class Labelled(Metadata, frozen=True):
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class Condition(View, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class ContainerPort(View, frozen=True):
    name: str = ""
    container_port: int = 0


class Variable(View, frozen=True):
    """An environment variable of a container; its value is not read."""

    name: str = ""


class Container(View, frozen=True):
    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None


class ConfigMapVolume(View, frozen=True):
    name: str = ""


class SecretVolume(View, frozen=True):
    secret_name: str = ""
    optional: bool | None = None


class Volume(View, frozen=True):
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None


class PodSpec(View, frozen=True):
    volumes: tuple[Volume, ...] | None = None
    containers: tuple[Container, ...] | None = None
    node_name: str = ""
    service_account_name: str = ""

    def flag(self, name: str) -> str | None:
        """The value of a flag, which may be a word of its own; the last one of several."""
        found, words = None, self._arguments
        for word, following in zip(words, [*words[1:], ""], strict=False):
            title, equals, value = word.partition("=")
            if title == name:
                found = value if equals else following
        return found

    @property
    def _arguments(self) -> list[str]:
        return [argument for one in self.containers or () for argument in one.args or ()]

    @property
    def variables(self) -> set[str]:
        """The names of the environment variables; what they say is not read."""
        return {variable.name for one in self.containers or () for variable in one.env or ()}

    @property
    def brings_certificate(self) -> bool:
        """Whether such a pod is given a certificate, and makes none."""
        return self.flag("--tls-cert") is not None or "BOUNDTOKEN_TLS_CERT" in self.variables


class Template(View, frozen=True):
    metadata: Labelled = Labelled()
    spec: PodSpec = PodSpec()


class DeploymentSpec(View, frozen=True):
    replicas: int = 1
    paused: bool = False
    template: Template = Template()


class DeploymentStatus(View, frozen=True):
    updated_replicas: int = 0
    ready_replicas: int = 0
    conditions: tuple[Condition, ...] | None = None


class Deployment(View, frozen=True):
    metadata: Labelled = Labelled()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def config_maps(self) -> set[str]:
        """The names of those that its pods mount."""
        volumes = self.spec.template.spec.volumes or ()
        return {one.config_map.name for one in volumes if one.config_map is not None}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of those without which none of its pods starts."""
        volumes = self.spec.template.spec.volumes or ()
        mounted = (one.secret for one in volumes if one.secret is not None)
        return tuple(dict.fromkeys(one.secret_name for one in mounted if not one.optional))

    @property
    def brings_certificate(self) -> bool:
        """Whether its pods are given a certificate, and make none."""
        return self.spec.template.spec.brings_certificate

    @property
    def has_self_probe(self) -> bool:
        """Whether its replicas surely ask for pods in a dry run. What a variable says is not read,
        and may switch it off.
        """
        seconds = self.spec.template.spec.flag(PROBE_FLAG)
        if seconds is None:
            return PROBE_VARIABLE not in self.spec.template.spec.variables
        try:
            return float(seconds) != 0
        except ValueError:
            return True

    @property
    def looks_for_legacy_tokens(self) -> bool:
        """Whether its replicas list Secrets, as far as its arguments say; what a variable says is
        not read.
        """
        if LEGACY_VARIABLE in self.spec.template.spec.variables:
            return True
        return self.spec.template.spec.flag(LEGACY_FLAG) == "on"


class Waiting(View, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class ContainerState(View, frozen=True):
    waiting: Waiting | None = None


class ContainerStatus(View, frozen=True):
    state: ContainerState = ContainerState()


class PodStatus(View, frozen=True):
    phase: str = ""
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    pod_ip: str = msgspec.field(name="podIP", default="")


class Pod(View, frozen=True):
    """A pod of ours."""

    metadata: Labelled = Labelled()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended and is not being deleted."""
        is_ending = bool(self.metadata.deletion_timestamp)
        return not is_ending and self.status.phase not in ("Succeeded", "Failed")

    @property
    def waiting(self) -> Waiting | None:
        """Why it does not run: no node takes it, or its container waits."""
        for condition in self.status.conditions or ():
            if condition.type == "PodScheduled" and condition.status == "False":
                return Waiting(condition.reason, condition.message)
        states = (one.state.waiting for one in self.status.container_statuses or ())
        return next((state for state in states if state is not None and state.reason), None)


class BudgetSpec(View, frozen=True):
    selector: Selector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class BudgetStatus(View, frozen=True):
    disruptions_allowed: int = 0


class Budget(View, frozen=True):
    """A PodDisruptionBudget."""

    metadata: Labelled = Labelled()
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()


class ServicePort(View, frozen=True):
    port: int = 0
    target_port: int | str = 0


class ServiceSpec(View, frozen=True):
    selector: dict[str, str] | None = None
    ports: tuple[ServicePort, ...] | None = None


class Service(View, frozen=True):
    metadata: Labelled = Labelled()
    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(View, frozen=True):
    ready: bool | None = None


class Endpoint(View, frozen=True):
    conditions: EndpointConditions = EndpointConditions()


class EndpointSlice(View, frozen=True):
    endpoints: tuple[Endpoint, ...] | None = None

    @property
    def ready(self) -> int:
        """How many are ready. Absent means ready (discovery/v1 EndpointConditions)."""
        return sum(one.conditions.ready is not False for one in self.endpoints or ())


class PolicyPort(View, frozen=True):
    port: int | str | None = None
    end_port: int | None = None


class IpBlock(View, frozen=True):
    cidr: str = ""


class Peer(View, frozen=True):
    """Who may reach pods, as far as addresses go."""

    ip_block: IpBlock | None = None


class IngressRule(View, frozen=True):
    ports: tuple[PolicyPort, ...] | None = None
    peers: tuple[Peer, ...] | None = msgspec.field(name="from", default=None)


class NetworkPolicySpec(View, frozen=True):
    pod_selector: Selector = Selector()
    policy_types: tuple[str, ...] | None = None
    ingress: tuple[IngressRule, ...] | None = None


class NetworkPolicy(View, frozen=True):
    """What may reach pods, as far as ports go. It is read by every network plugin in its own way;
    this is the text of the API.
    """

    metadata: Labelled = Labelled()
    spec: NetworkPolicySpec = NetworkPolicySpec()

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether it limits what reaches pods with these labels."""
        types = self.spec.policy_types or ("Ingress",)
        return "Ingress" in types and self.spec.pod_selector.matches(labels)

    def allowing(self, port: int, name: str) -> tuple[IngressRule, ...]:
        """The rules that let a port be reached, by whomever."""
        return tuple(
            rule
            for rule in self.spec.ingress or ()
            if not rule.ports or any(_is_port(one, port, name) for one in rule.ports)
        )


def _is_port(given: PolicyPort, port: int, name: str) -> bool:
    if given.port is None or given.port in (port, name):
        return True
    last = given.end_port
    return isinstance(given.port, int) and last is not None and given.port <= port <= last


class Annotated(View, frozen=True):
    """A namespace, of which labels and annotations are read."""

    metadata: Labelled = Labelled()


class Specified(View, frozen=True):
    """A policy or a binding: its annotations, and the whole of its spec."""

    metadata: Labelled = Labelled()
    spec: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def content(self) -> JsonObject:
        found = msgspec.json.decode(self.spec)
        return found if isinstance(found, dict) else {}
