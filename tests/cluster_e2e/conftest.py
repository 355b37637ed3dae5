"""What the tests on the real API server share: namespaces, pods and the tokens that a node gets for them."""

import base64
import itertools
import json
from typing import Any

import pytest

from tests.controlplane.cluster import NODE, ControlPlane, wait_for
from tests.controlplane.kubelet import Kubelet, node_token
from tests.pods import Json, a_container
from webhook.core import names

_NUMBERS = itertools.count(1)


class Cluster:
    """The control plane with boundtoken in it, as people use it."""

    def __init__(self, plane: ControlPlane, kubelet: Kubelet) -> None:
        self.plane = plane
        self.kubelet = kubelet

    def namespace(self, *, wait: bool = True, labels: dict[str, str] | None = None, **annotations: str) -> str:
        """A fresh namespace with these annotations (short names, `_` for `-`), with its default service account."""
        name = f"t{next(_NUMBERS)}"
        given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
        self.plane.call(
            "POST", "/api/v1/namespaces", {"metadata": {"name": name, "annotations": given, "labels": labels or {}}}
        )
        if wait:
            path = f"/api/v1/namespaces/{name}/serviceaccounts?fieldSelector=metadata.name=default"
            wait_for(lambda: self.plane.call("GET", path)["items"])
        return name

    def annotate(self, namespace: str, **annotations: str | None) -> None:
        given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
        body = {"metadata": {"annotations": given}}
        self.plane.call("PATCH", f"/api/v1/namespaces/{namespace}", body, kind="application/merge-patch+json")

    def create(self, namespace: str, pod: Json, *, query: str = "") -> tuple[Json, list[str]]:
        """The pod as the API server keeps it, and the warnings that its author sees."""
        return self.plane.call_with_warnings("POST", f"/api/v1/namespaces/{namespace}/pods{query}", pod)

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

    def deployment(self, namespace: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> Json:
        """A Deployment of one replica, and the pod that the controllers made of it."""
        self.plane.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", a_deployment(annotations, **spec))
        (pod,) = wait_for(lambda: self.plane.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"])
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

    def audit(self, namespace: str, resource: str = "pods") -> list[dict[str, str]]:
        """The audit annotations of every create of a resource in a namespace."""
        found = []
        for line in self.plane.audit_log.read_text().splitlines():
            if f'"namespace":"{namespace}"' in line and '"verb":"create"' in line:
                event = json.loads(line)
                if event["objectRef"]["resource"] == resource and event["stage"] == "ResponseComplete":
                    found.append(event.get("annotations") or {})
        return found


def a_bare_pod(*containers: Json, name: str = "web", annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    return {
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"containers": list(containers) or [a_container()], **spec},
    }


def a_deployment(annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [a_container()], **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": annotations or {}},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def claims(token: str) -> Json:
    """What a token says of itself."""
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def life(token: str) -> int:
    """How many seconds a token is valid."""
    said = claims(token)
    return int(said["exp"] - said["iat"])


@pytest.fixture
def cluster(plane: ControlPlane, kubelet: Kubelet) -> Cluster:
    return Cluster(plane, kubelet)
