"""Roles and bindings as RBAC evaluates them. Pure.

Source of the evaluation: kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go and
pkg/registry/rbac/validation/rule.go (1.37).
"""

from typing import NamedTuple

import msgspec

GROUP_PATH = "/apis/rbac.authorization.k8s.io/v1"
ALL = "*"


class Rule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A rule of a role."""

    verbs: tuple[str, ...] | None = ()
    api_groups: tuple[str, ...] | None = ()
    resources: tuple[str, ...] | None = ()
    resource_names: tuple[str, ...] | None = ()
    non_resource_urls: tuple[str, ...] | None = msgspec.field(name="nonResourceURLs", default=())


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a binding is for: a User, Group or ServiceAccount."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class Reference(msgspec.Struct, frozen=True):
    """The role of a binding."""

    kind: str = ""
    name: str = ""


class Metadata(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class AggregationRule(msgspec.Struct, frozen=True):
    """The controller manager keeps the rules of such a ClusterRole."""


class Role(msgspec.Struct, frozen=True, rename="camel"):
    """A Role or a ClusterRole; the latter has no namespace."""

    metadata: Metadata = Metadata()
    rules: tuple[Rule, ...] | None = ()
    aggregation_rule: AggregationRule | None = None


class Binding(msgspec.Struct, frozen=True, rename="camel"):
    """A RoleBinding or a ClusterRoleBinding; the latter has no namespace."""

    metadata: Metadata = Metadata()
    role_ref: Reference = Reference()
    subjects: tuple[Subject, ...] | None = ()


class Unread(NamedTuple):
    """What could not be read, and why."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class Objects(NamedTuple):
    """The RBAC objects of a cluster, or those that count in one namespace."""

    roles: tuple[Role, ...]
    bindings: tuple[Binding, ...]
    unread: tuple[Unread, ...]
