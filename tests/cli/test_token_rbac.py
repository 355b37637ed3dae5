"""`boundtoken token rbac` as people run it."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.issuer import Answer, Issuer
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken

Json = dict[str, Any]
Run = Callable[..., subprocess.CompletedProcess[str]]
RULE = {"verbs": ["create"], "apiGroups": [""], "resources": ["serviceaccounts/token"]}


class Cluster(Issuer):
    """An API server with roles and bindings; of a kind that is None nothing may be read."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[Json] | None] = {
            "clusterroles": [{"metadata": {"name": "all"}, "rules": [RULE], "aggregationRule": {}}],
            "roles": [
                {
                    "metadata": {"name": "some", "namespace": "shop"},
                    "rules": [{**RULE, "resourceNames": ["cart"]}],
                },
                {
                    "metadata": {"name": "like", "namespace": "shop"},
                    "rules": [{**RULE, "resources": ["serviceaccounts/*"]}],
                },
                {"metadata": {"name": "spare", "namespace": "shop"}, "rules": [RULE]},
            ],
            "clusterrolebindings": [
                {
                    "metadata": {"name": "everywhere"},
                    "roleRef": {"kind": "ClusterRole", "name": "all"},
                    "subjects": [{"kind": "Group", "name": "dev\x1b[2J"}],
                }
            ],
            "rolebindings": [
                {
                    "metadata": {"name": "here", "namespace": "shop"},
                    "roleRef": {"kind": "Role", "name": "some"},
                    "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "ci"}],
                }
            ],
        }

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        kind = path.partition("?")[0].rpartition("/")[2]
        if kind not in self.lists:
            return super().answer(method, path, authorization, body)
        found = self.lists[kind]
        if found is None:
            return self.refuse(403, f"cannot list {kind}")
        return 200, {"items": found, "metadata": {}}, {}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def run(cluster: Issuer, tmp_path: Path) -> Run:
    file = a_kubeconfig(tmp_path / "kubeconfig", cluster.url, namespace="shop")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return boundtoken("token", "rbac", *arguments, kubeconfig=file)

    return run


def test_a_role_and_its_binding_are_printed_without_a_cluster(tmp_path: Path) -> None:
    """To apply them: nothing is changed here."""
    result = boundtoken(
        *("token", "rbac", "cart", "-n", "shop", "--for", "user:alice"),
        kubeconfig=tmp_path / "missing",
    )
    assert (result.returncode, result.stderr) == (0, "")
    role, binding = yaml.safe_load_all(result.stdout)
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "shop")
    assert role["rules"] == [{**RULE, "resourceNames": ["cart"]}]
    assert binding["subjects"][0]["name"] == "alice"
    as_json = boundtoken(
        *("token", "rbac", "cart", "-n", "shop", "--for", "user:alice", "-o", "json")
    )
    assert json.loads(as_json.stdout)["items"] == [role, binding]


def test_the_namespace_is_that_of_the_context(run: Run) -> None:
    role, _ = yaml.safe_load_all(run("cart", "--for", "user:alice").stdout)
    assert role["metadata"]["namespace"] == "shop"


def test_needs_may_be_separated_by_commas_or_repeated(run: Run) -> None:
    result = run(
        *("--for", "user:alice", "--verb", "get,list", "--verb", "watch", "--name", "mine"),
        *("--resource", "pods, secrets", "--resource-name", "a,b"),
    )
    role, _ = yaml.safe_load_all(result.stdout)
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["pods", "secrets"],
            "resourceNames": ["a", "b"],
            "verbs": ["get", "list", "watch"],
        }
    ]


def test_what_grants_more_than_it_says_is_remarked_on_standard_error(run: Run) -> None:
    result = run("--for", "user:alice", "--verb", "create", "--resource", "pods")
    assert result.returncode == 0
    assert result.stderr.startswith("boundtoken: create pods: lets run pods as any service account")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cart"], "--for: must say who may"),
        (["--for", "user:a"], "ACCOUNT, or --verb and --resource, must say what to grant"),
        (["cart", "--for", "alice"], "--for: must be serviceaccount:NAMESPACE/NAME"),
        (["cart", "--for", "user:a", "--verb", "*", "--resource", "x"], '--verb: "*" must be'),
        (["cart", "--for", "user:a", "-o", "table"], "-o table goes with --check"),
        (["--check", "-o", "yaml"], "--check prints -o table or json"),
        (["--check", "--verb", "get"], "--check looks for rights to request tokens"),
        (["Cart", "--for", "user:a"], 'ACCOUNT "Cart" must be'),
    ],
)
def test_wrong_use_is_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"boundtoken: {message}")


def test_who_may_is_a_table(run: Run) -> None:
    result = run("--check")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [
        ["SUBJECT", "NAMESPACE", "ACCOUNTS", "BINDING", "ROLE", "WILDCARDS"],
        ["Group", "dev\\x1b[2J", "(all)", "(all)", "ClusterRoleBinding/everywhere", "ClusterRole/all", "(aggregated)", "-"],
        ["ServiceAccount", "ci/deployer", "shop", "cart", "RoleBinding/here", "Role/some", "-"],
        ["(nobody)", "shop", "-", "-", "Role/spare", "-"],
    ]  # fmt: skip
    assert "group system:masters may always" in result.stderr
    assert "Role/like: serviceaccounts/* grants nothing" in result.stderr


def test_json_says_where_and_by_what(run: Run) -> None:
    found = json.loads(run("--check", "-o", "json").stdout)
    everywhere, here = found["grants"]
    assert everywhere["scope"] == "cluster"
    assert everywhere["accounts"] is everywhere["namespace"] is None
    assert everywhere["aggregated"]
    assert here == {
        "subject": {"kind": "ServiceAccount", "name": "deployer", "namespace": "ci"},
        "scope": "namespace",
        "namespace": "shop",
        "accounts": ["cart"],
        "binding": "RoleBinding/here",
        "role": "Role/some",
        "aggregated": False,
        "rule": {**RULE, "resourceNames": ["cart"]},
        "wildcards": [],
    }
    assert found["unboundRoles"] == ["Role/spare"]
    assert found["grantNothing"] == ["Role/like"]
    assert (found["missing"], found["unread"]) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "code", "subjects"),
    [
        (["cart"], 0, ["dev\x1b[2J", "deployer"]),
        (["other"], 0, ["dev\x1b[2J"]),
        (["cart", "--for", "serviceaccount:ci/deployer"], 0, ["deployer"]),
        (["cart", "other", "--for", "serviceaccount:ci/deployer"], 1, ["deployer"]),
        (["cart", "-n", "elsewhere", "--for", "serviceaccount:ci/deployer"], 1, []),
        (["--for", "serviceaccount:ci/deployer"], 0, ["deployer"]),
        (["--for", "user:nobody"], 1, []),
        (["cart", "--for", "user:nobody", "--for", "serviceaccount:ci/deployer"], 1, ["deployer"]),
    ],
)
def test_accounts_and_subjects_can_be_asked_for(
    run: Run, arguments: list[str], code: int, subjects: list[str]
) -> None:
    result = run("--check", *arguments, "-o", "json")
    found = json.loads(result.stdout)
    assert result.returncode == code
    assert [grant["subject"]["name"] for grant in found["grants"]] == subjects
    assert bool(found["missing"]) == bool(code)
    assert ("may not request tokens" in result.stderr) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "account", "where"),
    [
        (["cart"], "cart", " of shop/cart"),
        (["-n", "shop"], None, " in namespace shop"),
        ([], None, ""),
    ],
)
def test_who_may_not_is_told_with_the_namespace(
    run: Run, arguments: list[str], account: str | None, where: str
) -> None:
    result = run("--check", *arguments, "--for", "group:nobody", "-o", "json")
    (missing,) = json.loads(result.stdout)["missing"]
    assert (missing["namespace"], missing["account"]) == ("shop" if where else None, account)
    assert f"boundtoken: Group nobody may not request tokens{where}\n" in result.stderr


def test_that_a_user_may_by_a_group_is_not_ruled_out(run: Run) -> None:
    """A group comes from the API server's authenticator, and stands in no object."""
    remark = "--for group:NAME asks for each"
    assert remark in run("--check", "--for", "user:nobody").stderr
    assert remark not in run("--check", "--for", "group:nobody").stderr
    assert remark not in run("--check", "cart", "--for", "serviceaccount:ci/deployer").stderr


def test_what_could_not_be_read_is_told_and_is_3(run: Run, cluster: Cluster) -> None:
    cluster.lists["clusterrolebindings"] = None
    result = run("--check", "-o", "json")
    assert result.returncode == 3
    found = json.loads(result.stdout)
    assert [grant["subject"]["name"] for grant in found["grants"]] == ["deployer"]
    assert found["unread"] == [
        {"what": "clusterrolebindings", "why": "403: cannot list clusterrolebindings"}
    ]
    assert "boundtoken: clusterrolebindings: 403: cannot list" in result.stderr
    assert "this may not be all" in result.stderr


def test_on_a_terminal_progress_makes_room_for_the_result(cluster: Cluster, tmp_path: Path) -> None:
    command = [str(BOUNDTOKEN), "token", "rbac", "--check", "-o", "json"]
    environ = {**os.environ, "KUBECONFIG": str(a_kubeconfig(tmp_path / "config", cluster.url))}
    terminal, end = os.openpty()
    with open(terminal, "rb", buffering=0) as shown:  # noqa: PTH123  (a descriptor)
        process = subprocess.Popen(command, env=environ, stdout=end, stderr=end)
        os.close(end)
        text = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal with EIO
            while part := shown.read(1 << 16):
                text += part
        assert process.wait() == 0
    assert b"reading rolebindings: 1\r" in text
    assert b"\r\x1b[K{\r\n" in text


def test_a_reader_that_goes_is_no_problem(cluster: Cluster, tmp_path: Path) -> None:
    file = a_kubeconfig(tmp_path / "kubeconfig", cluster.url, namespace="shop")
    line = '"$0" token rbac --check | head -0; "$0" token rbac --check > /dev/full'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, str(BOUNDTOKEN)],
        env={**os.environ, "KUBECONFIG": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.endswith("boundtoken: No space left on device\n")
    assert "Traceback" not in done.stderr
