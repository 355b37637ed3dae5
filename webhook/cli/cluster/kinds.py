"""The kinds of objects that commands know by a word, and the names that objects may have."""

import re
from typing import NamedTuple

OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""A DNS subdomain, as the API server wants it; safe in a path and in a shell."""


class Kind(NamedTuple):
    """A kind that can be named: its API, its resource and its names."""

    kind: str
    api: str
    resource: str
    short: str

    def path(self, namespace: str, name: str = "") -> str:
        """Of one object, or of all; without a namespace of those in every namespace."""
        base = "/api/" if "/" not in self.api else "/apis/"
        within = f"namespaces/{namespace}/" if namespace else ""
        return f"{base}{self.api}/{within}{self.resource}" + f"/{name}" * bool(name)


KINDS = (
    Kind("Pod", "v1", "pods", "po"),
    Kind("Deployment", "apps/v1", "deployments", "deploy"),
    Kind("StatefulSet", "apps/v1", "statefulsets", "sts"),
    Kind("DaemonSet", "apps/v1", "daemonsets", "ds"),
    Kind("ReplicaSet", "apps/v1", "replicasets", "rs"),
    Kind("Job", "batch/v1", "jobs", "job"),
    Kind("CronJob", "batch/v1", "cronjobs", "cj"),
    Kind("ReplicationController", "v1", "replicationcontrollers", "rc"),
)
BY_KIND = {kind.kind: kind for kind in KINDS}
BY_WORD = {word: kind for kind in KINDS for word in (kind.kind.lower(), kind.resource, kind.short)}
