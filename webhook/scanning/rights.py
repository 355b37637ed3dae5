"""Who may get tokens of others, by RBAC: request them, create or change what has them, read
Secrets, act as others, or give itself such a right.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..core.kinds import WORKLOADS
from ..tokens.rbac.grants import ACCOUNT, REQUEST_TOKENS, Permission, role_of, subject_in
from ..tokens.rbac.objects import Binding, Role, Subject
from .report import Minter

EVERYWHERE = "*"
RBAC = "rbac.authorization.k8s.io"


class Right(NamedTuple):
    """What gives tokens of others to who has one of these permissions. `is_of_cluster` is of what
    has no namespace, so that a RoleBinding does not grant it.
    """

    text: str
    permissions: tuple[Permission, ...]
    is_of_cluster: bool = False


def _right(verb: str, group: str, resource: str, **given: bool) -> Right:
    permission = Permission(verb, group, resource)
    return Right(permission.text, (permission,), **given)


def _change(group: str, resource: str, subresource: str = "") -> Right:
    update, patch = (Permission(verb, group, resource, subresource) for verb in ("update", "patch"))
    return Right(f"change {update.text.partition(' ')[2]}", (update, patch))


def _creation(group: str, resource: str) -> Right:
    permission = Permission("create", group, resource, is_named=False)
    return Right(permission.text, (permission,))


MAKERS = tuple(_creation(workload.group, workload.resource) for workload in WORKLOADS)
CHANGES = tuple(_change(workload.group, workload.resource) for workload in WORKLOADS)
RIGHTS = (
    Right(REQUEST_TOKENS.text, (REQUEST_TOKENS,)),
    _creation("", "pods"),
    *MAKERS,
    *CHANGES,
    _change("", "pods", "ephemeralcontainers"),
    # A running pod takes another image, which then runs with its token.
    _change("", "pods"),
    _right("get", "", "secrets"),
    # With resourceNames these are granted to who selects the name.
    _right("list", "", "secrets"),
    _right("watch", "", "secrets"),
    # The answer to a patch that changes nothing has the whole Secret.
    _change("", "secrets"),
    _right("impersonate", "", "serviceaccounts"),
    # The name of a user may be that of a service account.
    _right("impersonate", "", "users", is_of_cluster=True),
    # Who has these may give itself the others.
    _right("escalate", RBAC, "roles"),
    _right("escalate", RBAC, "clusterroles", is_of_cluster=True),
    _right("bind", RBAC, "roles"),
    _right("bind", RBAC, "clusterroles"),
)
"""Each gives tokens of other service accounts to who has it, or all that they may. Who may create
or change a workload may create pods by it; `change` is update or patch.

Source: kubernetes/pkg/registry/rbac/escalation_check.go (escalate, bind), apiserver
pkg/endpoints/filters/impersonation.go.
"""
FOLDED = {
    "create workloads": frozenset(right.text for right in MAKERS),
    "change workloads": frozenset(right.text for right in CHANGES),
}
"""One word for all kinds of workloads."""
ALL = "all of these rights"
MAX_MISSING = 50
MAX_NAMES = 5
"""Of objects in one sentence."""

Allowed = tuple[tuple[str, bool], ...]
"""In words, and whether it is of what has no namespace."""


class Rights:
    """Roles first, then bindings. Only what a role allows of RIGHTS is kept. `namespaces` are
    those that are looked at, None for all.
    """

    def __init__(self, namespaces: frozenset[str] | None = None) -> None:
        self._namespaces = namespaces
        self._roles: dict[tuple[str, str], Allowed] = {}
        self._minters: list[Minter] = []
        self._seen: set[tuple[str, str]] = set()
        self.missing: dict[str, None] = {}
        """Roles that are bound and were not added, at most MAX_MISSING."""

    def add_role(self, role: Role) -> None:
        self._seen.add((role.metadata.namespace, role.metadata.name))
        if found := tuple(dict.fromkeys(_allowed(role))):
            self._roles[role.metadata.namespace, role.metadata.name] = found

    def add_binding(self, binding: Binding) -> None:
        namespace, key = binding.metadata.namespace, role_of(binding)
        found = self._roles.get(key, ()) if key is not None else ()
        allowed = [text for text, is_of_cluster in found if not (namespace and is_of_cluster)]
        if key is not None and key not in self._seen and len(self.missing) < MAX_MISSING:
            self.missing[f"{'role' if key[0] else 'clusterrole'}/{key[1]}"] = None
        if not allowed or not self._is_chosen(namespace):
            return
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        title = f"{kind} {namespace}/{binding.metadata.name}"
        by = title if namespace else f"{kind} {binding.metadata.name}"
        for subject in binding.subjects or ():
            if (meant := subject_in(subject, namespace)) is not None:
                self._minters.append(
                    Minter(namespace or EVERYWHERE, _title(meant), _folded(allowed), by)
                )

    def _is_chosen(self, namespace: str) -> bool:
        return not namespace or self._namespaces is None or namespace in self._namespaces

    @property
    def minters(self) -> tuple[Minter, ...]:
        """Those of the whole cluster first."""
        unique = dict.fromkeys(self._minters)
        return tuple(sorted(unique, key=lambda one: (one.namespace, one.subject, one.by)))


def _allowed(role: Role) -> Iterator[tuple[str, bool]]:
    for right in RIGHTS:
        rules = [
            rule
            for rule in role.rules or ()
            if any(permission.granted_by(rule) for permission in right.permissions)
        ]
        if any(not rule.resource_names for rule in rules):
            yield right.text, right.is_of_cluster
        elif rules:
            names = dict.fromkeys(name for rule in rules for name in rule.resource_names or ())
            yield f"{right.text} ({_listed(list(names))})", right.is_of_cluster


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _folded(allowed: Iterable[str]) -> tuple[str, ...]:
    """With one word for all workloads, where every kind of them is allowed."""
    found = tuple(allowed)
    for word, texts in FOLDED.items():
        if texts <= set(found):
            found = tuple(dict.fromkeys(word if one in texts else one for one in found))
    return found


EVERYTHING = _folded(right.text for right in RIGHTS)


def in_short(can: tuple[str, ...]) -> str:
    """What somebody may, on a line."""
    return ALL if set(EVERYTHING) <= set(can) else ", ".join(can)


def _title(subject: Subject) -> str:
    name = f"{subject.namespace}/{subject.name}" if subject.kind == ACCOUNT else subject.name
    return f"{subject.kind} {name}"


_CONTROLLERS = (
    "clusterrole-aggregation-controller", "cronjob-controller", "daemon-set-controller", "deployment-controller",
    "generic-garbage-collector", "job-controller", "legacy-service-account-token-cleaner", "namespace-controller",
    "persistent-volume-binder", "replicaset-controller", "replication-controller", "resourcequota-controller",
    "statefulset-controller", "storage-version-migrator-controller",
)  # fmt: skip
OF_KUBERNETES = {
    ("ClusterRoleBinding cluster-admin", "Group system:masters"),
    ("ClusterRoleBinding system:kube-controller-manager", "User system:kube-controller-manager"),
    *(
        (f"ClusterRoleBinding system:controller:{name}", f"{ACCOUNT} kube-system/{name}")
        for name in _CONTROLLERS
    ),
    *(
        (f"RoleBinding kube-system/system:controller:{name}", f"{ACCOUNT} kube-system/{name}")
        for name in ("bootstrap-signer", "token-cleaner")
    ),
}
"""What the API server binds when it starts, of that which gives any of RIGHTS: binding and subject.
Each by its name: anybody may give a RoleBinding a name that begins with `system:`, and the label of
what the API server makes (`kubernetes.io/bootstrapping`).

Source: kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata (1.37).
"""


def is_of_kubernetes(minter: Minter) -> bool:
    """Whether the API server itself gave these rights, to a controller of the control plane or to
    the administrators of the cluster.
    """
    return (minter.by, minter.subject) in OF_KUBERNETES
