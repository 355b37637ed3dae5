"""What happens while a replica, all replicas or the API server cannot be reached."""

import time

import pytest

from tests.support.cluster import (
    NAMESPACES,
    Cluster,
    injected,
    pods_without_pause,
    rolled_out,
    scale,
)
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow("measures how long others wait")


def test_a_rolling_restart_leaves_no_pod_unmutated(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    before = {pod.name for pod in cluster.kubelet.pods}
    with pods_without_pause(cluster, namespace) as results:
        time.sleep(1)
        cluster.plane.kubectl(
            "rollout", "restart", "-n", "boundtoken-system", "deployment/boundtoken"
        )
        rolled_out(cluster)
        time.sleep(1)
    assert before.isdisjoint({pod.name for pod in cluster.kubelet.pods})
    assert len(results) > 100
    assert results.count(False) == 0


def test_the_webhook_stopped_pods_are_created_unmutated(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    assert injected(cluster, namespace)
    scale(cluster, 0)
    try:
        assert not injected(cluster, namespace)
    finally:
        scale(cluster, 2)
    assert injected(cluster, namespace)


def test_the_api_server_restarted_the_webhook_answers_on_and_sees_later_changes(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    other = cluster.namespace()
    pids = {pod.pid for pod in cluster.kubelet.pods}
    assert injected(cluster, namespace)
    cluster.plane.restart_apiserver()
    wait_for(lambda: cluster.kubelet.proxy.ready("boundtoken") == 2, 30)
    assert injected(cluster, namespace)
    cluster.annotate(other, inject="enabled", automount="disabled")
    wait_for(lambda: injected(cluster, other), 20)
    assert {pod.pid for pod in cluster.kubelet.pods} == pids


def test_the_api_server_back_after_ten_seconds_the_controllers_act_at_once(
    cluster: Cluster,
) -> None:
    """What other tests count on: watches that come back one by one would keep endpoints waiting for
    half a minute.
    """
    namespace = cluster.namespace()
    cluster.plane.stop_apiserver()
    time.sleep(10)
    cluster.plane.start_apiserver()
    restarted = time.monotonic()
    service = {
        "metadata": {"name": "web"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}},
    }
    cluster.plane.call("POST", f"{NAMESPACES}/{namespace}/services", service)
    cluster.deployment(namespace)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    wait_for(lambda: cluster.plane.call("GET", slices)["items"])
    assert time.monotonic() - restarted < 15
