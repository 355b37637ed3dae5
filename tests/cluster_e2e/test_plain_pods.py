"""The stand-in for the kubelet runs the pods of anybody: what they see, how they end, and that
their tokens are replaced.
"""

import base64
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane.cluster import ISSUER, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import a_bare_pod, a_container
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.core.claims import claims_of

ORDERS = "https://orders.shop.svc"
TOKENS = "/var/run/secrets/boundtoken.dev/tokens"
LOOK = """
import json, os, pathlib, sys
pathlib.Path("/scratch/made").write_text("by me")
seen = {path: pathlib.Path(path).read_text() for path in sys.argv[1:]}
print(json.dumps([seen, {name: os.environ[name] for name in ("GREETING", "NAME", "TIER", "IP")}]))
"""
WATCH = f"""
import pathlib, time
while True:
    print(pathlib.Path("{TOKENS}/orders").read_text(), flush=True)
    time.sleep(0.05)
"""


@pytest.fixture
def shop(cluster: Cluster) -> Iterator[Kubelet]:
    """A kubelet for the pods of an annotated namespace."""
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    with Kubelet(cluster.plane, namespace) as kubelet:
        yield kubelet


def python(text: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    return a_container(command=["python", "-c", text, *arguments], **fields)


def status(kubelet: Kubelet, name: str = "web") -> dict[str, Any]:
    path = f"{NAMESPACES}/{kubelet.namespace}/pods/{name}"
    return dict(kubelet.plane.call("GET", path)["status"])


def test_a_pod_sees_its_volumes_and_its_environment(shop: Kubelet) -> None:
    plane, base = shop.plane, f"{NAMESPACES}/{shop.namespace}"
    plane.call("POST", f"{base}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    secret = {"metadata": {"name": "s"}, "data": {"b": base64.b64encode(b"2").decode()}}
    plane.call("POST", f"{base}/secrets", secret)
    label = {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}
    volumes = [
        {"name": "config", "configMap": {"name": "c"}},
        {"name": "secret", "secret": {"secretName": "s", "items": [{"key": "b", "path": "x/y"}]}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "about", "downwardAPI": {"items": [{"path": "tier", **label}]}},
        {"name": "absent", "configMap": {"name": "none", "optional": True}},
    ]
    paths = {
        "/config/a": "1",
        "/etc/secret/x/y": "2",
        "/about/tier": "back",
        "/scratch/made": "by me",
    }
    mounts = (
        ("config", "/config"),
        ("secret", "/etc/secret"),
        ("scratch", "/scratch"),
        ("about", "/about"),
        ("absent", "/absent"),
    )
    environ = [
        {"name": "GREETING", "value": "hello"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TIER", "valueFrom": label},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    account = {f"{names.DEFAULT_PATH}/namespace": shop.namespace}
    command = ["python", "-c", LOOK, *paths, *account]
    container = a_container("app", *mounts, command=command, env=environ)
    for mount in container["volumeMounts"]:
        mount["readOnly"] = mount["name"] != "scratch"
    pod = a_bare_pod(container, volumes=volumes, restartPolicy="Never")
    pod["metadata"]["labels"] = {"tier": "back"}
    running = shop.run(pod)
    wait_for(lambda: running.ended)
    assert running.exit_code == 0, running.log
    expected = {"GREETING": "hello", "NAME": "web", "TIER": "back", "IP": running.ip}
    assert json.loads(running.log) == [{**paths, **account}, expected]


@pytest.mark.parametrize(
    ("policy", "script", "phase", "code"),
    [
        ("Never", "exit 0", "Succeeded", 0),
        ("Never", "exit 3", "Failed", 3),
        ("Never", "kill -9 $$", "Failed", 137),
        ("OnFailure", "exit 0", "Succeeded", 0),
    ],
)
def test_a_pod_that_is_not_started_again_ends_with_a_phase_and_its_exit_code(
    shop: Kubelet, policy: str, script: str, phase: str, code: int
) -> None:
    container = a_container(command=["sh", "-c", script])
    running = shop.run(a_bare_pod(container, restartPolicy=policy))
    wait_for(lambda: status(shop)["phase"] == phase)
    (container,) = status(shop)["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == running.exit_code == code


def test_a_pod_that_is_started_again_runs_on(shop: Kubelet) -> None:
    running = shop.run(a_bare_pod(a_container(command=["sh", "-c", "echo once; exit 1"])))
    wait_for(lambda: status(shop).get("containerStatuses", [{}])[0].get("restartCount", 0) >= 2)
    assert (status(shop)["phase"], running.log.split("\n")[:2]) == ("Running", ["once", "once"])


def test_a_pod_waits_for_its_configmap(shop: Kubelet) -> None:
    volumes = [{"name": "config", "configMap": {"name": "later"}}]
    container = a_container("app", ("config", "/config"), command=["cat", "/config/a"])
    pod = a_bare_pod(container, volumes=volumes, restartPolicy="Never")
    shop.plane.call("POST", f"{NAMESPACES}/{shop.namespace}/pods", pod)
    wait_for(lambda: isinstance(shop.problem, StatusError))
    assert (shop.pods, status(shop)["phase"]) == ([], "Pending")
    body = {"metadata": {"name": "later"}, "data": {"a": "here"}}
    shop.plane.call("POST", f"{NAMESPACES}/{shop.namespace}/configmaps", body)
    wait_for(lambda: [pod.log for pod in shop.pods] == ["here"])


def test_a_pod_that_has_not_been_started_can_be_deleted(shop: Kubelet) -> None:
    volumes = [{"name": "secret", "secret": {"secretName": "never"}}]
    pod = a_bare_pod(a_container(command=["true"]), volumes=volumes)
    shop.plane.call("POST", f"{NAMESPACES}/{shop.namespace}/pods", pod)
    wait_for(lambda: isinstance(shop.problem, StatusError))
    shop.plane.kubectl("delete", "pod", "web", "-n", shop.namespace, "--timeout=30s")


def test_tokens_are_replaced_after_80_percent_of_their_life(shop: Kubelet) -> None:
    annotations = {names.TOKENS: f"orders={ORDERS};600", names.EXPIRATION_SECONDS: "3600"}
    running = shop.run(a_bare_pod(python(WATCH), annotations=annotations))
    volumes = running.volumes
    first = volumes.tokens
    for later in (465, 481):
        before = volumes.tokens
        volumes.clock = lambda seconds=later: time.time() + seconds  # type: ignore[misc]
        volumes.refresh()
        assert (volumes.tokens == before) == (later == 465)
    assert volumes.tokens["boundtoken/token"] == first["boundtoken/token"]
    wait_for(lambda: volumes.tokens["boundtoken-tokens/orders"] in running.log)


def test_tokens_are_replaced_when_a_test_asks_and_end_with_the_pod(shop: Kubelet) -> None:
    annotations = {names.TOKENS: f"orders={ORDERS};600"}
    running = shop.run(a_bare_pod(python(WATCH), annotations=annotations))
    first = running.volumes.tokens
    assert {name: claims_of(token).audiences for name, token in first.items()} == {
        "boundtoken/token": (ISSUER,),
        "boundtoken-tokens/orders": (ORDERS,),
    }
    wait_for(lambda: first["boundtoken-tokens/orders"] in running.log)
    running.volumes.rotate()
    second = running.volumes.tokens
    assert set(first.values()).isdisjoint(second.values())
    wait_for(lambda: second["boundtoken-tokens/orders"] in running.log)
    tokens = (first["boundtoken-tokens/orders"], second["boundtoken-tokens/orders"])
    assert all(shop.plane.review_token(token, ORDERS)["authenticated"] for token in tokens)
    shop.plane.kubectl("delete", "pod", "web", "-n", shop.namespace, "--timeout=30s")
    assert running.exit_code == 128 + signal.SIGTERM
    for token in tokens:
        wait_for(lambda t=token: not shop.plane.review_token(t, ORDERS).get("authenticated"), 30)
    assert running.volumes.tokens == second
