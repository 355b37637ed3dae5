"""The kinds that reviews contain: one table for decoding, rules, metrics and the test of the
manifests.

A new workload kind is added here, in both webhook configurations and in docs/reference.md; a test
names the missing ones.
"""

from typing import NamedTuple

from . import full_views
from .full_views import FullWorkload, Validated
from .views import CronJob, Workload


class WorkloadKind(NamedTuple):
    """A kind with a pod template.

    Mutation decodes it as `view`, enforcement as `full_view`. `is_owned`: usually another workload
    creates it, and its annotations are read from that owner. `is_immutable`: its template cannot be
    changed by an update.
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
OTHERS: dict[tuple[str, str], tuple[str, type[Validated]]] = {
    ("", "Pod"): ("pods", full_views.FullPod),
    ("authentication.k8s.io", "TokenRequest"): ("serviceaccounts/token", full_views.TokenRequest),
    ("", "Secret"): ("secrets", full_views.Secret),
    ("", "Namespace"): ("namespaces", full_views.Namespace),
    ("", "ConfigMap"): ("configmaps", full_views.ConfigMap),
}
"""The other kinds that are validated: the resource, and its view."""

MUTATED = {(workload.group, workload.kind): workload.view for workload in WORKLOADS}
"""The views of mutation. Pods are not here, because they are decoded by another path."""
VIEWS: dict[tuple[str, str], type[Validated]] = {
    **{(workload.group, workload.kind): workload.full_view for workload in WORKLOADS},
    **{kind: view for kind, (_, view) in OTHERS.items()},
}
"""The views of enforcement."""
RESOURCES = frozenset(
    {
        "pods/ephemeralcontainers",
        *(workload.resource for workload in WORKLOADS),
        *(resource for resource, _ in OTHERS.values()),
    }
)
"""The resources of reviews, as the label of metrics."""
OWNED = frozenset((workload.group, workload.kind) for workload in WORKLOADS if workload.is_owned)
IMMUTABLE = frozenset(
    (workload.group, workload.kind) for workload in WORKLOADS if workload.is_immutable
)
