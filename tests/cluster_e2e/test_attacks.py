"""What one tenant can send to the API server, and does, under dry run: other people's pods are
injected meanwhile, and nothing ends.

The attacks by who reaches the ports stand in tests/attacks.
"""

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json, a_bare_pod
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.releases import overlay, unpacked
from tests.support.waiting import wait_for
from webhook.core import names

pytestmark = pytest.mark.slow("attacks take all that the cores have")

SECONDS = 4.0
BEFORE = "22635607223dee566e8b157e9d3bab34a141c418"
"""The last commit before anything had a bound."""
MAX_GROWTH = 20_000
"""Bytes of the audit log for each pod, at level Metadata: two events and what webhooks and policies
annotate."""


def with_annotations(annotations: dict[str, str], containers: int = 1) -> Json:
    pod = a_bare_pod(*({"name": f"c{number}", "image": "i"} for number in range(containers)))
    pod["metadata"]["annotations"] = {names.INJECT: "enabled", **annotations}
    return pod


def fat() -> Json:
    """1.3 MB for its author, 7.9 MB for us."""
    pod = with_annotations({})
    pod["spec"]["containers"][0]["env"] = [
        {"name": f"E{number}", "value": "<" * 120_000} for number in range(11)
    ]
    return pod


ATTACKS: dict[str, Callable[[], Json]] = {
    "280,000 further tokens": lambda: with_annotations({names.TOKENS: "1a=b," * 280_000}),
    "4,000 containers and 240,000 names to skip": lambda: with_annotations(
        {names.SKIP_CONTAINERS: ",".join(map(str, range(240_000)))}, 4_000
    ),
    "4,000 containers and 250 KB of names to skip": lambda: with_annotations(
        {names.SKIP_CONTAINERS: ",".join(map(str, range(50_000)))[:250_000]}, 4_000
    ),
    "8,000 annotations that are none": lambda: with_annotations(
        {f"{names.DOMAIN}x{number}": "" for number in range(8_000)}
    ),
    "90,000 annotations that are none": lambda: with_annotations(
        {f"{names.DOMAIN}x{number}": "" for number in range(90_000)}
    ),
    "14,000 containers": lambda: with_annotations({}, 14_000),
    "1.3 MB of environment": fat,
}


def send(cluster: Cluster, namespace: str, pod: Json) -> list[str]:
    """The names of the volumes of the pod as it would be created; none where it is refused."""
    try:
        created, _ = cluster.create(namespace, pod, query="?dryRun=All")
    except StatusError:
        return []
    return [volume["name"] for volume in created["spec"].get("volumes") or ()]


@dataclasses.dataclass
class Seen:
    """What became of other people's pods and of the replicas while an attack lasted."""

    sent: int = 0
    honest: int = 0
    not_injected: int = 0
    slowest: float = 0.0
    ended: int = 0
    """Replicas' processes."""
    unready: int = 0
    """How often fewer than two replicas were ready when we looked, once after each honest pod."""
    growth: float = 0.0
    """Bytes of the audit log for each pod."""

    @property
    def harm(self) -> int:
        return self.not_injected + self.ended + self.unready


def attacked(cluster: Cluster, attack: str) -> Seen:
    """Two clients of a tenant send this again and again, and somebody else a pod of a shop after
    the other.
    """
    shop, tenant = cluster.namespace(inject="enabled", automount="disabled"), cluster.namespace()
    seen, evil = Seen(), ATTACKS[attack]()
    first = pids = {pod.pid for pod in cluster.kubelet.pods}
    before, stop = cluster.plane.audit_log.stat().st_size, time.monotonic() + SECONDS
    sent: list[int] = []

    def go() -> None:
        while time.monotonic() < stop:
            send(cluster, tenant, evil)
            sent.append(1)

    attackers = [threading.Thread(target=go) for _ in range(2)]
    for attacker in attackers:
        attacker.start()
    while (begun := time.monotonic()) < stop:
        seen.not_injected += send(cluster, shop, a_bare_pod()) != [names.VOLUME]
        seen.slowest = max(seen.slowest, time.monotonic() - begun)
        seen.honest += 1
        seen.unready += cluster.kubelet.proxy.ready("boundtoken") < len(first)
        pids = pids | {pod.pid for pod in cluster.kubelet.pods}
    for attacker in attackers:
        attacker.join()
    seen.sent, seen.ended = len(sent), len(pids - first)
    seen.growth = (cluster.plane.audit_log.stat().st_size - before) / (seen.sent + seen.honest)
    print(f"{attack}: {seen}")
    return seen


@pytest.mark.parametrize("attack", ATTACKS)
def test_other_peoples_pods_are_injected_while_a_tenant_attacks(
    cluster: Cluster, attack: str
) -> None:
    seen = attacked(cluster, attack)
    assert seen.harm == 0
    assert seen.honest > 3
    assert seen.growth < MAX_GROWTH


@pytest.mark.skipif("BOUNDTOKEN_BEFORE" not in os.environ, reason="`make long` runs it")
def test_the_same_attacks_did_harm_before(tmp_path: Path) -> None:
    """Under the Deployment of then, with what the image of now sets for the allocator, which is in
    favour of then.
    """
    code = unpacked(BEFORE, tmp_path / "code")
    configuration = yaml.safe_load((code / "manifests" / "35-configmap.yaml").read_text())["data"][
        "config.yaml"
    ]
    release = overlay(tmp_path / "before", code, code, configuration)
    with ControlPlane() as plane:
        plane.kubectl("apply", "-k", str(release))
        with Kubelet(plane) as kubelet:
            cluster = Cluster(plane, kubelet)
            harm = {}
            for attack in ATTACKS:
                wait_for(lambda: len(kubelet.pods) == kubelet.proxy.ready("boundtoken") == 2, 60)
                shop = cluster.namespace(inject="enabled", automount="disabled")
                wait_for(lambda shop=shop: send(cluster, shop, a_bare_pod()) == [names.VOLUME], 60)
                harm[attack] = attacked(cluster, attack).harm
    assert len([effects for effects in harm.values() if effects]) >= 2


def test_a_pod_of_1_3_mb_is_injected(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    assert send(cluster, namespace, fat()) == [names.VOLUME]


def test_a_pod_whose_annotations_are_too_long_is_refused_by_the_api_server_and_by_nobody_else(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace(inject="enabled")
    with pytest.raises(StatusError, match="annotations size .* is larger than limit|Too long"):
        cluster.plane.call(
            "POST",
            f"{NAMESPACES}/{namespace}/pods?dryRun=All",
            with_annotations({names.TOKENS: "1a=b," * 280_000}),
        )


@pytest.mark.parametrize("kind", ["imagePullSecrets", "nodeSelectorTerms"])
def test_empty_objects_do_not_rid_a_pod_of_us(cluster: Cluster, kind: str) -> None:
    """The API server takes 60,000 of them, and a review that we refuse is a pod that is created
    without us.
    """
    crumbs: list[Json] = [{}] * 60_000
    good: Json = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [good, *crumbs]}
        }
    }
    pod = a_bare_pod()
    pod["spec"] |= (
        {"imagePullSecrets": crumbs} if kind == "imagePullSecrets" else {"affinity": affinity}
    )
    namespace = cluster.namespace(inject="enabled", automount="disabled", pod_overrides="denied")
    assert send(cluster, namespace, pod) == [names.VOLUME]
