"""The self-probe on the real control plane: what each replica finds while everything works, while
something keeps the API server from calling us, and afterwards; and what our account may create.
"""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster_e2e.breaking import (
    MUTATING,
    SELF_PROBE_INTERVAL,
    SELF_PROBE_ROLE,
    SERVICE,
    blocked,
    changed,
    checked,
    deleted,
    put,
    started_again,
)
from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet, RunningPod
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES, Cluster, denied_by
from tests.support.waiting import wait_for
from webhook.core import names, self_probe

OURS = f"{NAMESPACES}/boundtoken-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"
DRY_RUN = "?dryRun=All"


@pytest.fixture(scope="module")
def probing(plane: ControlPlane, kubelet: Kubelet) -> Iterator[Cluster]:
    """Two replicas that probe each second. They are started again, as after a crash: a rollout
    would drain each of them first.
    """
    with started_again(kubelet, {SELF_PROBE_INTERVAL: "1"}):
        yield Cluster(plane, kubelet)


def is_ready(pod: RunningPod) -> bool:
    try:
        with urllib.request.urlopen(pod.metrics_url.replace("metrics", "readyz"), timeout=30):
            return True
    except OSError:  # it does not listen yet, or is not ready
        return False


def results(cluster: Cluster) -> list[str]:
    """The last result of each replica that has probed."""
    found = []
    for pod in cluster.kubelet.pods:
        with urllib.request.urlopen(pod.metrics_url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        samples = [line for line in lines if line.startswith("boundtoken_self_probe_result{")]
        found += [sample.split('"')[1] for sample in samples if sample.endswith(" 1.0")]
    return found


def wait_for_both(cluster: Cluster, result: str) -> None:
    wait_for(lambda: results(cluster) == [result, result], 30)


@pytest.fixture(autouse=True)
def _both_are_injected_before(probing: Cluster) -> None:
    wait_for_both(probing, "injected")


def told(cluster: Cluster) -> list[list[str]]:
    """The results in the log of each replica."""
    return [
        [line["result"] for line in map(json.loads, pod.log.splitlines()) if line["event"] == "self-probe"]
        for pod in cluster.kubelet.pods
    ]  # fmt: skip


def test_after_an_install_each_replica_finds_that_it_is_called_and_nothing_is_kept(
    probing: Cluster,
) -> None:
    found = checked(probing, "--no-dry-run")
    assert (found.status("self-probe"), found.text("self-probe")) == ("passed", "for each replica")
    pods = probing.plane.call("GET", f"{OURS}/pods")["items"]
    assert {pod["metadata"]["name"] for pod in pods} == {pod.name for pod in probing.kubelet.pods}
    (audited, *_) = probing.audit("boundtoken-system")[::-1]
    reasons = {value for key, value in audited.items() if key.endswith("boundtoken.dev/reason")}
    assert reasons <= {"injected", "rewritten", "own-namespace"}
    assert reasons & {"injected", "rewritten"}


@contextlib.contextmanager
def selects_nothing(cluster: Cluster) -> Iterator[None]:
    """A Service without endpoints, and no connection of before, which would live on."""
    with changed(cluster, SERVICE, put("/spec/selector", {"app": "nothing"})):
        wait_for(lambda: cluster.kubelet.proxy.ready("boundtoken") == 0)
        cluster.plane.egress.cut()
        yield


@pytest.mark.parametrize(
    "broken",
    [lambda cluster: deleted(cluster, MUTATING), selects_nothing, blocked],
    ids=["the webhook configuration is deleted", "the Service selects nothing", "the port is blocked"],
)  # fmt: skip
def test_what_keeps_the_api_server_from_us_is_found_told_once_and_over_when_it_is_mended(
    probing: Cluster, broken: Any
) -> None:
    before = told(probing)
    with broken(probing):
        wait_for_both(probing, "not-injected")
        found = checked(probing, "--no-dry-run")
        assert (found.status("self-probe"), found.code) == ("failed", 1)
        assert "no replica was called" in found.text("self-probe")
        assert all(is_ready(pod) for pod in probing.kubelet.pods)
    wait_for_both(probing, "injected")
    expected = [[*lines, "not-injected", "injected"] for lines in before]
    wait_for(lambda: told(probing) == expected, 5)


def test_without_the_right_it_could_not_ask_and_says_which_right(probing: Cluster) -> None:
    with changed(probing, SELF_PROBE_ROLE, {"op": "remove", "path": "/rules/2"}):
        wait_for_both(probing, "could-not-ask")
        found = checked(probing, "--no-dry-run")
        assert (found.status("self-probe"), found.status("rights")) == ("warning", "failed")
        assert "create pods in boundtoken-system" in found.text("rights")
    wait_for_both(probing, "injected")
    lines = [line for pod in probing.kubelet.pods for line in pod.log.splitlines()]
    (line, *_) = [json.loads(text) for text in lines if '"could-not-ask"' in text]
    assert 'cannot create resource "pods"' in line["problem"]
    assert "create on pods" in line["hint"]


def test_a_quota_refuses_it_and_that_is_no_failure_of_injection(probing: Cluster) -> None:
    quotas = f"{OURS}/resourcequotas"
    quota = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    probing.plane.call("POST", quotas, quota)
    try:
        wait_for_both(probing, "refused")
        assert checked(probing, "--no-dry-run").status("self-probe") == "warning"
    finally:
        probing.plane.call("DELETE", f"{quotas}/full")
    wait_for_both(probing, "injected")


@pytest.fixture
def token(probing: Cluster) -> str:
    """A token of our service account, as a thief has it."""
    body: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"{OURS}/serviceaccounts/boundtoken/token"
    return str(probing.plane.call("POST", path, body)["status"]["token"])


def test_our_account_creates_no_pod_wherever_somebody_lets_it(probing: Cluster, token: str) -> None:
    elsewhere = probing.namespace()
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    ours = {"kind": "ServiceAccount", "name": "boundtoken", "namespace": "boundtoken-system"}
    binding = {"metadata": {"name": "more"}, "roleRef": role, "subjects": [ours]}
    probing.plane.call("POST", f"{RBAC}/{elsewhere}/rolebindings", binding)

    def created(namespace: str, query: str = "") -> Json:
        path = f"{NAMESPACES}/{namespace}/pods{query}"
        return dict(probing.plane.call("POST", path, self_probe.pod(), token=token))

    for namespace in ("boundtoken-system", elsewhere):
        wait_for(lambda: may(lambda: created(namespace, DRY_RUN)))  # noqa: B023
        with pytest.raises(StatusError) as problem:
            created(namespace)
        reason = denied_by(problem.value, names.SELF_PROBE_POLICY)
        assert reason == "boundtoken asks for pods in a dry run, and creates none"
    left = [
        pod["metadata"]["name"]
        for namespace in ("boundtoken-system", elsewhere)
        for pod in probing.plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"]
    ]
    assert not [name for name in left if name.startswith(names.SELF_PROBE)]


def may(create: Any) -> bool:
    """Whether it is allowed yet: a new binding takes a moment."""
    try:
        create()
    except StatusError as problem:
        assert self_probe.NO_RIGHT in str(problem)
        return False
    return True


def test_others_create_pods_as_before_and_only_the_dry_run_of_one_is_injected(
    probing: Cluster,
) -> None:
    path = f"{OURS}/pods"
    pod = probing.plane.call("POST", f"{path}{DRY_RUN}", self_probe.pod())
    assert names.STATUS in pod["metadata"]["annotations"]
    another = self_probe.restricted_pod("another-", {names.INJECT: "enabled"})
    pod = probing.plane.call("POST", f"{path}{DRY_RUN}", another)
    assert names.STATUS not in pod["metadata"]["annotations"]
    elsewhere = probing.namespace()
    real = probing.plane.call("POST", f"{NAMESPACES}/{elsewhere}/pods", self_probe.pod())
    assert names.STATUS in real["metadata"]["annotations"]
