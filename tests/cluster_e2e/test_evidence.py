"""What log, metrics and audit log say of what people do, on the real API server."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.builders import VIOLATING, Json
from tests.support.cluster import Cluster
from tests.support.paths import ROOT
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for


def lines(cluster: Cluster, **fields: str) -> list[Json]:
    """The log lines of all replicas that have these fields."""
    found: list[Json] = []
    for pod in cluster.kubelet.pods:
        parsed = (json.loads(line) for line in pod.log.splitlines() if line.startswith("{"))
        found += [line for line in parsed if fields.items() <= line.items()]
    return found


def total(cluster: Cluster, sample: str) -> float:
    """A metric, of all replicas together."""
    number = 0.0
    for pod in cluster.kubelet.pods:
        with urllib.request.urlopen(pod.metrics_url, timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                number += float(line.split()[-1]) if line.startswith(sample) else 0
    return number


def test_a_violation_is_told_by_webhook_user_and_rule(cluster: Cluster) -> None:
    namespace = cluster.namespace(warn="strict", audit="strict")
    sample = 'boundtoken_violations_total{mode="warn",namespace="",rule="token-lifetime"}'
    before = total(cluster, sample)
    wait_for(lambda: cluster.create(namespace, VIOLATING, query="?dryRun=All")[1], 15)
    (line,) = wait_for(
        lambda: lines(cluster, webhook="enforced", namespace=namespace, reason="violates")
    )
    assert line["user"] == "admin"
    assert line["rules"] == ["token-lifetime"]
    assert line["enforcement_level"] == "strict"
    wait_for(lambda: total(cluster, sample) == before + 1, 10)
    (mutated, *_) = lines(cluster, webhook="pods", namespace=namespace)
    assert mutated["user"] == "admin"


def test_who_asks_for_a_long_token_is_told_with_lifetime_and_audience(
    cluster: Cluster, configured: dict[str, Any]
) -> None:
    cluster.configure({**configured, "tokenRequests": {"mode": "warn"}})
    namespace = cluster.namespace()
    command = (
        "create",
        "token",
        "default",
        "-n",
        namespace,
        "--duration=8760h",
        "--audience=vault",
    )
    assert "would be denied" in cluster.plane.run_kubectl(*command).stderr
    (line,) = wait_for(lambda: lines(cluster, webhook="tokenrequests", namespace=namespace))
    assert (line["user"], line["name"], line["rules"]) == ("admin", "default", ["token-lifetime"])
    assert (line["expiration_seconds"], line["audiences"]) == (31_536_000, "vault")


def test_a_new_ca_bundle_is_told_by_the_name_of_its_configuration(cluster: Cluster) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/boundtoken"
    emptied = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    name = "validatingwebhookconfiguration/boundtoken"
    before = len(lines(cluster, event="caBundle updated", configuration=name))
    cluster.plane.call("PATCH", path, emptied, kind="application/json-patch+json")
    wait_for(lambda: len(lines(cluster, event="caBundle updated", configuration=name)) > before, 20)
    line = lines(cluster, event="caBundle updated", configuration=name)[-1]
    assert line["reason"] == "it differed from Secret boundtoken-ca"


def test_config_check_takes_what_kubectl_prints(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "printed.yaml"
    for arguments in (
        ("kustomize", str(ROOT / "manifests")),
        ("get", "configmap", "boundtoken", "-n", "boundtoken-system", "-o", "yaml"),
    ):
        file.write_text(cluster.plane.kubectl(*arguments))
        result = boundtoken("config", "check", str(file))
        where = f'{file}: configmap/boundtoken data["config.yaml"]: valid (hash '
        assert (result.returncode, result.stdout.startswith(where)) == (0, True)
