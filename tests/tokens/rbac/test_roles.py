"""Roles that grant what was named, and no more."""

from typing import Any

import pytest

from webhook.tokens.rbac.grants import ACCOUNT, GROUP, USER
from webhook.tokens.rbac.objects import Subject
from webhook.tokens.rbac.roles import RoleSpec, manifests, needs_of, remarks, subject_of

DEPLOYER = Subject(ACCOUNT, "deployer", "ci")
Json = dict[str, Any]


def made(*accounts: str, subjects: tuple[Subject, ...] = (DEPLOYER,), **needs: str) -> list[Json]:
    rules = needs_of(*(needs.get(name, "").split() for name in ("verbs", "resources", "names")))
    return manifests(RoleSpec("shop", subjects, accounts, rules, needs.get("name", "")))


def test_tokens_of_exactly_these_accounts() -> None:
    assert made("cart", "basket") == [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "request-tokens-of:cbf3867f", "namespace": "shop"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["serviceaccounts/token"],
                    "resourceNames": ["cart", "basket"],
                    "verbs": ["create"],
                }
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {
                "name": "request-tokens-of:cbf3867f:serviceaccount:ci:deployer",
                "namespace": "shop",
            },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "request-tokens-of:cbf3867f",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "ci"}],
        },
    ]


def test_needs_are_a_rule_for_each_group() -> None:
    role, _ = made(
        verbs="get list", resources="pods deployments deployments/scale pods/log nodes.b.c"
    )
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["get", "list"]},
        {"apiGroups": ["b.c"], "resources": ["nodes"], "verbs": ["get", "list"]},
    ]  # fmt: skip
    both, _ = made("cart", verbs="get", resources="pods", names="a b")
    assert [rule["resources"] for rule in both["rules"]] == [["serviceaccounts/token"], ["pods"]]
    assert both["rules"][1]["resourceNames"] == ["a", "b"]


def test_names_are_the_same_again_and_others_for_anything_else() -> None:
    """So that `kubectl apply` replaces what it made, and nothing that was made for others."""
    variants = [
        made("cart"),
        made("basket"),
        made("cart", subjects=(Subject(USER, "alice"),)),
        made("cart", subjects=(DEPLOYER, Subject(USER, "alice"))),
        made("cart", verbs="get", resources="pods"),
        made(verbs="get", resources="pods"),
        made(verbs="list", resources="pods"),
        made("cart", subjects=(Subject(USER, "https://x/alice"),)),
    ]
    bindings = [binding["metadata"]["name"] for _, binding in variants]
    assert len(set(bindings)) == len(bindings)
    assert made("cart") == variants[0]
    assert variants[0][0]["metadata"]["name"] == "request-tokens-of:cart"
    for role, binding in variants:
        for name in (role["metadata"]["name"], binding["metadata"]["name"]):
            assert "/" not in name
            assert len(name) < 254
        same = [one for one, _ in variants if one["metadata"]["name"] == role["metadata"]["name"]]
        assert all(one["rules"] == role["rules"] for one in same)


def test_a_given_name_is_that_of_both() -> None:
    assert [one["metadata"]["name"] for one in made("cart", name="mine")] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("serviceaccount:ci/deployer", DEPLOYER),
        ("user:alice@example.com", Subject(USER, "alice@example.com")),
        ("user:oidc:a/b", Subject(USER, "oidc:a/b")),
        ("group:system:masters", Subject(GROUP, "system:masters")),
    ],
)
def test_subjects(text: str, subject: Subject) -> None:
    assert subject_of(text) == subject


@pytest.mark.parametrize(
    "text",
    ["", "alice", "user:", "serviceaccount:x", "serviceaccount:/x", "serviceaccount:A/b", "serviceaccount:a/b/c", "robot:x", "user:a\nb", "user:" + "x" * 300],
)  # fmt: skip
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(ValueError, match="must be serviceaccount:NAMESPACE/NAME"):
        subject_of(text)


@pytest.mark.parametrize(
    ("verbs", "resources", "names", "problem"),
    [
        ("get", "", "", "--verb and --resource must be given together"),
        ("", "pods", "", "--verb and --resource must be given together"),
        ("", "", "x", "--verb and --resource must be given together"),
        ("*", "pods", "", r'--verb: "\*" must be one of get, .*; \* would grant more'),
        ("GET", "pods", "", '--verb: "GET" must be one of'),
        ("get", "*", "", r"--resource: .* \* would grant more"),
        ("get", "*/token", "", r"--resource: .* \* would grant more"),
        ("get", "Pods", "", "must be RESOURCE"),
        ("get", "pods/", "", "must be RESOURCE"),
        ("get", "widgets", "", "needs its API group, such as widgets.example.com"),
        ("get", "nodes", "", "is in no namespace, so no Role can grant it"),
        ("get", "nodes.metrics.k8s.io", "", "is in no namespace"),
        ("get create", "pods", "x", "create pods cannot be limited to a name"),
        ("deletecollection", "pods", "x", "deletecollection pods cannot be limited"),
        ("get", "pods", "a/b", "--resource-name: .* must be the name of an object"),
    ],
)
def test_needs_that_cannot_be_granted(verbs: str, resources: str, names: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        needs_of(verbs.split(), resources.split(), names.split())


def test_a_subresource_may_be_created_by_name() -> None:
    (rule,) = needs_of(["create"], ["serviceaccounts/token"], ["cart"])
    assert rule.resource_names == ("cart",)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (RoleSpec("shop", (), ("cart",)), "--for: must say who may"),
        (RoleSpec("shop", (DEPLOYER,)), "must say what to grant"),
        (RoleSpec("shop", (DEPLOYER,), ("Cart",)), 'ACCOUNT "Cart" must be the name of a service'),
        (RoleSpec("shop", (DEPLOYER,), ("a",) * 101), "at most 100 accounts"),
        (RoleSpec("shop", (DEPLOYER,), ("a",), (), "a/b"), '--name="a/b" must be the name'),
        (RoleSpec("shop", (DEPLOYER,), ("a",), (), ".."), "must be the name"),
    ],
)
def test_what_cannot_be_made(spec: RoleSpec, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        manifests(spec)


@pytest.mark.parametrize(
    ("verbs", "resources", "names", "expected"),
    [
        ("get list", "pods configmaps", "", []),
        ("create", "pods", "", ["create pods: lets run pods as any"]),
        ("patch", "pods", "", []),
        ("patch", "deployments.apps", "", ["patch deployments: lets run pods"]),
        ("get", "secrets", "", ["get secrets: lets read every Secret"]),
        ("get", "secrets", "one", []),
        ("create", "serviceaccounts/token", "", ["create serviceaccounts/token: lets request"]),
        ("create", "serviceaccounts/token", "cart", []),
        ("impersonate", "serviceaccounts", "", ["impersonate serviceaccounts: lets act as"]),
        ("bind", "roles.rbac.authorization.k8s.io", "", ["bind roles: may let grant more"]),
        ("create", "pods/exec", "", ["create pods/exec: lets run commands"]),
    ],
)
def test_what_grants_more_than_it_says_is_remarked(
    verbs: str, resources: str, names: str, expected: list[str]
) -> None:
    needs = needs_of(verbs.split(), resources.split(), names.split())
    found = remarks(RoleSpec("shop", (DEPLOYER,), (), needs))
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


def test_a_grant_to_everybody_is_remarked() -> None:
    everybody = (Subject(GROUP, "system:authenticated"), Subject(USER, "system:anonymous"))
    assert len(remarks(RoleSpec("shop", everybody, ("cart",)))) == 2
