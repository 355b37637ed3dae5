"""The kinds that reviews are about: the one table that decoding, rules, metrics and the manifests'
test follow.

A workload kind is added here, in both webhook configurations and in docs/reference.md; a test names
what is missing.
"""

from typing import NamedTuple

from . import full_views
from .full_views import FullWorkload, Judged
from .views import CronJob, Workload


class WorkloadKind(NamedTuple):
    """A kind with a pod template.

    `view` is how injection reads it, `full_view` how enforcement does; `is_owned` where another
    workload usually made it, so that its annotations are its owner's affair; `is_immutable` where
    the template cannot change once it is there.
    """

    group: str
    kind: str
    resource: str
    view: type[Workload | CronJob] = Workload
    full_view: type[FullWorkload] = FullWorkload
    is_owned: bool = False
    is_immutable: bool = False


WORKLOADS = (
    WorkloadKind("apps", "Deployment", "deployments"),
    WorkloadKind("apps", "StatefulSet", "statefulsets"),
    WorkloadKind("apps", "DaemonSet", "daemonsets"),
    WorkloadKind("apps", "ReplicaSet", "replicasets", is_owned=True),
    WorkloadKind("batch", "Job", "jobs", is_owned=True, is_immutable=True),
    WorkloadKind("batch", "CronJob", "cronjobs", view=CronJob),
)
OTHERS: dict[tuple[str, str], tuple[str, type[Judged]]] = {
    ("", "Pod"): ("pods", full_views.FullPod),
    ("authentication.k8s.io", "TokenRequest"): ("serviceaccounts/token", full_views.TokenRequest),
    ("", "Secret"): ("secrets", full_views.Secret),
    ("", "Namespace"): ("namespaces", full_views.Namespace),
}
"""What else is judged: the resource, and how it is read."""

MUTATED = {(each.group, each.kind): each.view for each in WORKLOADS}
"""How injection reads a workload; pods have a way of their own."""
VIEWS: dict[tuple[str, str], type[Judged]] = {
    **{(each.group, each.kind): each.full_view for each in WORKLOADS},
    **{kind: view for kind, (_, view) in OTHERS.items()},
}
"""How enforcement reads what it judges."""
RESOURCES = frozenset(
    {
        "pods/ephemeralcontainers",
        *(each.resource for each in WORKLOADS),
        *(resource for resource, _ in OTHERS.values()),
    }
)
"""What a review may be about, as metrics call it."""
OWNED = frozenset((each.group, each.kind) for each in WORKLOADS if each.is_owned)
IMMUTABLE = frozenset((each.group, each.kind) for each in WORKLOADS if each.is_immutable)
