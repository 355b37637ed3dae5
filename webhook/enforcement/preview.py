"""Preview what a change of a namespace's levels means for its existing pods, grouped by problem.

Pod Security admission answers a change of its labels with the same kind of warnings. Nothing is
denied.
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
    """A pod as it is listed."""

    metadata: LabelledMetadata = LabelledMetadata()
    spec: ListedSpec = ListedSpec()
    status: PodStatus = PodStatus()

    @property
    def owner(self) -> str:
        """The object that people would edit: its Deployment, its controller, or the pod itself."""
        controller = self.metadata.controller
        if controller is None:
            return f"pod/{self.metadata.name}"
        suffix = "-" + (self.metadata.labels or {}).get(TEMPLATE_HASH, "")
        if controller.kind == "ReplicaSet" and len(suffix) > 1 and controller.name.endswith(suffix):
            return f"deployment/{controller.name.removesuffix(suffix)}"
        return f"{controller.kind.lower()}/{controller.name}"

    @property
    def is_of_the_cluster(self) -> bool:
        """Whether other pods may depend on it to start: network and storage drivers, meshes."""
        controller = self.metadata.controller
        return (
            bool(self.spec.host_network)
            or self.spec.priority_class_name in CRITICAL
            or (controller is not None and controller.kind == "DaemonSet")
        )

    @property
    def relies_on_injection(self) -> bool:
        """Whether its token comes from injection, so that a replacement pod would not comply if
        boundtoken were down.
        """
        return any(
            views.is_ours(volume)
            or (
                is_automounted(volume)
                and all(
                    token.expiration_seconds != names.YEAR_TRAP_SECONDS for token in volume.tokens
                )
            )
            for volume in self.spec.volumes or ()
        )


def changes(
    old: Namespace, new: Namespace, cluster: ClusterPolicy
) -> tuple[NamespacePolicy, tuple[Mode, ...]]:
    """Return the new policy of the namespace, and those of the modes `enforce` and `warn` whose
    level or limits change.
    """
    before, after = (
        policy.resolve_namespace(cluster, policy.own_annotations(namespace.metadata.annotations))
        for namespace in (old, new)
    )
    found: dict[Mode, object] = {}
    for mode in ("enforce", "warn"):
        requirement = _requirement(mode, after, cluster)
        # If both modes require the same, the preview for enforce says it all.
        if (
            requirement is not None
            and requirement != _requirement(mode, before, cluster)
            and requirement not in found.values()
        ):
            found[mode] = requirement
    return after, tuple(found)


def _requirement(
    mode: Mode, namespace: NamespacePolicy, cluster: ClusterPolicy
) -> tuple[LevelVersion, Level, Limits] | None:
    """Return what a mode requires of pods, or None if it requires nothing."""
    own, floor = (
        namespace.enforcement.of(mode),
        cluster.enforce_floor if mode == "enforce" else "off",
    )
    if (own.level, floor) == ("off", "off"):
        return None
    return own, floor, validate.limits_of(cluster, namespace, own.level, floor)


class Preview:
    """Collects the pods of one namespace, page by page, and what would violate `modes`."""

    def __init__(
        self,
        name: str,
        cluster: ClusterPolicy,
        namespace: NamespacePolicy,
        modes: tuple[Mode, ...],
        legacy_tokens: frozenset[str] | None = None,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._namespace = namespace
        self._legacy_tokens = legacy_tokens
        self._found: dict[Mode, dict[str, dict[str, int]]] = {mode: {} for mode in modes}
        """For each mode and each violation: how many pods of which owner have it."""
        self._critical: dict[str, int] = {}
        self._relying: dict[str, int] = {}
        """How many pods of which owner comply by injection only. The first have the pods that other
        pods may depend on to start."""

    @property
    def finds_violations(self) -> bool:
        """Whether any pod has a violation."""
        return any(self._found.values())

    def add(self, pods: Iterable[ListedPod]) -> None:
        """Evaluate these pods. Pods that have ended use no token any more, and are skipped."""
        for pod in pods:
            exempt = validate.exempt_by_pod(pod.spec, self._name, self._cluster)
            if pod.status.phase in ("Succeeded", "Failed") or exempt:
                continue
            facts = Facts(FullPod(pod.metadata, pod.spec))
            if "enforce" in self._found and pod.relies_on_injection:
                relying = self._critical if pod.is_of_the_cluster else self._relying
                relying[pod.owner] = relying.get(pod.owner, 0) + 1
            for mode, found in self._found.items():
                violations = validate.violations_of(
                    mode, facts, self._cluster, self._namespace, self._legacy_tokens
                )
                for sentence in rules.sentences(map(_unnumbered, violations)):
                    owners = found.setdefault(sentence, {})
                    owners[pod.owner] = owners.get(pod.owner, 0) + 1

    def lines(self) -> list[str]:
        """Return one line for each violation."""
        lines: list[str] = []
        for mode, found in self._found.items():
            if found:
                lines.append(
                    f"existing pods in namespace {quote(self._name)} violate {self._level_version(mode)}"
                )
            lines += [f"{_owners(owners)}: {sentence}" for sentence, owners in found.items()]
        for relying in (self._critical, self._relying):
            if relying:
                lines.append(f"{_owners(relying)}: {RELYING}")
        return lines

    def warnings(self, unseen: str = "") -> tuple[str, ...]:
        """Return the same as warnings. `unseen` says which pods were not evaluated."""
        return truncate_warnings([*([unseen] if unseen else []), *self.lines()])

    def _level_version(self, mode: Mode) -> str:
        own = self._namespace.enforcement.of(mode)
        if own.level == "off":
            return f'the cluster\'s enforceFloor "{self._cluster.enforce_floor}"'
        return f'the boundtoken {mode} level "{own}"'


def _unnumbered(violation: Violation) -> Violation:
    """Make a violation equal for all pods of an owner: the plugin's volume has another name in
    each.
    """
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
