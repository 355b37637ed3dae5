"""Who may request tokens, by roles and bindings as the API server evaluates them."""

from typing import Any

import msgspec
import pytest

from webhook.tokens.rbac.grants import ACCOUNT, GROUP, USER, Grant, applies, review
from webhook.tokens.rbac.objects import Binding, Metadata, Objects, Reference, Role, Rule, Subject

X = Subject(USER, "x")


def a_rule(**changed: Any) -> Rule:
    rule = Rule(("create",), ("",), ("serviceaccounts/token",))
    return msgspec.structs.replace(rule, **changed)


def a_role(name: str = "role", namespace: str = "", rules: tuple[Rule, ...] | None = None) -> Role:
    return Role(Metadata(name, namespace), (a_rule(),) if rules is None else rules)


def a_binding(
    role: str = "role", namespace: str = "", kind: str = "ClusterRole", *subjects: Subject
) -> Binding:
    return Binding(Metadata("binding", namespace), Reference(kind, role), subjects or (X,))


def grants(*objects: Role | Binding) -> tuple[Grant, ...]:
    roles = tuple(one for one in objects if isinstance(one, Role))
    bindings = tuple(one for one in objects if isinstance(one, Binding))
    return review(Objects(roles, bindings, ())).grants


@pytest.mark.parametrize(
    ("changed", "wildcards"),
    [
        ({}, ()),
        ({"verbs": ("*",)}, ("verbs",)),
        ({"api_groups": ("*",)}, ("apiGroups",)),
        ({"resources": ("*",)}, ("resources",)),
        ({"resources": ("*/token",)}, ("resources",)),
        ({"resources": ("pods", "serviceaccounts/token")}, ()),
        ({"verbs": ("get", "create"), "api_groups": ("apps", "")}, ()),
        ({"verbs": ("*",), "api_groups": ("*",), "resources": ("*",)}, ("verbs", "apiGroups", "resources")),
    ],
)  # fmt: skip
def test_rules_that_grant(changed: dict[str, Any], wildcards: tuple[str, ...]) -> None:
    (grant,) = grants(a_role(rules=(a_rule(**changed),)), a_binding())
    assert grant.wildcards == wildcards
    assert (grant.subject, grant.namespace, grant.accounts) == (X, "", ())
    assert grant.is_for("any", "account")


@pytest.mark.parametrize(
    "changed",
    [
        {"verbs": ("get",)},
        {"verbs": ()},
        {"verbs": None},
        {"api_groups": ("apps",)},
        {"api_groups": ()},
        {"api_groups": None},
        {"resources": ("serviceaccounts",)},
        {"resources": ("serviceaccounts/*",)},
        {"resources": ("*/*",)},
        {"resources": ("tokens",)},
        {"resources": ("*/tok",)},
        {"resources": None},
    ],
)
def test_rules_that_do_not(changed: dict[str, Any]) -> None:
    assert grants(a_role(rules=(a_rule(**changed),)), a_binding()) == ()


def test_parts_of_several_rules_do_not_add_up() -> None:
    rules = (a_rule(verbs=("get",)), a_rule(resources=("pods",)))
    assert grants(a_role(rules=rules), a_binding()) == ()


def test_names_limit_a_rule_to_accounts() -> None:
    (grant,) = grants(a_role(rules=(a_rule(resource_names=("cart", "*")),)), a_binding())
    assert grant.accounts == ("cart", "*")
    assert grant.is_for("any", "cart")
    assert not grant.is_for("any", "other"), "* is no wildcard in a name"


@pytest.mark.parametrize(
    ("role", "binding", "namespace"),
    [
        (a_role(), a_binding(), ""),
        (a_role(), a_binding(namespace="shop"), "shop"),
        (a_role(namespace="shop"), a_binding(namespace="shop", kind="Role"), "shop"),
    ],
)
def test_a_binding_says_where(role: Role, binding: Binding, namespace: str) -> None:
    (grant,) = grants(role, binding)
    assert grant.namespace == namespace
    assert grant.is_for("shop", "cart")
    assert grant.is_for("other", "cart") == (not namespace)


@pytest.mark.parametrize(
    ("role", "binding"),
    [
        (a_role(namespace="shop"), a_binding(namespace="other", kind="Role")),
        (a_role(namespace="shop"), a_binding(namespace="shop", kind="ClusterRole")),
        (a_role(), a_binding(namespace="shop", kind="Role")),
        (a_role(namespace=""), a_binding(kind="Role")),
        (a_role("other"), a_binding()),
    ],
)
def test_a_role_of_the_same_name_elsewhere_is_another_one(role: Role, binding: Binding) -> None:
    assert grants(role, binding) == ()


@pytest.mark.parametrize(
    ("subject", "namespace", "meant"),
    [
        (Subject(ACCOUNT, "a", "ci"), "shop", Subject(ACCOUNT, "a", "ci")),
        (Subject(ACCOUNT, "a"), "shop", Subject(ACCOUNT, "a", "shop")),
        (Subject(ACCOUNT, "a"), "", None),
        (Subject(USER, "a", "ignored"), "", Subject(USER, "a")),
        (Subject("Robot", "a"), "", None),
    ],
)
def test_a_subject_is_completed_as_the_api_server_does(
    subject: Subject, namespace: str, meant: Subject | None
) -> None:
    found = [
        grant.subject
        for grant in grants(a_role(), a_binding("role", namespace, "ClusterRole", subject))
    ]
    assert found == ([] if meant is None else [meant])


@pytest.mark.parametrize(
    ("subject", "requester", "expected"),
    [
        (Subject(ACCOUNT, "a", "ci"), Subject(ACCOUNT, "a", "ci"), True),
        (Subject(ACCOUNT, "a", "ci"), Subject(ACCOUNT, "a", "other"), False),
        (Subject(USER, "system:serviceaccount:ci:a"), Subject(ACCOUNT, "a", "ci"), True),
        (Subject(GROUP, "system:serviceaccounts"), Subject(ACCOUNT, "a", "ci"), True),
        (Subject(GROUP, "system:serviceaccounts:ci"), Subject(ACCOUNT, "a", "ci"), True),
        (Subject(GROUP, "system:serviceaccounts:x"), Subject(ACCOUNT, "a", "ci"), False),
        (Subject(GROUP, "system:authenticated"), Subject(ACCOUNT, "a", "ci"), True),
        (Subject(GROUP, "system:authenticated"), Subject(USER, "x"), True),
        (Subject(GROUP, "system:authenticated"), Subject(USER, "system:anonymous"), False),
        (Subject(GROUP, "system:unauthenticated"), Subject(USER, "system:anonymous"), True),
        (Subject(GROUP, "dev"), Subject(USER, "x"), False),
        (Subject(GROUP, "dev"), Subject(GROUP, "dev"), True),
        (Subject(USER, "dev"), Subject(GROUP, "dev"), False),
        (Subject(ACCOUNT, "a", "ci"), Subject(USER, "system:serviceaccount:ci:a"), True),
        (Subject(ACCOUNT, "a", "ci"), Subject(USER, "system:serviceaccount:ci:b"), False),
        (Subject(ACCOUNT, "a", "ci"), Subject(GROUP, "system:serviceaccount:ci:a"), False),
        (Subject(GROUP, "system:authenticated"), Subject(GROUP, "dev"), True),
        (Subject(GROUP, "system:authenticated"), Subject(GROUP, "system:unauthenticated"), False),
        (Subject(GROUP, "system:unauthenticated"), Subject(GROUP, "dev"), False),
        (
            Subject(GROUP, "system:serviceaccounts"),
            Subject(GROUP, "system:serviceaccounts:ci"),
            True,
        ),
        (Subject(GROUP, "system:serviceaccounts"), Subject(GROUP, "dev"), False),
    ],
)
def test_whom_a_subject_means(subject: Subject, requester: Subject, expected: bool) -> None:
    assert applies(subject, requester) is expected


def test_roles_that_grant_nothing_to_anybody_are_told_apart() -> None:
    unbound, bound = a_role("unbound"), a_role("bound")
    lookalike = a_role("like", rules=(a_rule(resources=("serviceaccounts/*",)),))
    nobody = msgspec.structs.replace(a_binding("unbound"), subjects=None)
    result = review(Objects((unbound, bound, lookalike), (a_binding("bound"), nobody), ()))
    assert (result.unbound, result.lookalikes) == ((unbound,), (lookalike,))
    assert [grant.role for grant in result.grants] == [bound]
