"""Who may get tokens of others, by RBAC: request them, create what has them, or read Secrets."""

from collections.abc import Iterable, Iterator

from ..core.kinds import WORKLOADS
from ..tokens.rbac.grants import ACCOUNT, REQUEST_TOKENS, Permission, role_of, subject_in
from ..tokens.rbac.objects import Binding, Role, Subject
from .report import Minter

EVERYWHERE = "*"
CREATE_PODS = Permission("create", "", "pods", is_named=False)
SECRETS = (
    Permission("get", "", "secrets"),
    # With resourceNames these are granted to who selects the name.
    Permission("list", "", "secrets"),
    Permission("watch", "", "secrets"),
)
MAKERS = tuple(
    Permission("create", workload.group, workload.resource, is_named=False)
    for workload in WORKLOADS
)
PERMISSIONS = (REQUEST_TOKENS, CREATE_PODS, *MAKERS, *SECRETS)
"""Each gives tokens of other service accounts to who has it. Who may create a workload may create
pods by it."""
MAX_MISSING = 50
MAX_NAMES = 5
"""Of objects in one sentence."""

Allowed = tuple[str, ...]


class Rights:
    """Roles first, then bindings. Only what a role allows of PERMISSIONS is kept. `namespaces` are
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
        allowed = self._roles.get(key, ()) if key is not None else ()
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


def _allowed(role: Role) -> Iterator[str]:
    for permission in PERMISSIONS:
        rules = [rule for rule in role.rules or () if permission.granted_by(rule)]
        if any(not rule.resource_names for rule in rules):
            yield permission.text
        elif rules:
            names = dict.fromkeys(name for rule in rules for name in rule.resource_names or ())
            yield f"{permission.text} ({_listed(list(names))})"


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _folded(allowed: Iterable[str]) -> Allowed:
    """With one word for all workloads, where every kind of them may be created."""
    makers = {permission.text for permission in MAKERS}
    found = list(allowed)
    if not makers <= set(found):
        return tuple(found)
    return tuple(dict.fromkeys("create workloads" if one in makers else one for one in found))


def _title(subject: Subject) -> str:
    name = f"{subject.namespace}/{subject.name}" if subject.kind == ACCOUNT else subject.name
    return f"{subject.kind} {name}"


OF_KUBERNETES = (
    "Group system:masters",
    "Group system:nodes",
    "User system:kube-controller-manager",
    "User system:kube-scheduler",
)
"""Besides the service accounts of kube-system."""


def is_of_kubernetes(minter: Minter) -> bool:
    """Whether it is the control plane's own, by a binding that the API server makes: a controller,
    a node, an administrator by default (plugin/pkg/auth/authorizer/rbac/bootstrappolicy).
    """
    _, _, binding = minter.by.partition(" ")
    is_made = binding == "cluster-admin" or binding.partition("/")[2].startswith("system:")
    is_made = is_made or binding.startswith("system:")
    return is_made and (
        minter.subject in OF_KUBERNETES or minter.subject.startswith(f"{ACCOUNT} kube-system/")
    )
