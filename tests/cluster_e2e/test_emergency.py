"""The commands of docs/emergency.md, typed as they stand there, and the way back."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane.cluster import StatusError
from tests.support.builders import VIOLATING
from tests.support.cluster import Cluster, injected
from tests.support.fences import run_by
from tests.support.paths import ROOT
from tests.support.switching import LONGEST_SECONDS, pods_all_the_while, typed
from tests.support.waiting import wait_for
from webhook.core import names

HERE = "tests/cluster_e2e/test_emergency.py"


@pytest.fixture
def switched(cluster: Cluster) -> Iterator[Cluster]:
    """Everything is there again afterwards."""
    yield cluster
    back(cluster)


def back(cluster: Cluster) -> None:
    cluster.plane.kubectl("apply", "-k", str(ROOT / "manifests"))
    injecting, enforcing = (
        cluster.namespace(inject="enabled", automount="disabled"),
        cluster.namespace(enforce="bound"),
    )
    wait_for(lambda: injected(cluster, injecting), 60)
    wait_for(lambda: names.EXCLUDED_NAMESPACES in cluster.settings(), 60)
    wait_for(lambda: enforces(cluster, enforcing), 60)


def command(test: str) -> str:
    (fence,) = run_by(f"{HERE}::{test}")
    assert fence.page == "docs/emergency.md"
    assert len(fence.text.splitlines()) == 1
    return fence.text


def enforces(cluster: Cluster, namespace: str) -> bool:
    """Whether the policy refuses it. The webhook, which asks the same, may be back first."""
    with contextlib.suppress(StatusError):
        return bool(cluster.denial(namespace, VIOLATING))
    return False


def test_nobody_is_refused_any_more_and_pods_are_still_injected(
    switched: Cluster, tmp_path: Path
) -> None:
    test = "test_nobody_is_refused_any_more_and_pods_are_still_injected"
    enforcing, injecting = (
        switched.namespace(enforce="bound"),
        switched.namespace(inject="enabled", automount="disabled"),
    )
    wait_for(lambda: enforces(switched, enforcing), 15)
    with pods_all_the_while(switched, injecting) as results:
        typed(switched.plane, command(test), tmp_path)
        wait_for(lambda: not refused(switched, enforcing), 10)
    assert [problem for *_, problem in results if problem] == []
    assert injected(switched, injecting)


def test_no_pod_is_changed_any_more_and_what_is_enforced_is_enforced(
    switched: Cluster, tmp_path: Path
) -> None:
    test = "test_no_pod_is_changed_any_more_and_what_is_enforced_is_enforced"
    enforcing, injecting = (
        switched.namespace(enforce="bound"),
        switched.namespace(inject="enabled", automount="disabled"),
    )
    wait_for(lambda: enforces(switched, enforcing), 15)
    wait_for(lambda: injected(switched, injecting), 15)
    with pods_all_the_while(switched, injecting) as results:
        typed(switched.plane, command(test), tmp_path)
        wait_for(lambda: not injected(switched, injecting), 10)
    assert [problem for *_, problem in results if problem] == []
    assert max(seconds for _, seconds, _ in results) < LONGEST_SECONDS
    assert enforces(switched, enforcing)


def test_the_api_server_knows_nothing_of_us_any_more_and_one_command_leads_back(
    switched: Cluster, tmp_path: Path
) -> None:
    test = "test_the_api_server_knows_nothing_of_us_any_more_and_one_command_leads_back"
    enforcing, injecting = (
        switched.namespace(enforce="bound"),
        switched.namespace(inject="enabled", automount="disabled"),
    )
    wait_for(lambda: enforces(switched, enforcing), 15)
    replicas = [pod.name for pod in switched.kubelet.pods]
    with pods_all_the_while(switched, injecting) as results:
        typed(switched.plane, command(test), tmp_path)
        wait_for(lambda: not refused(switched, enforcing), 10)
        wait_for(lambda: not injected(switched, injecting), 10)
    assert [problem for *_, problem in results if problem] == []
    kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings"
    left = switched.plane.kubectl("get", kinds, "-o", "name").split()
    assert [name for name in left if names.APP in name] == []
    assert [pod.name for pod in switched.kubelet.pods] == replicas
    back(switched)


def refused(cluster: Cluster, namespace: str) -> bool:
    """Whether anybody refuses the pod: a policy or a webhook."""
    try:
        cluster.create(namespace, VIOLATING, query="?dryRun=All")
    except StatusError:
        return True
    return False
