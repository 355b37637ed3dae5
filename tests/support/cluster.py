"""The control plane with boundtoken in it: namespaces, pods and the tokens that a node gets for
them.
"""

import base64
import contextlib
import http.client
import itertools
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.controlplane.cluster import ISSUER, MERGE_PATCH, NODE, ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.controlplane.volumes import node_token
from tests.support.builders import Json, a_bare_pod, a_deployment, volume_names
from tests.support.threads import repeating
from tests.support.waiting import wait_for
from webhook import cluster_config as cluster_configuration
from webhook.core import names
from webhook.enforcement.policies import bindings

_NUMBERS = itertools.count(1)
NAMESPACES = "/api/v1/namespaces"
CONFIGMAP = f"{NAMESPACES}/boundtoken-system/configmaps/boundtoken"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
DEPLOYMENT = "/apis/apps/v1/namespaces/boundtoken-system/deployments/boundtoken"


class Cluster:
    """The control plane with boundtoken in it, as people use it."""

    def __init__(self, plane: ControlPlane, kubelet: Kubelet) -> None:
        self.plane = plane
        self.kubelet = kubelet

    def namespace(
        self, *, wait: bool = True, labels: dict[str, str] | None = None, **annotations: str
    ) -> str:
        """A fresh namespace with these annotations (short names, `_` for `-`), with its default
        service account.
        """
        name = f"t{next(_NUMBERS)}"
        given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
        self.plane.call(
            "POST",
            "/api/v1/namespaces",
            {"metadata": {"name": name, "annotations": given, "labels": labels or {}}},
        )
        if wait:
            path = f"/api/v1/namespaces/{name}/serviceaccounts?fieldSelector=metadata.name=default"
            wait_for(lambda: self.plane.call("GET", path)["items"])
        return name

    def reader(self, namespace: str, account: str = "default") -> None:
        """Let an account read and write the ConfigMaps of its namespace, and exec in its pods."""
        base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        rules = [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
        ]
        self.plane.call("POST", f"{base}/roles", {"metadata": {"name": "reader"}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        binding = {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject]}
        self.plane.call("POST", f"{base}/rolebindings", binding)

    def annotate(self, namespace: str, **annotations: str | None) -> None:
        given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
        body = {"metadata": {"annotations": given}}
        self.plane.call("PATCH", f"/api/v1/namespaces/{namespace}", body, kind=MERGE_PATCH)

    def create(self, namespace: str, pod: Json, *, query: str = "") -> tuple[Json, list[str]]:
        """The pod as the API server keeps it, and the warnings that its author sees."""
        return self.plane.call_with_warnings(
            "POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod
        )

    def run(self, namespace: str, pod: Json | None = None) -> Json:
        """A pod, created and bound to the node."""
        created, _ = self.create(namespace, pod or a_bare_pod())
        self.bind(created)
        return created

    def bind(self, pod: Json) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": NODE}}
        self.plane.call("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body)

    def delete(self, pod: Json) -> None:
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self.plane.call("DELETE", path, {"gracePeriodSeconds": 0})

    def deployment(
        self, namespace: str, *, annotations: dict[str, str] | None = None, **spec: Any
    ) -> Json:
        """A Deployment of one replica, and the pod that the controllers made of it."""
        self.plane.call(
            "POST",
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
            a_deployment(annotations, **spec),
        )
        (pod,) = wait_for(
            lambda: self.plane.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        )
        return dict(pod)

    def tokens(self, pod: Json) -> dict[str, str]:
        """Every token that the node gets for a pod, by volume and file."""
        return {
            f"{volume['name']}/{source['serviceAccountToken']['path']}": node_token(
                self.plane, pod, source["serviceAccountToken"]
            )
            for volume in pod["spec"].get("volumes") or ()
            for source in (volume.get("projected") or {}).get("sources") or ()
            if "serviceAccountToken" in source
        }

    def denial(
        self, namespace: str, pod: Json, *, user: str = "admin", query: str = "?dryRun=All"
    ) -> str:
        """Why the API server's policy refuses to create the pod; empty where it is created.

        Raises: StatusError, where something else refuses it
        """
        try:
            self.plane.call("POST", f"{NAMESPACES}/{namespace}/pods{query}", pod, user=user)
        except StatusError as problem:
            return denied_by(problem)
        return ""

    def settings(self, name: str = names.POD_POLICY) -> dict[str, str]:
        """The annotations of a policy binding that are ours."""
        annotations = (
            self.plane.call("GET", f"{BINDINGS}/{name}")["metadata"].get("annotations") or {}
        )
        return {key: value for key, value in annotations.items() if key.startswith(names.DOMAIN)}

    def configure(self, configuration: dict[str, Any] | str) -> None:
        """Give the replicas this configuration, and wait until they have it and the bindings say
        it.
        """
        text = configuration if isinstance(configuration, str) else yaml.safe_dump(configuration)
        if self.plane.call("GET", CONFIGMAP)["data"]["config.yaml"] == text:
            return
        before = {pod.name: pod.log.count("configuration applied") for pod in self.kubelet.pods}
        self.plane.call("PATCH", CONFIGMAP, {"data": {"config.yaml": text}}, kind=MERGE_PATCH)
        wait_for(
            lambda: all(
                pod.log.count("configuration applied") > before[pod.name]
                for pod in self.kubelet.pods
            ),
            20,
        )
        parsed = cluster_configuration.parse(text, api_audiences=(ISSUER,)).policy
        expected = {
            name: bindings.annotations(parsed, text if name == names.POD_POLICY else "")
            for name in names.POLICY_BINDINGS
        }
        wait_for(lambda: all(self.settings(name) == expected[name] for name in expected), 20)

    def audit(self, namespace: str, resource: str = "pods") -> list[dict[str, str]]:
        """The audit annotations of every create of a resource in a namespace."""
        found = []
        for line in self.plane.audit_log.read_text().splitlines():
            if f'"namespace":"{namespace}"' in line and '"verb":"create"' in line:
                event = json.loads(line)
                if (
                    event["objectRef"]["resource"] == resource
                    and event["stage"] == "ResponseComplete"
                ):
                    found.append(event.get("annotations") or {})
        return found


def denied_by(problem: StatusError, policy: str = names.POD_POLICY) -> str:
    """What a policy of ours said.

    Raises: the problem, where it was not that policy
    """
    status_message = str(problem.status.get("message"))
    before, found, message = status_message.partition(
        f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: "
    )
    if not found or (problem.code, problem.status.get("reason")) != (403, "Forbidden"):
        raise problem
    assert "forbidden: " in before
    return message


def scale(cluster: Cluster, replicas: int) -> None:
    body = {"spec": {"replicas": replicas}}
    cluster.plane.call("PATCH", DEPLOYMENT, body, kind=MERGE_PATCH)
    wait_for(
        lambda: (
            cluster.kubelet.proxy.ready("boundtoken") == replicas
            and len(cluster.kubelet.pods) == replicas
        ),
        60,
    )


def rolled_out(cluster: Cluster, replicas: int = 2) -> None:
    """Wait until the replicas of the newest template run, and no other."""
    command = ("rollout", "status", "deployment/boundtoken", "-n", "boundtoken-system")
    cluster.plane.kubectl(*command, "--timeout=400s")
    kubelet = cluster.kubelet
    wait_for(lambda: len(kubelet.pods) == kubelet.proxy.ready("boundtoken") == replicas, 60)


def injected(cluster: Cluster, namespace: str) -> bool:
    pod, _ = cluster.create(namespace, a_bare_pod(), query="?dryRun=All")
    return volume_names(pod) == ["boundtoken"]


@contextmanager
def pods_without_pause(cluster: Cluster, namespace: str) -> Iterator[list[bool]]:
    """Pods created one after the other by two clients while the block runs; for each whether it was
    injected.
    """
    results: list[bool] = []

    def create() -> None:
        results.append(injected(cluster, namespace))

    with repeating(create, create):
        yield results


def quiet(cluster: Cluster, **annotations: Any) -> str:
    """A namespace whose pods get no automounted token, so that a pod is judged as it was posted."""
    namespace = cluster.namespace(**annotations)
    path = f"{NAMESPACES}/{namespace}/serviceaccounts/default"
    cluster.plane.call("PATCH", path, {"automountServiceAccountToken": False}, kind=MERGE_PATCH)
    return namespace


def life(token: str) -> int:
    """How many seconds a token is valid."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return int(claims["exp"] - claims["iat"])


@contextlib.contextmanager
def namespaces_unreviewed(cluster: Cluster) -> Iterator[None]:
    """While no request on a Namespace is sent to boundtoken, as before it was installed."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/boundtoken"
    hooks = cluster.plane.call("GET", path)["webhooks"]
    (at,) = (n for n, hook in enumerate(hooks) if hook["name"] == "previews.boundtoken.dev")
    pointer = f"/webhooks/{at}/rules/0/operations"
    probe = {"metadata": {"name": "probe", "annotations": {names.INJECT: "true"}}}

    def is_denied() -> bool:
        try:
            cluster.plane.call("POST", f"{NAMESPACES}?dryRun=All", probe)
        except StatusError:
            return True
        return False

    def send(operations: list[str]) -> None:
        operation = {"op": "replace", "path": pointer, "value": operations}
        cluster.plane.call("PATCH", path, [operation], kind="application/json-patch+json")
        wait_for(lambda: is_denied() == ("CREATE" in operations), 15)

    send(["DELETE"])
    try:
        yield
    finally:
        send(hooks[at]["rules"][0]["operations"])


@contextlib.contextmanager
def starved(kubelet: Kubelet) -> Iterator[None]:
    """512 connections to every replica that asked for something once and are idle since."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connections = []
    for pod in kubelet.pods:
        for _ in range(512):
            connection = http.client.HTTPSConnection(pod.ip, 10250, context=context, timeout=10)
            try:
                connection.request("GET", "/certificate")
                connection.getresponse().read()
                connections.append(connection)
            except (OSError, http.client.HTTPException):
                connection.close()
    assert len(connections) > 900
    try:
        yield
    finally:
        for connection in connections:
            connection.close()
