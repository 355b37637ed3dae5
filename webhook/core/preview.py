"""What a change of a namespace's demands would mean for the pods that are there: grouped, each thing said once.

In the manner of Pod Security admission, which answers a change of its labels with such warnings; nothing is denied.
"""

from collections.abc import Iterable

import msgspec

from . import expected, names, policy, rules
from .demands import Demand, Mode
from .enforcement import exempt_by_pod
from .finals import FinalPod, FinalSpec, LabelledMetadata, Namespace
from .pods import View
from .policy import ClusterLayer, NamespaceLayer
from .rules import Bounds, Finding
from .text import limited, quoted

TEMPLATE_HASH = "pod-template-hash"  # apps/v1 DefaultDeploymentUniqueLabelKey
MAX_OWNERS = 3


class PodStatus(View, frozen=True):
    phase: str = ""


class ListedPod(View, frozen=True):
    """A pod as a list shows it."""

    metadata: LabelledMetadata = LabelledMetadata()
    spec: FinalSpec = FinalSpec()
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


Change = tuple[Mode, Demand]


def changes(old: Namespace, new: Namespace, cluster: ClusterLayer) -> tuple[NamespaceLayer, tuple[Change, ...]]:
    """What will hold in the namespace, and which demands of `enforce` and `warn` are new or measured anew."""
    before, after = (policy.resolve_namespace(cluster, policy.steering(each.metadata.annotations)) for each in (old, new))
    found: list[Change] = []
    for mode in ("enforce", "warn"):
        demand = after.demands.of(mode)
        is_new = demand != before.demands.of(mode) or after.locks != before.locks
        if demand.level != "off" and is_new and demand not in [each for _, each in found]:
            found.append((mode, demand))
    return after, tuple(found)


class Preview:
    """Takes pods as they come, and says what would fail."""

    def __init__(self, namespace: str, cluster: ClusterLayer, bounds: Bounds, changed: tuple[Change, ...]) -> None:
        self._namespace = namespace
        self._cluster = cluster
        self._bounds = bounds
        self._found: dict[Change, dict[str, dict[str, int]]] = {change: {} for change in changed}
        """For each change, what is wrong, and how many pods of which owner it is wrong with."""

    def add(self, pods: Iterable[ListedPod]) -> None:
        """Judge these pods; those that have ended need no token any more."""
        for pod in pods:
            if pod.status.phase in ("Succeeded", "Failed") or exempt_by_pod(pod.spec, self._namespace, self._cluster):
                continue
            final = FinalPod(pod.metadata, pod.spec)
            for change, found in self._found.items():
                findings = [_unnumbered(each) for each in rules.evaluate(final, change[1], self._bounds)]
                for sentence in rules.sentences(findings):
                    owners = found.setdefault(sentence, {})
                    owners[pod.owner] = owners.get(pod.owner, 0) + 1

    def warnings(self, unseen: str = "") -> tuple[str, ...]:
        """What to tell; `unseen` says which pods nobody has looked at."""
        said: list[str] = []
        for (mode, demand), found in self._found.items():
            if found:
                said.append(
                    f'existing pods in namespace {quoted(self._namespace)} violate the new boundtoken {mode} level "{demand}"'
                )
            said += [f"{_owners(owners)}: {sentence}" for sentence, owners in found.items()]
        return limited([*([unseen] if unseen else []), *said])


def _unnumbered(finding: Finding) -> Finding:
    """The same for all pods of an owner: the plugin's volume has a name of its own in each."""
    kind, name = finding.place
    if not name.startswith(names.AUTOMOUNTED_PREFIX):
        return finding
    return msgspec.structs.replace(finding, place=(kind, expected.AUTOMOUNTED))


def _owners(owners: dict[str, int]) -> str:
    shown = [f"{owner} ({count} pods)" if count > 1 else owner for owner, count in sorted(owners.items())]
    more = len(shown) - MAX_OWNERS
    return ", ".join(shown[:MAX_OWNERS]) + (f" and {more} more" if more > 0 else "")
