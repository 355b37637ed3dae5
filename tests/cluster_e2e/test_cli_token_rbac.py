"""What `boundtoken token rbac` makes and finds, beside what the real API server allows."""

import contextlib
import itertools
import json
import random
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import Json
from tests.support.long import LONG
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.tokens import ApiServer
from webhook.tokens.rbac import reading
from webhook.tokens.rbac.grants import ACCOUNT, GROUP, USER, applies, review
from webhook.tokens.rbac.objects import Subject
from webhook.tokens.rbac.reading import read_objects

GROUP_PATH = "/apis/rbac.authorization.k8s.io/v1"
ALLOWED = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SPACES = ("rbac-one", "rbac-two")
ACCOUNTS = ("cart", "basket")
SEED = 20_261
RBAC_GROUP = "rbac.authorization.k8s.io"
NAMES = tuple(f"rbac-{number}" for number in range(6))


@pytest.fixture(scope="module")
def spaces(plane: ControlPlane) -> Iterator[ControlPlane]:
    for namespace in SPACES:
        plane.kubectl("create", "namespace", namespace)
        for account in ACCOUNTS:
            plane.kubectl("create", "serviceaccount", account, "-n", namespace)
    yield plane
    for namespace in SPACES:
        plane.kubectl("delete", "namespace", namespace, "--wait=false")


def rbac(
    plane: ControlPlane, *arguments: str, user: str = "admin"
) -> subprocess.CompletedProcess[str]:
    return boundtoken("token", "rbac", *arguments, kubeconfig=plane.kubeconfig(user))


def check(plane: ControlPlane, *arguments: str) -> Json:
    result = rbac(plane, "--check", "-o", "json", *arguments)
    assert result.returncode in (0, 1), result.stderr
    return dict(json.loads(result.stdout))


def may(
    plane: ControlPlane, subject: Subject, namespace: str, account: str, **attributes: str
) -> bool:
    """What the API server answers; by default to who wants a token of an account."""
    user, groups = subject.name, ["system:authenticated"]
    if subject.kind == ACCOUNT:
        user = f"system:serviceaccount:{subject.namespace}:{subject.name}"
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{subject.namespace}"]
    elif subject.kind == GROUP:
        user, groups = "nobody-else", [*groups, subject.name]
    elif subject.name == "system:anonymous":
        groups = ["system:unauthenticated"]
    resource = {
        "namespace": namespace,
        "verb": "create",
        "resource": "serviceaccounts",
        "subresource": "token",
        "name": account,
        **attributes,
    }
    spec = {"user": user, "groups": groups, "resourceAttributes": resource}
    return bool(plane.call("POST", ALLOWED, {"spec": spec})["status"]["allowed"])


REQUESTERS = (
    Subject(USER, "rbac-alice"),
    Subject(USER, "https://issuer.example.com#bob"),
    Subject(USER, "system:anonymous"),
    Subject(GROUP, "rbac-developers"),
    Subject(ACCOUNT, "cart", "rbac-one"),
    Subject(ACCOUNT, "deployer", "rbac-two"),
)


def flag(subject: Subject) -> str:
    name = f"{subject.namespace}/{subject.name}" if subject.namespace else subject.name
    return f"{subject.kind.lower()}:{name}"


@pytest.mark.parametrize("subject", REQUESTERS, ids=flag)
def test_what_is_made_lets_request_tokens_of_exactly_these_accounts(
    spaces: ControlPlane, subject: Subject
) -> None:
    made = rbac(spaces, "cart", "-n", "rbac-one", "--for", flag(subject))
    assert made.returncode == 0
    assert rbac(spaces, "--check", "cart", "-n", "rbac-one", "--for", flag(subject)).returncode == 1
    spaces.kubectl("apply", "-f", "-", stdin=made.stdout)
    try:
        wait_for(lambda: may(spaces, subject, "rbac-one", "cart"))
        for other in (("rbac-one", "basket"), ("rbac-two", "cart"), ("rbac-one", "")):
            assert not may(spaces, subject, *other)
        for attributes in (
            {"verb": "get"},
            {"subresource": ""},
            {"resource": "secrets", "subresource": ""},
        ):
            assert not may(spaces, subject, "rbac-one", "cart", **attributes)
        for requester in REQUESTERS:
            allowed = may(spaces, requester, "rbac-one", "cart")
            assert allowed == (requester == subject)
        assert (
            rbac(spaces, "--check", "cart", "-n", "rbac-one", "--for", flag(subject)).returncode
            == 0
        )
        again = spaces.kubectl("apply", "-f", "-", stdin=made.stdout)
        assert again.count("unchanged") == 2
    finally:
        spaces.kubectl("delete", "-f", "-", stdin=made.stdout)


def test_what_an_application_needs_for_itself_and_no_more(spaces: ControlPlane) -> None:
    subject = Subject(ACCOUNT, "cart", "rbac-one")
    made = rbac(
        spaces,
        *("basket", "-n", "rbac-one", "--for", flag(subject), "--verb", "get,patch"),
        *("--resource", "deployments,deployments/scale,configmaps,leases", "--resource-name", "a"),
    )
    spaces.kubectl("apply", "-f", "-", stdin=made.stdout)
    try:
        wait_for(lambda: may(spaces, subject, "rbac-one", "basket"))

        def can(verb: str, group: str, resource: str, name: str, subresource: str = "") -> bool:
            return may(
                spaces, subject, "rbac-one", name,
                verb=verb, group=group, resource=resource, subresource=subresource,
            )  # fmt: skip

        assert can("get", "apps", "deployments", "a")
        assert can("patch", "apps", "deployments", "a", "scale")
        assert can("get", "", "configmaps", "a")
        assert can("get", "coordination.k8s.io", "leases", "a")
        assert not can("get", "", "configmaps", "b")
        assert not can("delete", "apps", "deployments", "a")
        assert not can("get", "apps", "statefulsets", "a")
        assert not can("get", "", "deployments", "a")
    finally:
        spaces.kubectl("delete", "-f", "-", stdin=made.stdout)


def rules(draw: random.Random) -> list[Json]:
    """Rules some of which grant."""

    def some(*values: Any) -> list[Any]:
        return draw.sample(values, draw.randint(1, 2))

    found: list[Json] = []
    for _ in range(draw.randint(1, 2)):
        rule: Json = {
            "verbs": some("create", "*", "get", "list"),
            "apiGroups": some("", "*", "apps", "batch"),
            "resources": some(
                "serviceaccounts/token",
                "*",
                "*/token",
                "serviceaccounts/*",
                "serviceaccounts",
                "pods",
            ),
        }
        if draw.random() < 0.4:
            rule["resourceNames"] = some("cart", "basket", "*")
        found.append(rule)
    return found


def subject_json(subject: Subject) -> Json:
    if subject.kind == ACCOUNT:
        return {"kind": ACCOUNT, "name": subject.name, "namespace": subject.namespace}
    return {"kind": subject.kind, "name": subject.name, "apiGroup": RBAC_GROUP}


SUBJECTS = (
    *REQUESTERS,
    Subject(USER, "system:serviceaccount:rbac-one:cart"),
    Subject(GROUP, "system:serviceaccounts:rbac-two"),
)


@contextlib.contextmanager
def generated(plane: ControlPlane, seed: int) -> Iterator[None]:
    """Roles and bindings of both kinds, by chance; an aggregated role among them."""
    draw = random.Random(seed)
    made: list[str] = []

    def create(path: str, body: Json) -> None:
        plane.call("POST", f"{GROUP_PATH}/{path}", body)
        made.append(f"{GROUP_PATH}/{path}/{body['metadata']['name']}")

    label = {"rbac-test/aggregate": "true"}
    aggregation = {"clusterRoleSelectors": [{"matchLabels": label}]}
    part = [{"verbs": ["create"], "apiGroups": [""], "resources": ["serviceaccounts/token"]}]
    try:
        create("clusterroles", {"metadata": {"name": "rbac-sum"}, "aggregationRule": aggregation})
        create("clusterroles", {"metadata": {"name": "rbac-part", "labels": label}, "rules": part})
        like = [{**part[0], "resources": ["serviceaccounts/*"]}]
        create("clusterroles", {"metadata": {"name": "rbac-like"}, "rules": like})
        for name in NAMES:
            create("clusterroles", {"metadata": {"name": name}, "rules": rules(draw)})
            for namespace in SPACES:
                path = f"namespaces/{namespace}/roles"
                create(path, {"metadata": {"name": name}, "rules": rules(draw)})
        for number in range(8):
            is_of_cluster = number == 0
            kind = "ClusterRole" if is_of_cluster else draw.choice(["Role", "ClusterRole"])
            chosen = draw.choice(["rbac-sum", "rbac-gone", "rbac-like", *NAMES])
            body = {
                "metadata": {"name": f"rbac-{number}"},
                "roleRef": {"kind": kind, "name": chosen, "apiGroup": RBAC_GROUP},
                "subjects": [subject_json(one) for one in draw.sample(SUBJECTS, 2)],
            }
            within = "cluster" if is_of_cluster else f"namespaces/{draw.choice(SPACES)}/"
            create(f"{within}rolebindings", body)
        path = f"{GROUP_PATH}/clusterroles/rbac-sum"
        wait_for(lambda: plane.call("GET", path).get("rules") == part)
        yield
    finally:
        for path in reversed(made):
            plane.call("DELETE", path)


REQUESTS = tuple(itertools.product(REQUESTERS, SPACES, ACCOUNTS))


def test_who_may_is_what_the_api_server_answers(spaces: ControlPlane) -> None:
    server = ApiServer.from_kubeconfig(str(spaces.kubeconfig()))
    answers: list[bool] = []
    for seed in range(SEED, SEED + (16 if LONG else 6)):
        with generated(spaces, seed):
            grants = review(read_objects(server)).grants
            found = {
                (requester, namespace, account): any(
                    grant.is_for(namespace, account) and applies(grant.subject, requester)
                    for grant in grants
                )
                for requester, namespace, account in REQUESTS
            }
            # Its caches may be a moment behind.
            wait_for(lambda: [one for one in REQUESTS if may(spaces, *one) != found[one]] == [], 10)  # noqa: B023
            answers += found.values()
    assert 0.2 < sum(answers) / len(answers) < 0.8, "both answers are there"


def test_the_command_says_the_same(spaces: ControlPlane) -> None:
    with generated(spaces, SEED):
        for requester in REQUESTERS:
            for namespace in SPACES:
                found = check(spaces, *ACCOUNTS, "-n", namespace, "--for", flag(requester))
                missing = [row["account"] for row in found["missing"]]
                assert missing == [
                    account
                    for account in ACCOUNTS
                    if not may(spaces, requester, namespace, account)
                ]


def test_the_whole_cluster_has_every_grant_with_its_role_and_binding(
    spaces: ControlPlane,
) -> None:
    with generated(spaces, SEED):
        result = rbac(spaces, "--check")
        assert result.returncode == 0
        assert "ClusterRoleBinding/cluster-admin" in result.stdout
        assert "verbs,apiGroups,resources" in result.stdout
        assert "ClusterRole/edit (aggregated)" in result.stdout
        assert "ClusterRole/rbac-sum (aggregated)" in result.stdout
        assert "ClusterRole/rbac-like: serviceaccounts/* grants nothing" in result.stderr
        everything = check(spaces)
        assert {grant["scope"] for grant in everything["grants"]} == {"cluster", "namespace"}
        assert everything["unread"] == []
        for grant in everything["grants"]:
            kind, _, name = grant["role"].partition("/")
            within = f"namespaces/{grant['namespace']}/" if kind == "Role" else ""
            role = spaces.call("GET", f"{GROUP_PATH}/{within}{kind.lower()}s/{name}")
            assert grant["rule"] in role["rules"]


def test_who_may_not_look_is_told_what_could_not_be_read(spaces: ControlPlane) -> None:
    result = rbac(spaces, "--check", "-n", "rbac-one", user="editor")
    assert result.returncode == 3
    for kind in ("clusterroles", "roles in rbac-one", "clusterrolebindings"):
        assert f"boundtoken: {kind}: 403: " in result.stderr


def test_pages_are_put_together(spaces: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ApiServer.from_kubeconfig(str(spaces.kubeconfig()))
    whole = reading.read_objects(server)
    monkeypatch.setattr(reading, "PAGE_SIZES", (3,))
    assert reading.read_objects(server) == whole
    assert len(whole.roles) > 60


def test_the_names_of_subjects_that_a_role_can_have_are_accepted(spaces: ControlPlane) -> None:
    """By the API server's own validation, in a dry run."""
    for name in ("alice", "a b", "https://x/y#z", "ö", "x" * 180, "%2e", "..", "a:b@c"):
        made = rbac(spaces, "cart", "-n", "rbac-one", "--for", f"user:{name}", "-o", "json")
        for body in json.loads(made.stdout)["items"]:
            path = f"{GROUP_PATH}/namespaces/rbac-one/{body['kind'].lower()}s?dryRun=All"
            try:
                spaces.call("POST", path, body)
            except StatusError as problem:
                if problem.code != 404:  # the binding's role, which a dry run has not made
                    raise
