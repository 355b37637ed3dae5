"""The rights of our service account, by the roles that are bound to it."""

from collections.abc import Iterator
from urllib.parse import quote

from ...checks.facts import Granted, Right
from ...checks.model import Unseen
from ...core import names
from ...errors import NotFound
from ...tokens.rbac.grants import ACCOUNT, applies, subject_in
from ...tokens.rbac.objects import GROUP_PATH, Binding, Role, Rule, Subject
from ..cluster.reader import Reader

MAX_PAGES = 800
"""200,000 bindings; a cluster with 10,000 namespaces has about 50,000."""
MAX_RIGHTS = 10_000
"""Of one role: more than any has."""


async def rights(reader: Reader, own: str) -> tuple[Granted, ...] | Unseen:
    """Each right with the binding that gives it."""
    account = Subject(ACCOUNT, names.APP, own)
    found: list[Granted] = []
    for resource in ("clusterrolebindings", "rolebindings"):
        path = f"{GROUP_PATH}/{resource}"
        bindings = await reader.list(path, Binding, resource, max_pages=MAX_PAGES)
        if bindings is None:
            return Unseen(reader.unread[resource])
        for binding in bindings:
            if binds(binding, account):
                role = await _role(reader, binding)
                if isinstance(role, Unseen):
                    return role
                found += list(_granted(binding, role)) if role is not None else []
    return tuple(found)


def binds(binding: Binding, account: Subject) -> bool:
    """Whether it is for the account, or for a group that it is surely in."""
    subjects = (
        subject_in(subject, binding.metadata.namespace) for subject in binding.subjects or ()
    )
    return any(subject is not None and applies(subject, account) for subject in subjects)


async def _role(reader: Reader, binding: Binding) -> Role | Unseen | None:
    name = quote(binding.role_ref.name, safe="")
    resource, path = "clusterroles", f"{GROUP_PATH}/clusterroles/{name}"
    if binding.role_ref.kind != "ClusterRole":
        namespace = quote(binding.metadata.namespace, safe="")
        resource, path = "roles", f"{GROUP_PATH}/namespaces/{namespace}/roles/{name}"
    try:
        role = await reader.get(path, Role, resource)
    except NotFound:
        return None
    return Unseen(reader.unread[resource]) if role is None else role


def _granted(binding: Binding, role: Role) -> Iterator[Granted]:
    namespace = binding.metadata.namespace
    kind = "rolebinding" if namespace else "clusterrolebinding"
    title = f"{kind}/{binding.metadata.name}"
    count = 0
    for rule in role.rules or ():
        for right in _rights(rule, namespace):
            count += 1
            if count > MAX_RIGHTS:
                return
            yield Granted(right, title)


def _rights(rule: Rule, namespace: str) -> Iterator[Right]:
    for verb in rule.verbs or ():
        # A RoleBinding grants no path (Kubernetes, "Using RBAC Authorization").
        for path in () if namespace else rule.non_resource_urls or ():
            yield Right(verb, "", path)
        for group in rule.api_groups or ():
            for resource in rule.resources or ():
                for name in rule.resource_names or ("",):
                    yield Right(verb, group, resource, name, namespace)
