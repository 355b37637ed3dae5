"""What each layer requests of a pod's policy, which of them decides, and what is wrong with it.

The webhook knows two layers on the pod itself: what its annotations say. Here they are told apart
by where the text came from: the pod, the template of its owner, or the workload whose annotation
was copied into that template.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from ..core import levels, names, policy
from ..core.annotations import Parser
from ..core.faults import Fault
from ..core.limits import Locks, Token
from ..core.policy import ClusterPolicy, NamespacePolicy, Resolution
from ..core.text import quote
from ..mutation import workloads

Layer = Literal["locks", "pod", "template", "workload", "namespace", "defaults"]
FROM_THE_POD: tuple[Layer, ...] = ("pod", "template", "workload")
DEFAULTED = ("inject", "automount", "audience", "expiration_seconds", "mount_path")
"""The settings that the configuration can set a default for."""
MAX_VALUE_CHARS = 200
CONFIGURATION, NAMESPACE = "the configuration", "the namespace"


class Annotations(NamedTuple):
    """All annotations of a pod and of what it was made from. None where there is no such object, or
    it is not known.
    """

    pod: Mapping[str, str]
    template: Mapping[str, str] | None = None
    workload: Mapping[str, str] | None = None
    is_left_to_owner: bool = False
    """Whether those of the workload have no effect, because another workload owns it."""

    def layer_of(self, annotation: str) -> Layer:
        """Where the pod's value of this annotation was written."""
        text = self.pod.get(annotation)
        if self.template is not None and self.template.get(annotation) != text:
            return "pod"
        if annotation in workloads.recorded_copies(self.pod):
            return "workload"
        return "pod" if self.template is None else "template"

    def of(self, layer: Layer) -> Mapping[str, str]:
        """What was written there; of a template without what was copied into it."""
        if layer == "workload":
            if self.workload is not None:
                return self.workload
            copies = workloads.recorded_copies(self.template or self.pod)
            return {name: text for name, text in self.pod.items() if name in copies}
        if layer == "template":
            copies = workloads.recorded_copies(self.template or {})
            return {n: text for n, text in (self.template or {}).items() if n not in copies}
        return {n: text for n, text in self.pod.items() if self.layer_of(n) == "pod"}


class Request(NamedTuple):
    """What one layer requests of a setting. `problem` says why it is not used as it stands."""

    layer: Layer
    value: str
    problem: str = ""


class Setting(NamedTuple):
    """A setting that holds: its name, its value, the layer that decided, and what was requested, by
    the strongest layer first.
    """

    name: str
    value: str
    decided_by: Layer
    requests: tuple[Request, ...]


class Lock(NamedTuple):
    """A limit that holds: its name, its value, and where it was set."""

    name: str
    value: str
    set_by: str


class _Layers(NamedTuple):
    """All that the settings are worked out from."""

    cluster: ClusterPolicy
    namespace: NamespacePolicy
    annotations: Annotations
    resolution: Resolution
    faults: tuple[Fault, ...]


def settings(
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    annotations: Annotations,
    faults: tuple[Fault, ...] = (),
) -> tuple[Setting, ...]:
    """Every setting of the pod with these annotations. `faults` are those of its workload."""
    resolution = policy.resolve(namespace, annotations.pod)
    of = _Layers(cluster, namespace, annotations, resolution, (*resolution.faults, *faults))
    return tuple(_setting(*row, of) for row in policy.SETTINGS)


def _setting(attribute: str, annotation: str, parse: Parser, of: _Layers) -> Setting:
    decided_by = of.resolution.decided_by[attribute]
    layer: Layer = "namespace" if decided_by == "namespace" else "defaults"
    if decided_by == "pod":
        layer = of.annotations.layer_of(annotation)
    value = getattr(of.resolution.policy, attribute)
    if decided_by == "defaults":
        requested = getattr(of.cluster.defaults, attribute)
    else:
        written = of.annotations.pod if decided_by == "pod" else of.namespace.annotations
        requested = parse(written[annotation], Locks())[0]
    # A lock changes no other setting; the tokens get the lifetime of the pod filled in.
    if attribute in ("expiration_seconds", "audience") and value != requested:
        layer = "locks"
    requests = tuple(_requests(attribute, annotation, of))
    return Setting(annotation.removeprefix(names.DOMAIN), shown(value), layer, requests)


def _requests(attribute: str, annotation: str, of: _Layers) -> Iterator[Request]:
    used = of.annotations.pod.get(annotation)
    for layer in FROM_THE_POD:
        written = of.annotations.of(layer).get(annotation)
        if written is not None:
            problem = _problem(of, "pod" if written == used else layer, annotation)
            if written != used and not problem:
                problem = _why_not_used(layer, annotation, of.annotations)
            yield Request(layer, written, problem)
    if annotation in of.namespace.annotations and annotation in names.FOR_NAMESPACES:
        text = of.namespace.annotations[annotation]
        yield Request("namespace", text, _problem(of, "namespace", annotation))
    if attribute in DEFAULTED:
        text = shown(getattr(of.cluster.defaults, attribute))
        yield Request("defaults", text, _problem(of, "defaults", annotation))


def _problem(of: _Layers, layer: str, annotation: str) -> str:
    found = (f.problem for f in of.faults if (f.layer, f.annotation) == (layer, annotation))
    return next(found, "")


def _why_not_used(layer: Layer, annotation: str, annotations: Annotations) -> str:
    if layer == "workload" and annotation in annotations.of("template"):
        return "the template's own value wins"
    if annotations.is_left_to_owner:
        return "ignored, another workload owns this one: annotate that one"
    return "is not copied into the template"


def locks(cluster: ClusterPolicy, namespace: NamespacePolicy) -> tuple[Lock, ...]:
    """The limits that hold, of the configuration and of the namespace."""
    found = []
    both, own = namespace.locks, cluster.locks
    if both.max_expiration_seconds != names.MAX_EXPIRATION_SECONDS_LIMIT:
        is_own = both.max_expiration_seconds == own.max_expiration_seconds
        set_by = CONFIGURATION if is_own else NAMESPACE
        found.append(Lock("max-expiration-seconds", str(both.max_expiration_seconds), set_by))
    if both.allowed_audiences is not None:
        is_own = both.allowed_audiences == own.allowed_audiences
        listed = ",".join(sorted(both.allowed_audiences)[: names.MAX_LISTED])
        value = listed or "none but the API server's own"
        found.append(Lock("allowed-audiences", value, CONFIGURATION if is_own else NAMESPACE))
    if not both.pod_overrides:
        set_by = NAMESPACE if own.pod_overrides else CONFIGURATION
        found.append(Lock("pod-overrides", "denied", set_by))
    return tuple(found)


def demands(cluster: ClusterPolicy, namespace: NamespacePolicy) -> tuple[Lock, ...]:
    """The levels that pods must comply with, without those that are off."""
    found = [
        Lock(mode, str(level), NAMESPACE)
        for mode in levels.MODES
        if (level := namespace.enforcement.of(mode)).level != "off"
    ]
    if cluster.enforce_floor != "off":
        found.append(Lock("enforceFloor", cluster.enforce_floor, CONFIGURATION))
    return tuple(found)


def shown(value: Any) -> str:
    """A value of a policy as people write it in an annotation."""
    match value:
        case bool():
            return "enabled" if value else "disabled"
        case ():
            return ""
        case tuple():
            return ",".join(_token(item) if isinstance(item, Token) else item for item in value)
        case _:
            return str(msgspec.to_builtins(value))


def _token(token: Token) -> str:
    return f"{token.file}={token.audience};{token.expiration_seconds}"


def displayed(value: str) -> str:
    """A value in a sentence: as it stands where it has no blanks, else in quotes."""
    plain = value.isascii() and value.isprintable() and " " not in value
    return value if plain and 0 < len(value) <= MAX_VALUE_CHARS else quote(value, MAX_VALUE_CHARS)
