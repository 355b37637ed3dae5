"""What one tenant can send to the API server, and does, under dry run: other people's pods are injected meanwhile, and nothing ends.

The attacks by who reaches the ports stand in tests/attacks.
"""

import threading
import time
from collections.abc import Callable

import pytest

from tests.cluster_e2e.conftest import NAMESPACES, Cluster, a_bare_pod
from tests.controlplane.cluster import Refused
from tests.pods import Json
from webhook.core import names

SECONDS = 4.0
MAX_GROWTH = 20_000
"""Bytes of the audit log for each pod, at level Metadata: two events and what webhooks and policies annotate."""


def with_annotations(annotations: dict[str, str], containers: int = 1) -> Json:
    pod = a_bare_pod(*({"name": f"c{number}", "image": "i"} for number in range(containers)))
    pod["metadata"]["annotations"] = {names.INJECT: "enabled", **annotations}
    return pod


def fat() -> Json:
    """1.3 MB for its author, 7.9 MB for us."""
    pod = with_annotations({})
    pod["spec"]["containers"][0]["env"] = [{"name": f"E{number}", "value": "<" * 120_000} for number in range(11)]
    return pod


ATTACKS: dict[str, Callable[[], Json]] = {
    "280,000 further tokens": lambda: with_annotations({names.TOKENS: "1a=b," * 280_000}),
    "4,000 containers and 240,000 names to skip": lambda: with_annotations(
        {names.SKIP_CONTAINERS: ",".join(map(str, range(240_000)))}, 4_000
    ),
    "4,000 containers and 250 KB of names to skip": lambda: with_annotations(
        {names.SKIP_CONTAINERS: ",".join(map(str, range(50_000)))[:250_000]}, 4_000
    ),
    "8,000 annotations that are none": lambda: with_annotations({f"{names.DOMAIN}x{number}": "" for number in range(8_000)}),
    "90,000 annotations that are none": lambda: with_annotations({f"{names.DOMAIN}x{number}": "" for number in range(90_000)}),
    "14,000 containers": lambda: with_annotations({}, 14_000),
    "1.3 MB of environment": fat,
}


def send(cluster: Cluster, namespace: str, pod: Json) -> list[str]:
    """The names of the volumes of the pod as it would be created; none where it is refused."""
    try:
        created, _ = cluster.create(namespace, pod, query="?dryRun=All")
    except Refused:
        return []
    return [volume["name"] for volume in created["spec"].get("volumes") or ()]


@pytest.mark.parametrize("attack", ATTACKS)
def test_other_peoples_pods_are_injected_while_a_tenant_attacks(cluster: Cluster, attack: str) -> None:
    shop, tenant = cluster.namespace(inject="enabled", automount="disabled"), cluster.namespace()
    pids = [pod.pid for pod in cluster.kubelet.pods]
    evil, stop = ATTACKS[attack](), time.monotonic() + SECONDS
    sent: list[int] = []

    def go() -> None:
        while time.monotonic() < stop:
            send(cluster, tenant, evil)
            sent.append(1)

    before = cluster.plane.audit_log.stat().st_size
    attackers = [threading.Thread(target=go) for _ in range(2)]
    for each in attackers:
        each.start()
    honest = []
    while time.monotonic() < stop:
        honest.append(send(cluster, shop, a_bare_pod()))
        assert cluster.kubelet.proxy.ready("boundtoken") == 2
    for each in attackers:
        each.join()
    assert len(honest) > 3
    assert [each for each in honest if each != [names.VOLUME]] == []
    assert [pod.pid for pod in cluster.kubelet.pods] == pids
    growth = cluster.plane.audit_log.stat().st_size - before
    print(f"{attack}: {len(sent)} sent, {len(honest)} honest, {growth / (len(sent) + len(honest)):.0f} B of audit log each")
    assert growth / (len(sent) + len(honest)) < MAX_GROWTH


def test_a_pod_of_1_3_mb_is_injected(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    assert send(cluster, namespace, fat()) == [names.VOLUME]


def test_a_pod_whose_annotations_are_too_long_is_refused_by_the_api_server_and_by_nobody_else(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled")
    with pytest.raises(Refused, match="annotations size .* is larger than limit|Too long"):
        cluster.plane.call(
            "POST", f"{NAMESPACES}/{namespace}/pods?dryRun=All", with_annotations({names.TOKENS: "1a=b," * 280_000})
        )
