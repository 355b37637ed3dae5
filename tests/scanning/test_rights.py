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
        (rule("patch update", "pods"), ("change pods",)),
        (rule("patch", "pods", "", "a"), ("change pods (a)",)),
        (rule("patch", "secrets"), ("change secrets",)),
        (rule("update", "secrets", "", "a"), ("change secrets (a)",)),
        (rule("create delete", "secrets"), ()),
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
    assert len(EVERYTHING) == 16


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


def own_of(binding: str, namespace: str, *subjects: Subject) -> list[str]:
    """The subjects of a binding that are taken for Kubernetes' own."""
    rights = Rights()
    rights.add_role(Role(Metadata("role", ""), (rule("create", "pods"),)))
    reference = Reference("ClusterRole", "role")
    rights.add_binding(Binding(Metadata(binding, namespace), reference, subjects))
    assert len(rights.minters) == len(subjects)
    return [one.subject for one in rights.minters if is_of_kubernetes(one)]


MASTERS = Subject("Group", "system:masters")
OF_JOBS = Subject("ServiceAccount", "job-controller", "kube-system")
SIGNER = Subject("ServiceAccount", "bootstrap-signer", "kube-system")


@pytest.mark.parametrize(
    ("binding", "namespace", "subject"),
    [
        ("cluster-admin", "", MASTERS),
        ("system:kube-controller-manager", "", Subject("User", "system:kube-controller-manager")),
        ("system:controller:job-controller", "", OF_JOBS),
        ("system:controller:bootstrap-signer", "kube-system", SIGNER),
    ],
)
def test_the_control_planes_own_are_known(binding: str, namespace: str, subject: Subject) -> None:
    others = (
        X,
        Subject("Group", "system:nodes"),
        Subject("ServiceAccount", "default", "kube-system"),
    )
    assert len(own_of(binding, namespace, subject, *others)) == 1
    assert own_of("system:of-somebody", namespace, subject, *others) == []
    assert own_of(binding, "shop", subject, *others) == []


def test_a_name_that_anybody_may_give_hides_no_rights() -> None:
    default, nodes = (
        Subject("ServiceAccount", "default", "kube-system"),
        Subject("Group", "system:nodes"),
    )
    for name in ("system:evil", "system:controller:job-controller", "cluster-admin"):
        assert own_of(name, "big", default, nodes, MASTERS, OF_JOBS, SIGNER) == []
    assert own_of("system:evil", "", default, nodes, MASTERS, OF_JOBS) == []
    assert own_of("system:controller:job-controller", "", default, SIGNER) == []
