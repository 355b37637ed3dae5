"""Who may get tokens of others, as a scan tells it."""

import pytest

from webhook.scanning.rights import EVERYTHING, RBAC, Rights, in_short, is_of_kubernetes
from webhook.tokens.rbac.objects import Binding, Metadata, Reference, Role, Rule, Subject

X = Subject("User", "x")


def minters(
    *rules: Rule, namespace: str = "", subjects: tuple[Subject, ...] = (X,), only: str = ""
) -> list[tuple[str, str, tuple[str, ...], str]]:
    rights = Rights(frozenset({only}) if only else None)
    rights.add_role(Role(Metadata("role", ""), rules))
    reference = Reference("ClusterRole", "role")
    rights.add_binding(Binding(Metadata("b", namespace), reference, subjects))
    return [(one.namespace, one.subject, one.can, one.by) for one in rights.minters]


def rule(verbs: str, resources: str, groups: str = "", *named: str) -> Rule:
    return Rule(tuple(verbs.split()), tuple(groups.split(",")), tuple(resources.split()), named)


@pytest.mark.parametrize(
    ("given", "can"),
    [
        (rule("create", "serviceaccounts/token"), ("create serviceaccounts/token",)),
        (rule("create", "*/token"), ("create serviceaccounts/token",)),
        (rule("create", "serviceaccounts/token", "", "a", "b"), ("create serviceaccounts/token (a, b)",)),
        (rule("create", "pods"), ("create pods",)),
        (rule("create", "pods", "", "a"), ()),
        (rule("create", "pods", "apps"), ()),
        (rule("create", "deployments", "apps"), ("create deployments",)),
        (rule("create", "deployments"), ()),
        (rule("get list watch", "secrets"), ("get secrets", "list secrets", "watch secrets")),
        (rule("get", "secrets", "", "a"), ("get secrets (a)",)),
        (rule("get", "configmaps"), ()),
        (rule("*", "*", "*"), EVERYTHING),
        (rule("create", "*", "apps"), ("create deployments", "create statefulsets", "create daemonsets", "create replicasets")),
        (rule("patch", "deployments", "apps"), ("change deployments",)),
        (rule("update", "cronjobs", "batch", "a"), ("change cronjobs (a)",)),
        (rule("update patch", "*", "apps,batch"), ("change workloads",)),
        (rule("patch", "pods/ephemeralcontainers"), ("change pods/ephemeralcontainers",)),
        (rule("update", "*/ephemeralcontainers"), ("change pods/ephemeralcontainers",)),
        (rule("create", "pods/ephemeralcontainers"), ()),
        (rule("patch update", "pods"), ()),
        (rule("impersonate", "serviceaccounts", "", "ci"), ("impersonate serviceaccounts (ci)",)),
        (rule("impersonate", "users groups"), ("impersonate users",)),
        (rule("escalate bind", "roles clusterroles", RBAC), ("escalate roles", "escalate clusterroles", "bind roles", "bind clusterroles")),
        (rule("escalate bind", "roles"), ()),
        (rule("bind", "clusterroles", RBAC, "view"), ("bind clusterroles (view)",)),
    ],
)  # fmt: skip
def test_what_a_rule_lets_somebody_do(given: Rule, can: tuple[str, ...]) -> None:
    expected = [("*", "User x", can, "ClusterRoleBinding b")] if can else []
    assert minters(given) == expected


def test_what_has_no_namespace_is_not_granted_in_one() -> None:
    rules = (rule("impersonate", "users serviceaccounts"), rule("escalate bind", "*", RBAC))
    (found,) = minters(*rules, namespace="shop")
    assert found[2] == ("impersonate serviceaccounts", "escalate roles", "bind roles", "bind clusterroles")  # fmt: skip


def test_who_may_everything_is_told_in_few_words() -> None:
    (found,) = minters(rule("*", "*", "*"))
    assert in_short(found[2]) == "all of these rights"
    assert in_short(("create pods", "get secrets")) == "create pods, get secrets"
    assert len(EVERYTHING) == 14


def test_whom_a_binding_means_and_where() -> None:
    pods = rule("create", "pods")
    account, group = Subject("ServiceAccount", "ci"), Subject("Group", "devs")
    found = minters(pods, namespace="shop", subjects=(account, group))
    assert [(one[0], one[1], one[3]) for one in found] == [
        ("shop", "Group devs", "RoleBinding shop/b"),
        ("shop", "ServiceAccount shop/ci", "RoleBinding shop/b"),
    ]
    assert minters(pods, subjects=(account,)) == []  # of no namespace
    assert minters(pods, namespace="shop", only="other") == []
    assert len(minters(pods, only="other")) == 1


def test_long_lists_of_names_are_cut() -> None:
    (found,) = minters(rule("get", "secrets", "", *"abcdefg"))
    assert found[2] == ("get secrets (a, b, c, d, e and 2 more)",)


def test_the_control_planes_own_are_known() -> None:
    rights = Rights()
    rights.add_role(Role(Metadata("role", ""), (rule("create", "pods"),)))
    subjects = (
        X,
        Subject("Group", "system:masters"),
        Subject("ServiceAccount", "job-controller", "kube-system"),
        Subject("ServiceAccount", "system:x", "shop"),
    )
    everybody = (
        Subject("Group", "system:authenticated"),
        Subject("Group", "system:serviceaccounts"),
        Subject("User", "system:sneaky"),
    )
    for name in ("system:controller:job-controller", "of-somebody"):
        binding = Binding(
            Metadata(name, ""), Reference("ClusterRole", "role"), (*subjects, *everybody)
        )
        rights.add_binding(binding)
    own = [(one.subject, one.by) for one in rights.minters if is_of_kubernetes(one)]
    made = "ClusterRoleBinding system:controller:job-controller"
    assert own == [
        ("Group system:masters", made),
        ("ServiceAccount kube-system/job-controller", made),
    ]
