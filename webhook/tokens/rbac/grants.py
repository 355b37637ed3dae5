"""Who may request tokens of service accounts, or do anything else, by RBAC. Pure.

`create serviceaccounts/token` can be granted by many spellings; each one here was compared with a
1.37 API server's answers. `serviceaccounts/*` is none of them: RBAC knows no such wildcard.
Source: kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go and pkg/registry/rbac/validation/rule.go.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .objects import ALL, Binding, Objects, Role, Rule, Subject

VERB, API_GROUP, RESOURCE, SUBRESOURCE = "create", "", "serviceaccounts", "token"
COMBINED = f"{RESOURCE}/{SUBRESOURCE}"
LOOKALIKE = f"{RESOURCE}/*"
SUPERUSERS = "system:masters"
"""The group that the API server lets do everything before it looks at any role."""
USER, GROUP, ACCOUNT = "User", "Group", "ServiceAccount"
ACCOUNT_PREFIX = "system:serviceaccount:"


class Permission(NamedTuple):
    """What a request needs. `is_named`: the request names its object before it is authorized, so
    that a rule with `resourceNames` can grant it.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""
    is_named: bool = True

    @property
    def text(self) -> str:
        return f"{self.verb} {self.resource}" + f"/{self.subresource}" * bool(self.subresource)

    def granted_by(self, rule: Rule) -> bool:
        """Whether this rule of a role grants it, of an object at least."""
        return (
            _matches(rule.verbs, self.verb)
            and _matches(rule.api_groups, self.group)
            and self._is_for(rule.resources or ())
            and (self.is_named or not rule.resource_names)
        )

    def _is_for(self, resources: Iterable[str]) -> bool:
        combined = self.text.partition(" ")[2]
        return any(
            one in (ALL, combined) or (self.subresource and one == f"{ALL}/{self.subresource}")
            for one in resources
        )


REQUEST_TOKENS = Permission(VERB, API_GROUP, RESOURCE, SUBRESOURCE)


class Grant(NamedTuple):
    """A subject may request tokens: of `accounts`, or of all where there are none, in `namespace`,
    or everywhere where that is empty. `wildcards` says which parts of the rule are `*`.
    """

    subject: Subject
    namespace: str
    accounts: tuple[str, ...]
    binding: Binding
    role: Role
    rule: Rule
    wildcards: tuple[str, ...]

    def is_for(self, namespace: str, account: str) -> bool:
        """Whether it lets request tokens of an account."""
        return self.namespace in ("", namespace) and (not self.accounts or account in self.accounts)


class Review(NamedTuple):
    """All grants. `unbound` are the roles that would grant and are bound to nobody, `lookalikes`
    those that seem to grant and do not.
    """

    grants: tuple[Grant, ...]
    unbound: tuple[Role, ...]
    lookalikes: tuple[Role, ...]


def review(objects: Objects) -> Review:
    """Every grant, those of the whole cluster first."""
    roles = {(role.metadata.namespace, role.metadata.name): role for role in objects.roles}
    granting = {
        key: rules for key, role in roles.items() if (rules := tuple(_granting_rules(role)))
    }
    grants = [grant for binding in objects.bindings for grant in _grants(binding, roles, granting)]
    grants.sort(key=_order)
    lookalikes = [
        role for key, role in roles.items() if key not in granting and _is_lookalike(role)
    ]
    bound = {(grant.role.metadata.namespace, grant.role.metadata.name) for grant in grants}
    unbound = [roles[key] for key in sorted(granting) if key not in bound]
    return Review(tuple(grants), tuple(unbound), tuple(lookalikes))


def applies(subject: Subject, requester: Subject) -> bool:
    """Whether a binding's subject means this requester: itself, or a group that it is surely in.

    The groups of a User are those that its credentials say, which nobody can look up.
    """
    return (
        (subject.kind, subject.namespace, subject.name)
        == (requester.kind, requester.namespace, requester.name)
        or (subject.kind, subject.name) in _aliases(requester)
        # A binding to an account is compared with the name of the user alone.
        or (subject.kind == ACCOUNT and requester == Subject(USER, _user(subject)))
    )


def _user(account: Subject) -> str:
    return f"{ACCOUNT_PREFIX}{account.namespace}:{account.name}"


def _aliases(requester: Subject) -> Iterator[tuple[str, str]]:
    if requester.kind == ACCOUNT:
        yield USER, _user(requester)
        yield GROUP, "system:serviceaccounts"
        yield GROUP, f"system:serviceaccounts:{requester.namespace}"
        yield GROUP, "system:authenticated"
    elif requester == Subject(USER, "system:anonymous"):
        yield GROUP, "system:unauthenticated"
    elif requester != Subject(GROUP, "system:unauthenticated"):
        yield GROUP, "system:authenticated"  # also each member of a group
        if requester.kind == GROUP and requester.name.startswith("system:serviceaccounts:"):
            yield GROUP, "system:serviceaccounts"


def _grants(
    binding: Binding,
    roles: Mapping[tuple[str, str], Role],
    granting: Mapping[tuple[str, str], tuple[Rule, ...]],
) -> Iterator[Grant]:
    namespace = binding.metadata.namespace
    key = role_of(binding)
    if key is None:
        return
    for rule in granting.get(key, ()):
        for subject in binding.subjects or ():
            if (meant := subject_in(subject, namespace)) is not None:
                yield Grant(
                    meant,
                    namespace,
                    tuple(rule.resource_names or ()),
                    binding,
                    roles[key],
                    rule,
                    _wildcards(rule),
                )


def role_of(binding: Binding) -> tuple[str, str] | None:
    """Namespace and name of the role of a binding; None where there can be none."""
    namespace = binding.metadata.namespace
    if binding.role_ref.kind == "ClusterRole":
        return "", binding.role_ref.name
    # A ClusterRoleBinding can only name a ClusterRole.
    return (namespace, binding.role_ref.name) if namespace else None


def subject_in(subject: Subject, namespace: str) -> Subject | None:
    """The subject of a binding in this namespace, with its own; None for one that means nobody."""
    if subject.kind == ACCOUNT:
        of = subject.namespace or namespace
        return Subject(ACCOUNT, subject.name, of) if of else None
    if subject.kind in (USER, GROUP):
        return Subject(subject.kind, subject.name)
    return None


def _granting_rules(role: Role) -> Iterator[Rule]:
    return (rule for rule in role.rules or () if REQUEST_TOKENS.granted_by(rule))


def _matches(values: Iterable[str] | None, value: str) -> bool:
    return any(one in (ALL, value) for one in values or ())


def _wildcards(rule: Rule) -> tuple[str, ...]:
    found = []
    if ALL in (rule.verbs or ()):
        found.append("verbs")
    if ALL in (rule.api_groups or ()):
        found.append("apiGroups")
    if COMBINED not in (rule.resources or ()):
        found.append("resources")
    return tuple(found)


def _is_lookalike(role: Role) -> bool:
    return any(
        _matches(rule.verbs, VERB)
        and _matches(rule.api_groups, API_GROUP)
        and LOOKALIKE in (rule.resources or ())
        for rule in role.rules or ()
    )


def _order(grant: Grant) -> tuple[str, ...]:
    subject, binding = grant.subject, grant.binding.metadata
    return (
        grant.namespace,
        subject.kind,
        subject.namespace,
        subject.name,
        binding.name,
        *grant.accounts,
    )
