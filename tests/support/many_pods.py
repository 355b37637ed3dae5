"""Thousands of pods on a real API server, without a node that would run them."""

import http.client
import json
import ssl
from concurrent.futures import ThreadPoolExecutor

from tests.controlplane.cluster import ControlPlane
from tests.support.builders import Json, a_container

CONNECTIONS = 4


def create(plane: ControlPlane, paths: list[tuple[str, Json]]) -> None:
    """Create these objects, each at its path."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = [paths[number::CONNECTIONS] for number in range(CONNECTIONS)]
        list(pool.map(lambda part: _create(plane, part), parts))


def _create(plane: ControlPlane, paths: list[tuple[str, Json]]) -> None:
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=context, timeout=60)
    headers = {
        "Authorization": f"Bearer {plane.tokens['admin']}",
        "Content-Type": "application/json",
    }
    for path, body in paths:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 201, content[:300]
    connection.close()


def a_big_pod(name: str, number: int) -> Json:
    """A pod of a usual size, some 6 KB as it is listed: two containers, a sidecar, variables,
    probes. Of ten pods each has a shape of its own.
    """
    env = [{"name": f"VARIABLE_{at}", "value": "value " * 8} for at in range(20)]
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}}
    more = {"env": env, "livenessProbe": probe, "readinessProbe": probe, "resources": resources}
    containers = [a_container("app", **more), a_container("sidecar", **more)]
    labels = {"app": name.rpartition("-")[0], "pod-template-hash": "5fc9f4bf66", "version": "1"}
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"{labels['app']}-5fc9f4bf66",
        "uid": "00000000-0000-0000-0000-000000000000",
        "controller": True,
    }
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "containers": containers,
            "hostname": f"shape-{number % 10}",
            "nodeName": "node-1",
        },
    }
