"""`boundtoken check` on the control plane, and how a test breaks what it looks at."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json
from tests.support.checking import Checked
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.paths import ROOT
from tests.support.waiting import wait_for
from webhook.cli.check.output import MARKS

GROUP = "/apis/admissionregistration.k8s.io/v1"
MUTATING = f"{GROUP}/mutatingwebhookconfigurations/boundtoken"
VALIDATING = f"{GROUP}/validatingwebhookconfigurations/boundtoken"
POLICY = f"{GROUP}/validatingadmissionpolicies/boundtoken-misplaced"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLE = f"{RBAC}/clusterroles/boundtoken"
SELF_PROBE_ROLE = f"{RBAC}/namespaces/boundtoken-system/roles/boundtoken"
"""Its third rule lets a replica ask for a pod."""
SELF_PROBE_INTERVAL = "BOUNDTOKEN_SELF_PROBE_INTERVAL"
OURS = f"{NAMESPACES}/boundtoken-system"
SERVICE = f"{OURS}/services/boundtoken"
BUDGETS = "/apis/policy/v1/namespaces/boundtoken-system/poddisruptionbudgets"
NETWORK = "/apis/networking.k8s.io/v1/namespaces/boundtoken-system/networkpolicies/boundtoken"
CA_BUNDLE = "/webhooks/0/clientConfig/caBundle"
PAGE = (ROOT / "docs/troubleshoot.md").read_text()
JSON_PATCH = "application/json-patch+json"
EXPECTED_WARNINGS = {"spread", "fail-open", "namespace-annotations", "namespace-excluded"}
"""There is one node, and what other tests did is told."""


def is_on_the_page(found: Checked, name: str) -> bool:
    """Whether docs/troubleshoot.md shows the line that `check` prints of what was found."""
    one = found.by_id[name]
    return f"{MARKS[one['status']]} {one['sentence']}" in PAGE.splitlines()


def checked(cluster: Cluster, *flags: str, user: str = "admin") -> Checked:
    """What `boundtoken check` finds."""
    return Checked("--kubeconfig", str(cluster.plane.kubeconfig(user)), *flags)


@contextlib.contextmanager
def changed(cluster: Cluster, path: str, *operations: Json) -> Iterator[None]:
    """An object with these changes of a JSON Patch, put back afterwards."""
    before = cluster.plane.call("GET", path)
    cluster.plane.call("PATCH", path, list(operations), kind=JSON_PATCH)
    try:
        yield
    finally:
        now = cluster.plane.call("GET", path)
        before["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
        cluster.plane.call("PUT", path, before)


@contextlib.contextmanager
def deleted(cluster: Cluster, path: str) -> Iterator[None]:
    """An object that is not there, made again afterwards."""
    before = cluster.plane.call("GET", path)
    cluster.plane.call("DELETE", path)
    try:
        yield
    finally:
        for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            before["metadata"].pop(field, None)
        cluster.plane.call("POST", path.rpartition("/")[0], before)


def put(path: str, value: Any) -> Json:
    """An operation of a JSON Patch."""
    return {"op": "add", "path": path, "value": value}


@contextlib.contextmanager
def blocked(cluster: Cluster) -> Iterator[None]:
    """A firewall between the API server and port 10250."""
    egress = cluster.plane.egress
    egress.blocked.add(10250)
    egress.cut()
    try:
        yield
    finally:
        egress.blocked.clear()


@contextlib.contextmanager
def started_again(kubelet: Kubelet, variables: Mapping[str, str]) -> Iterator[None]:
    """Replicas with these variables of their environment; both are started again, before and
    afterwards, as after a crash: a rollout would drain each of them first.
    """
    before = dict(kubelet.variables)
    try:
        _start_again(kubelet, {**before, **variables})
        yield
    finally:
        _start_again(kubelet, before)


def _start_again(kubelet: Kubelet, variables: Mapping[str, str]) -> None:
    wait_for(lambda: kubelet.proxy.ready("boundtoken") == len(kubelet.pods) == 2, 60)
    kubelet.variables.clear()
    kubelet.variables.update(variables)
    pids = {pod.pid for pod in kubelet.pods}
    for pod in kubelet.pods:
        pod.end(signal.SIGKILL)
    wait_for(lambda: pids.isdisjoint(pod.pid for pod in kubelet.pods), 20)
    with contextlib.suppress(TimeoutError):  # the controller may see only that both are back
        wait_for(lambda: kubelet.proxy.ready("boundtoken") == 0, 5)
    wait_for(lambda: kubelet.proxy.ready("boundtoken") == 2, 60)
