"""Each alert fires once, on a real Prometheus that scrapes the replicas and the API server, when
what it watches is broken, and the dashboard has data. `test_alerts_of_faults` has the alerts for
which the replicas are started in another way.
"""

import base64
import os
import re
import shutil
import signal
import ssl
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster_e2e.watching import Watched, watching
from tests.controlplane.cluster import MERGE_PATCH, ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.monitoring import build, known
from tests.monitoring.panels import empty
from tests.support.builders import a_bare_pod
from tests.support.certificates import an_authority, write_pair
from tests.support.claims import a_stale_token
from tests.support.cluster import BINDINGS, CONFIGMAP, NAMESPACES, Cluster, scale, starved
from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.processes import Server, free_port, started
from tests.support.prometheus import of_pod
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.pki import authority

CLUSTER_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/boundtoken"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/boundtoken"
BAD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\nlocks: {what: 1}\n"


@pytest.fixture(scope="module")
def watched(
    plane: ControlPlane, kubelet: Kubelet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    with watching(Cluster(plane, kubelet), tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def test_nothing_fires_while_nothing_is_wrong(watched: Watched) -> None:
    wait_for(lambda: watched.firing() == set(), 60, 0.3)
    assert watched.server.value("sum(boundtoken_ready)") == 2
    assert watched.server.value("count(up)") == 3


def test_users_leave_tokens_of_a_year_and_write_bad_values(watched: Watched) -> None:
    cluster = watched.cluster
    namespace = cluster.namespace()
    pod = a_bare_pod(annotations={names.EXPIRATION_SECONDS: "an hour"})
    cluster.create(namespace, pod)
    watched.wait("BoundtokenFaultsByUsers", "BoundtokenYearLongTokens")


def test_somebody_uses_a_legacy_and_a_stale_token(watched: Watched) -> None:
    cluster, plane = watched.cluster, watched.cluster.plane
    namespace = cluster.namespace()
    path = f"{NAMESPACES}/{namespace}"
    cluster.reader(namespace)
    (bound,) = cluster.tokens(cluster.run(namespace)).values()
    annotations = {"kubernetes.io/service-account.name": "default"}
    secret = {
        "metadata": {"name": "old", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }
    plane.call("POST", f"{path}/secrets", secret)
    filled = wait_for(lambda: plane.call("GET", f"{path}/secrets/old").get("data"))
    legacy = base64.b64decode(filled["token"]).decode()
    for token in (legacy, a_stale_token(plane, bound)):
        plane.call("GET", f"{path}/configmaps", token=token)
    watched.wait("BoundtokenLegacyTokenInUse", "BoundtokenStaleTokenInUse")


@pytest.fixture
def old_replica(watched: Watched, tmp_path: Path) -> Iterator[Server]:
    """One more replica, with files whose certificate has a tenth of its lifetime left."""
    root, issued = an_authority(tmp_path), datetime.now(UTC) - timedelta(minutes=54)
    hosts = ["localhost", "127.0.0.1"]
    write_pair(tmp_path, authority.issue(root, hosts, issued, timedelta(hours=1)))
    port, plain = free_port(), free_port()
    command = [
        *(str(BOUNDTOKEN), "serve", "--kubeconfig", str(watched.cluster.plane.kubeconfig())),
        *("--tls-cert", str(tmp_path / "tls/tls.crt"), "--tls-key", str(tmp_path / "tls/tls.key")),
        *("--listen", f"127.0.0.1:{port}", "--plain-listen", f"127.0.0.1:{plain}"),
    ]
    with started(command, tmp_path, port=port, plain=plain) as server:
        server.wait_until_ready()
        watched.more = [of_pod(f"127.0.0.1:{plain}", "old")]
        yield server
        watched.more = []


def test_a_replica_has_an_old_certificate_and_no_cpu(watched: Watched, old_replica: Server) -> None:
    watched.wait("BoundtokenCertificateExpiring")

    def hold_up() -> None:
        os.kill(old_replica.pid, signal.SIGSTOP)
        time.sleep(0.8)
        os.kill(old_replica.pid, signal.SIGCONT)

    watched.wait("BoundtokenEventLoopLag", again=hold_up)
    assert "BoundtokenCaBundleDrift" not in watched.firing()  # others keep its certificates


def test_somebody_takes_the_connections(watched: Watched) -> None:
    with starved(watched.cluster.kubelet):
        watched.wait("BoundtokenConnectionsFull")
    watched.wait_until_over("BoundtokenConnectionsFull")


def test_somebody_changes_what_the_replicas_keep_and_takes_their_rights(watched: Watched) -> None:
    cluster, plane = watched.cluster, watched.cluster.plane
    role = plane.call("GET", CLUSTER_ROLE)
    for rule in role["rules"]:
        rule["verbs"] = [verb for verb in rule["verbs"] if verb != "patch"]
    plane.call("PUT", CLUSTER_ROLE, role)
    try:
        binding = f"{BINDINGS}/{names.POD_POLICY}"
        body = {"metadata": {"annotations": {names.EXCLUDED_NAMESPACES: "shop"}}}
        plane.call("PATCH", binding, body, kind=MERGE_PATCH)
        configuration = plane.call("GET", CONFIGURATION)
        other = base64.b64encode(plane.ca_file.read_bytes()).decode()
        for entry in configuration["webhooks"]:
            entry["clientConfig"]["caBundle"] = other
        plane.call("PUT", CONFIGURATION, configuration)
        watched.wait("BoundtokenPolicyOutOfStep", "BoundtokenCaBundleDrift")
    finally:
        plane.kubectl("apply", "-k", str(ROOT / "manifests"))
    watched.wait_until_over("BoundtokenPolicyOutOfStep", "BoundtokenCaBundleDrift")
    assert cluster.settings()[names.EXCLUDED_NAMESPACES] != "shop"


def test_replicas_go_away_and_come_back_under_a_bad_configuration(
    watched: Watched, configured: dict[str, Any]
) -> None:
    cluster = watched.cluster
    namespace = cluster.namespace(inject="enabled", automount="disabled")

    def create() -> None:
        for _ in range(10):
            cluster.create(namespace, a_bare_pod(), query="?dryRun=All")

    def is_critical() -> bool:
        create()
        query = 'ALERTS{alertname="BoundtokenFailedOpen",severity="critical",alertstate="firing"}'
        return bool(watched.server.query(query))

    try:
        scale(cluster, 1)
        watched.wait("BoundtokenOneReplica")
        scale(cluster, 0)
        watched.wait("BoundtokenUnreachable", "BoundtokenFailedOpen", again=create)
        assert "BoundtokenOneReplica" not in watched.firing()
        wait_for(is_critical, 60, 0.3)
        # What nobody may apply comes in while no replica runs.
        cluster.plane.call("PATCH", CONFIGMAP, {"data": {"config.yaml": BAD}}, kind=MERGE_PATCH)
    finally:
        scale(cluster, 2)
    watched.wait("BoundtokenConfigurationRejected")
    cluster.configure(yaml.safe_dump(configured))
    watched.wait_until_over("BoundtokenConfigurationRejected", "BoundtokenUnreachable")


def test_every_query_of_the_dashboard_shows_something(watched: Watched) -> None:
    wait_for(lambda: watched.firing() is not None and empty(watched.server) == [], 30, 0.5)
    failed = "apiserver_admission_webhook_fail_open_count"
    assert watched.server.query(f'{failed}{{name="pods.boundtoken.dev"}}')


def test_every_metric_that_is_asked_of_the_api_server_is_there_with_its_labels(
    watched: Watched,
) -> None:
    plane, cluster = watched.cluster.plane, watched.cluster
    strict = cluster.namespace(enforce="strict")
    assert cluster.denial(strict, a_bare_pod())  # its counter begins with the first denial
    headers = {"Authorization": f"Bearer {plane.tokens['admin']}"}
    request = urllib.request.Request(f"{plane.url}/metrics", headers=headers)
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    with urllib.request.urlopen(request, context=context) as answer:
        there = known.exposed(answer.read().decode())
    for name, labels in known.OF_API_SERVER.items():
        assert {frozenset(series) for series in there[name]} == {labels}, name


@pytest.fixture(scope="module")
def operator_kinds(plane: ControlPlane) -> Iterator[None]:
    """The kinds of the Prometheus operator."""
    folder = str(build.definitions())
    plane.kubectl("apply", "--server-side", "-f", folder)
    plane.kubectl("wait", "--for=condition=established", "-f", folder, "--timeout=30s")
    yield
    plane.kubectl("delete", "-f", folder, "--wait=false")


@pytest.mark.usefixtures("kubelet", "operator_kinds")
@pytest.mark.parametrize(
    ("more", "monitor"),
    [([], "PodMonitor"), (["boundtoken/manifests/monitoring/servicemonitor"], "ServiceMonitor")],
)
def test_the_component_is_accepted_beside_the_base(
    plane: ControlPlane, tmp_path: Path, more: list[str], monitor: str
) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "boundtoken/manifests")
    shutil.copytree(ROOT / "manifests/examples/overlay", tmp_path, dirs_exist_ok=True)
    page = (ROOT / "docs/operations.md").read_text()
    (block,) = re.findall(r"^```\n(patches:\n.+?)```", page, re.DOTALL | re.MULTILINE)
    file = tmp_path / "kustomization.yaml"
    overlay = yaml.safe_load(file.read_text())
    overlay["components"] = ["boundtoken/manifests/monitoring", *more]
    overlay["patches"] += yaml.safe_load(block)["patches"]
    file.write_text(yaml.safe_dump(overlay))
    objects = list(yaml.safe_load_all(plane.kubectl("kustomize", str(tmp_path))))
    monitors = {one["kind"] for one in objects if one["kind"].endswith("Monitor")}
    assert monitors == {monitor}
    namespaces = {
        one["metadata"]["namespace"]
        for one in objects
        if one["kind"] in (monitor, "PrometheusRule") or "dashboard" in one["metadata"]["name"]
    }
    assert namespaces == {"boundtoken-system"}
    labelled = {one["kind"] for one in objects if "release" in one["metadata"].get("labels", {})}
    assert labelled == {monitor, "PrometheusRule"}
    plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", str(tmp_path))


def test_the_monitors_reach_the_port_that_the_pods_have() -> None:
    folder = ROOT / "manifests"
    deployment = yaml.safe_load((folder / "40-deployment.yaml").read_text())
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    pods = yaml.safe_load((folder / "monitoring/podmonitor.yaml").read_text())["spec"]
    service, services = yaml.safe_load_all(
        (folder / "monitoring/servicemonitor/servicemonitor.yaml").read_text()
    )
    labels = template["metadata"]["labels"].items()
    assert pods["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels
    selected = services["spec"]["selector"]["matchLabels"]
    assert selected == service["metadata"]["labels"]
    (of_pods,), (of_services,), (port,) = (
        pods["podMetricsEndpoints"],
        services["spec"]["endpoints"],
        service["spec"]["ports"],
    )
    assert of_services["port"] == port["name"]
    assert of_pods["port"] == port["targetPort"]
    policy = yaml.safe_load((folder / "60-networkpolicy.yaml").read_text())["spec"]
    allowed = {one["port"] for rule in policy["ingress"] for one in rule["ports"]}
    assert ports[of_pods["port"]] in allowed
