"""What docs/troubleshoot.md says that the API server and the commands print, they print."""

import json
from collections.abc import Iterator

import pytest

from tests.controlplane.cluster import KubectlError
from tests.support.builders import a_bare_pod, a_container, a_deployment
from tests.support.checking import Checked
from tests.support.cluster import NAMESPACES, Cluster, namespaces_unreviewed, quiet
from tests.support.explaining import run_explain
from tests.support.fences import fences
from tests.support.waiting import wait_for
from webhook.cli.check.output import MARKS
from webhook.core import names

ELSEWHERE = {
    "no token has expired",
    "the configuration is valid",
    "every replica uses it",
    "the API server reaches each replica",
    "the Service has ready endpoints",
    "no request went on without boundtoken",
    "every caBundle verifies what the replicas serve",
    "the replicas' certificates are valid",
    "the certificate authorities are valid",
}
"""What tests/cluster_e2e/test_check.py and test_check_broken.py break, which takes longer."""
SHOWN = [
    line
    for fence in fences()
    if (fence.page, fence.language) == ("docs/troubleshoot.md", "text")
    for line in fence.text.splitlines()
    if line[2:] not in ELSEWHERE
]
OPTED_OUT = {names.INJECT: "disabled", names.AUTOMOUNT: "enabled"}
BAD = json.dumps({"data": {"config.yaml": "locks: {what: 1}\n"}})


def refusal(cluster: Cluster, *words: str, stdin: str = "") -> str:
    """What kubectl prints of a request that is refused; empty where it is not."""
    try:
        cluster.plane.kubectl(*words, stdin=stdin)
    except KubectlError as problem:
        return str(problem)
    return ""


def checked(cluster: Cluster, *words: str) -> Iterator[str]:
    """The line of each check."""
    found = Checked(*words, "--kubeconfig", str(cluster.plane.kubeconfig()))
    return (f"{MARKS[one['status']]} {one['sentence']}" for one in found.by_id.values())


def complaints(cluster: Cluster) -> Iterator[str]:
    """What `check` prints of workloads with the usual complaints, and of a bad annotation."""
    mount = {"name": "own", "mountPath": "/own", "subPath": "token", "readOnly": True}
    own = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    volumes = [{"name": "own", **own}, {"name": "gone", "secret": {"secretName": "gone"}}]
    spec = {"containers": [a_container(volumeMounts=[mount])], "volumes": volumes}
    foreign = cluster.namespace(inject="replace", automount="disabled")
    cluster.deployment(foreign, annotations={names.AUDIENCE: "vault"}, **spec)
    older = quiet(cluster)
    cluster.deployment(older)
    cluster.annotate(older, inject="enabled")
    enforcing = cluster.namespace(enforce="strict")
    cluster.plane.call(
        "POST", f"/apis/apps/v1/namespaces/{enforcing}/deployments", a_deployment({})
    )
    for namespace in (foreign, older, enforcing):
        workload = ("workload", "deployment/web", "-n", namespace)
        yield from checked(cluster, *workload, "--can", "get/secrets")
    with namespaces_unreviewed(cluster):
        misspelt = cluster.namespace(inject="true")
    yield from checked(cluster, "--no-dry-run")
    cluster.plane.call("DELETE", f"{NAMESPACES}/{misspelt}")


@pytest.fixture(scope="module")
def printed(request: pytest.FixtureRequest) -> str:
    """What is printed about a namespace that enforces and injects, named as on the page."""
    cluster = Cluster(request.getfixturevalue("plane"), request.getfixturevalue("kubelet"))
    shop = cluster.namespace(inject="replace", automount="disabled", enforce="strict")
    pod = json.dumps({"apiVersion": "v1", "kind": "Pod", **a_bare_pod(annotations=OPTED_OUT)})
    create = ("create", "--dry-run=server", "-n", shop, "-f", "-")
    # The policies see a new namespace a moment later.
    denied = wait_for(lambda: refusal(cluster, *create, stdin=pod))
    annotate = ("annotate", "--overwrite", "namespace", shop, f"{names.INJECT}=true")
    configure = ("patch", "configmap", "boundtoken", "-n", "boundtoken-system", "-p", BAD)
    cluster.deployment(shop)
    kubeconfig = ("--kubeconfig", str(cluster.plane.kubeconfig()))
    _, explained, _ = run_explain("deployment/web", "-n", shop, *kubeconfig)
    refusals = (denied, refusal(cluster, *annotate), refusal(cluster, *configure))
    texts = (*refusals, explained, *complaints(cluster))
    return "\n".join(texts).replace(f'"{shop}"', '"shop"')


@pytest.mark.parametrize("line", SHOWN)
def test_a_line_of_the_page_is_printed(printed: str, line: str) -> None:
    assert line.rstrip(" \N{HORIZONTAL ELLIPSIS}") in printed


def test_the_page_has_lines_to_look_for() -> None:
    assert len(SHOWN) > 11
