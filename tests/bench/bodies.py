"""Reviews as the API server sends them: compact JSON, managedFields and defaults included, in three
sizes.
"""

import itertools
import json
from typing import Any

from tests.support.builders import Json, a_container, a_pod, a_review, automounted

SIZES = {"small": (1, 0, 0), "typical": (3, 1, 4), "big": (20, 2, 14)}
"""Containers, init containers, environment variables of each: about 3, 9 and 63 KB."""

_NUMBERS = itertools.count()


def a_body(size: str) -> bytes:
    """A review of a fresh pod: no two are the same."""
    containers, inits, variables = SIZES[size]
    number = next(_NUMBERS)
    pod = a_pod(
        *(_container(f"app-{index}", variables, number) for index in range(containers)),
        annotations={"checksum/config": f"{number:064x}"},
        initContainers=[_container(f"init-{index}", variables, number) for index in range(inits)],
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
        serviceAccount="default",
        serviceAccountName="default",
        securityContext={},
        terminationGracePeriodSeconds=30,
        tolerations=[
            {
                "key": f"node.kubernetes.io/{name}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            for name in ("not-ready", "unreachable")
        ],
    )
    metadata = pod["metadata"]
    metadata |= {
        "generateName": f"web-{number}-",
        "name": "",
        "labels": {"app": "web", "pod-template-hash": f"{number:x}"},
    }
    metadata["ownerReferences"] = [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"web-{number}",
            "uid": f"{number:032x}",
            "controller": True,
        }
    ]
    metadata["managedFields"] = [_managed(pod)]
    user = {
        "username": "system:serviceaccount:kube-system:replicaset-controller",
        "groups": ["system:authenticated"],
    }
    review = a_review(automounted(pod), uid=f"{number:036x}", userInfo=user)
    return json.dumps(review, separators=(",", ":")).encode()


def _container(name: str, variables: int, number: int) -> Json:
    return a_container(
        name,
        ("config", "/etc/app"),
        env=[
            {"name": f"SETTING_{index}", "value": f"value {index} of {number}"}
            for index in range(variables)
        ],
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        livenessProbe={
            "httpGet": {"path": "/live", "port": 8080, "scheme": "HTTP"},
            "periodSeconds": 10,
            "timeoutSeconds": 1,
        },
        readinessProbe={
            "httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"},
            "periodSeconds": 5,
            "timeoutSeconds": 1,
        },
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="IfNotPresent",
    )


def _managed(pod: Json) -> Json:
    spec = {f"f:{name}": _fields(value) for name, value in pod["spec"].items()}
    return {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": _fields(pod["metadata"]["labels"])},
            "f:spec": spec,
        },
    }


def _fields(value: Any) -> Json:
    """The set of fields of a value, as server-side apply writes it."""
    if isinstance(value, dict):
        return {".": {}, **{f"f:{name}": _fields(item) for name, item in value.items()}}
    if isinstance(value, list):
        return {
            f"k:{json.dumps({'name': item.get('name', '')}, separators=(',', ':'))}": _fields(item)
            for item in value
        }
    return {}
