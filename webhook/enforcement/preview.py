"""What a change of a namespace's demands would mean for the pods that are there: grouped, each
thing said once.

In the manner of Pod Security admission, which answers a change of its labels with such warnings;
nothing is denied.
"""

from collections.abc import Iterable

import msgspec

from ..core import names, policy, views
from ..core.full_views import FullPod, FullSpec, Namespace
from ..core.levels import Level, LevelVersion, Mode
from ..core.limits import Limits
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.text import quote, truncate_warnings
from ..core.views import Metadata, View, is_automounted
from . import rules, templates, validate
from .facts import Facts
from .rules import Violation

TEMPLATE_HASH = "pod-template-hash"  # apps/v1 DefaultDeploymentUniqueLabelKey
MAX_OWNERS = 3
CRITICAL = ("system-node-critical", "system-cluster-critical")
RELYING = (
    "complies by injection only, and is refused while boundtoken is away; where the cluster needs it to start, exclude its "
    "namespace (namespaces.excluded)"
)


class LabelledMetadata(Metadata, frozen=True):
    labels: dict[str, str] | None = None


class PodStatus(View, frozen=True):
    phase: str = ""


class ListedSpec(FullSpec, frozen=True):
    host_network: bool | None = None
    priority_class_name: str | None = None


class ListedPod(View, frozen=True):
    """A pod as a list shows it."""

    metadata: LabelledMetadata = LabelledMetadata()
    spec: ListedSpec = ListedSpec()
    status: PodStatus = PodStatus()

    @property
    def owner(self) -> str:
        """Whom to talk to about it: its Deployment, the controller that made it, or itself."""
        controller = self.metadata.controller
        if controller is None:
            return f"pod/{self.metadata.name}"
        suffix = "-" + (self.metadata.labels or {}).get(TEMPLATE_HASH, "")
        if controller.kind == "ReplicaSet" and len(suffix) > 1 and controller.name.endswith(suffix):
            return f"deployment/{controller.name.removesuffix(suffix)}"
        return f"{controller.kind.lower()}/{controller.name}"

    @property
    def is_of_the_cluster(self) -> bool:
        """Whether the cluster may need it to start anything else: network and storage drivers,
        meshes.
        """
        controller = self.metadata.controller
        return (
            bool(self.spec.host_network)
            or self.spec.priority_class_name in CRITICAL
            or (controller is not None and controller.kind == "DaemonSet")
        )

    @property
    def relies_on_injection(self) -> bool:
        """Whether its token is one that we gave it, so that without us its successor would have
        another.
        """
        return any(
            views.is_ours(volume)
            or (
                is_automounted(volume)
                and all(
                    each.expiration_seconds != names.YEAR_TRAP_SECONDS for each in volume.tokens
                )
            )
            for volume in self.spec.volumes or ()
        )


def changes(
    old: Namespace, new: Namespace, cluster: ClusterPolicy
) -> tuple[NamespacePolicy, tuple[Mode, ...]]:
    """What will hold in the namespace, and which of `enforce` and `warn` demand something new, or
    measure it anew.
    """
    before, after = (
        policy.resolve_namespace(cluster, policy.own_annotations(each.metadata.annotations))
        for each in (old, new)
    )
    found: dict[Mode, object] = {}
    for mode in ("enforce", "warn"):
        demanded = _requirement(mode, after, cluster)
        if (
            demanded is not None
            and demanded != _requirement(mode, before, cluster)
            and demanded not in found.values()
        ):
            found[mode] = demanded
    return after, tuple(found)


def _requirement(
    mode: Mode, layer: NamespacePolicy, cluster: ClusterPolicy
) -> tuple[LevelVersion, Level, Limits] | None:
    demand, floor = (
        layer.enforcement.of(mode),
        cluster.enforce_floor if mode == "enforce" else "off",
    )
    if (demand.level, floor) == ("off", "off"):
        return None
    return demand, floor, validate.limits_of(cluster, layer, demand.level, floor)


class Preview:
    """Takes the pods of one namespace as they come, and says what would fail under `modes`."""

    def __init__(
        self,
        namespace: str,
        cluster: ClusterPolicy,
        layer: NamespacePolicy,
        modes: tuple[Mode, ...],
        legacy_tokens: frozenset[str] | None = None,
    ) -> None:
        self._namespace = namespace
        self._cluster = cluster
        self._layer = layer
        self._legacy_tokens = legacy_tokens
        self._found: dict[Mode, dict[str, dict[str, int]]] = {mode: {} for mode in modes}
        """For each mode, what is wrong, and how many pods of which owner it is wrong with."""
        self._critical: dict[str, int] = {}
        self._relying: dict[str, int] = {}
        """How many pods of which owner comply by injection only; those that the cluster surely
        needs to start apart."""

    @property
    def finds_violations(self) -> bool:
        """Whether any pod would fail."""
        return any(self._found.values())

    def add(self, pods: Iterable[ListedPod]) -> None:
        """Judge these pods; those that have ended need no token any more."""
        for pod in pods:
            exempt = validate.exempt_by_pod(pod.spec, self._namespace, self._cluster)
            if pod.status.phase in ("Succeeded", "Failed") or exempt:
                continue
            looked = Facts(FullPod(pod.metadata, pod.spec))
            if "enforce" in self._found and pod.relies_on_injection:
                relying = self._critical if pod.is_of_the_cluster else self._relying
                relying[pod.owner] = relying.get(pod.owner, 0) + 1
            for mode, found in self._found.items():
                violations = validate.violations_of(
                    mode, looked, self._cluster, self._layer, self._legacy_tokens
                )
                for sentence in rules.sentences(map(_unnumbered, violations)):
                    owners = found.setdefault(sentence, {})
                    owners[pod.owner] = owners.get(pod.owner, 0) + 1

    def lines(self) -> list[str]:
        """What would fail, one line for each thing that is wrong."""
        said: list[str] = []
        for mode, found in self._found.items():
            if found:
                said.append(
                    f"existing pods in namespace {quote(self._namespace)} violate {self._level_version(mode)}"
                )
            said += [f"{_owners(owners)}: {sentence}" for sentence, owners in found.items()]
        for relying in (self._critical, self._relying):
            if relying:
                said.append(f"{_owners(relying)}: {RELYING}")
        return said

    def warnings(self, unseen: str = "") -> tuple[str, ...]:
        """The same as warnings; `unseen` says which pods nobody has looked at."""
        return truncate_warnings([*([unseen] if unseen else []), *self.lines()])

    def _level_version(self, mode: Mode) -> str:
        demand = self._layer.enforcement.of(mode)
        if demand.level == "off":
            return f'the cluster\'s enforceFloor "{self._cluster.enforce_floor}"'
        return f'the boundtoken {mode} level "{demand}"'


def _unnumbered(violation: Violation) -> Violation:
    """The same for all pods of an owner: the plugin's volume has a name of its own in each."""
    kind, name = violation.place
    if not name.startswith(names.AUTOMOUNTED_PREFIX):
        return violation
    return msgspec.structs.replace(violation, place=(kind, templates.AUTOMOUNTED))


def _owners(owners: dict[str, int]) -> str:
    shown = [
        f"{owner} ({count} pods)" if count > 1 else owner for owner, count in sorted(owners.items())
    ]
    more = len(shown) - MAX_OWNERS
    return ", ".join(shown[:MAX_OWNERS]) + (f" and {more} more" if more > 0 else "")
