"""What is known of a namespace, and what is counted of its pods and templates."""

import dataclasses

from ..core import levels, policy
from ..core.policy import ClusterPolicy
from ..simulation.admission import Admission
from .report import Level, Namespace, lowest
from .tokens import Judge, Tokens

MAX_FAULTS = 8
"""Told of one namespace."""


@dataclasses.dataclass(slots=True)
class Space:
    """A namespace. `is_known` is False where its annotations may not be read: what its pods would
    get is then not told.
    """

    name: str
    labels: dict[str, str] | None
    admission: Admission
    judge: Judge
    is_known: bool
    why: str
    pods: int = 0
    tokens: int = 0
    year_long: int = 0
    level: Level = "strict"
    after_restart: Level = "strict"

    @property
    def inject(self) -> str:
        resolved = self.admission.namespace.resolution.policy
        return resolved.inject if self.is_known else ""

    @property
    def enforce(self) -> str:
        """The level that is enforced; empty for none."""
        own, floor = self.admission.namespace.enforcement.enforce.level, self.admission.cluster
        level = levels.stricter(own, floor.enforce_floor)
        return "" if level == "off" else level

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong in its annotations."""
        found = self.admission.namespace.resolution.faults
        return tuple(str(fault) for fault in found[:MAX_FAULTS])

    def count(self, found: Tokens, *, year_long: int) -> None:
        """Count the tokens of a pod or of a template."""
        self.tokens += len(found.tokens)
        self.year_long += year_long
        self.level = lowest(self.level, found.level)

    def foresee(self, found: Tokens) -> None:
        """Count what a pod would get now."""
        self.after_restart = lowest(self.after_restart, found.level)

    def told(self) -> Namespace:
        resolved = self.admission.namespace.resolution.policy
        automount = "enabled" if resolved.automount else "disabled"
        return Namespace(
            self.name,
            self.inject,
            automount if self.is_known else "",
            self.level,
            self.after_restart,
            self.enforce,
            not self.why,
            self.why,
            self.pods,
            self.tokens,
            self.year_long,
            self.faults,
        )


def admission_in(
    name: str, cluster: ClusterPolicy, annotations: dict[str, str] | None
) -> Admission:
    """Admission in a namespace with these annotations; as without any where they are not known."""
    own = policy.namespace_annotations(annotations)
    return Admission(name, cluster, policy.resolve_namespace(cluster, own))
