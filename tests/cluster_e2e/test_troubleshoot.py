"""What docs/troubleshoot.md says that the API server and the commands print, they print."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_e2e.breaking import PAGE
from tests.cluster_e2e.failing import of_tokens, of_webhooks
from tests.controlplane.cluster import KubectlError
from tests.support.builders import a_bare_pod, a_container, a_deployment
from tests.support.checking import Checked
from tests.support.cluster import NAMESPACES, Cluster, namespaces_unreviewed, quiet
from tests.support.explaining import run_explain
from tests.support.fences import fences
from tests.support.waiting import wait_for
from webhook.checks import workload
from webhook.checks.installation import checks
from webhook.checks.model import Check
from webhook.cli.check.output import MARKS
from webhook.core import names

EVERY: list[Check[Any]] = [*checks(), *workload.checks()]
BROKEN = re.compile(r'is_on_the_page\([\w"\[\]()]+, "([a-z-]+)"\)')
"""How test_check.py and test_check_broken.py compare what they break, which takes longer."""
BROKEN_IN = ("test_check.py", "test_check_broken.py")
ELSEWHERE = {
    check.sentence
    for name in BROKEN_IN
    for found in BROKEN.findall((Path(__file__).parent / name).read_text())
    for check in EVERY
    if check.id == found
}
ROWS = re.findall(r"^\| (.*?) \| \[", PAGE.partition("\n## ")[0], re.MULTILINE)
SYMPTOMS = [found for row in ROWS for found in re.findall("`([^`]+)`", row)]
NOT_PRINTED = {
    "/var/run/secrets/kubernetes.io/serviceaccount/token": "a file that is not there",
    "boundtoken.dev/status": "an annotation that is not there",
    'secret "\N{HORIZONTAL ELLIPSIS}" not found': "a kubelet says it, and none runs here",
    "kubectl create token": "a command: tests/cluster_e2e/test_token_requests.py has it denied",
    "OutOfSync": "a word of Argo CD",
    "apiserver_admission_webhook_fail_open_count": "a metric: tests/monitoring/known.py",
    "namespace-unknown": "a reason: tests/repo/test_fences.py has all of them",
}
"""Symptoms of the first table that nothing here prints, and why."""
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
    events = ("get", "events", "-n", enforcing, "--field-selector", "reason=FailedCreate")
    yield wait_for(lambda: cluster.plane.kubectl(*events))
    for namespace in (foreign, older, enforcing):
        workload = ("workload", "deployment/web", "-n", namespace)
        yield from checked(cluster, *workload, "--can", "get/secrets")
    with namespaces_unreviewed(cluster):
        misspelt = cluster.namespace(inject="true")
    yield from checked(cluster, "--no-dry-run")
    cluster.plane.call("DELETE", f"{NAMESPACES}/{misspelt}")


@pytest.fixture(scope="module")
def printed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
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
    errors = (*of_tokens(cluster), *of_webhooks(cluster, tmp_path_factory.mktemp("failing")))
    texts = (*refusals, explained, *complaints(cluster), *errors)
    return "\n".join(texts).replace(f'"{shop}"', '"shop"')


@pytest.mark.parametrize("line", SHOWN)
def test_a_line_of_the_page_is_printed(printed: str, line: str) -> None:
    assert line.rstrip(" \N{HORIZONTAL ELLIPSIS}") in printed


def test_the_page_has_lines_to_look_for() -> None:
    assert len(SHOWN) > 11
    assert len(ELSEWHERE) > 8
    assert len(SYMPTOMS) > 18


@pytest.mark.parametrize("symptom", [one for one in SYMPTOMS if one not in NOT_PRINTED])
def test_a_symptom_of_the_first_table_is_printed(printed: str, symptom: str) -> None:
    pattern = re.escape(symptom).replace("\N{HORIZONTAL ELLIPSIS}", ".*")
    assert re.search(pattern, printed)


def test_what_is_not_printed_is_on_the_page() -> None:
    assert set(NOT_PRINTED) <= set(SYMPTOMS)
