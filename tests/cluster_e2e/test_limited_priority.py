"""A cluster that keeps system-cluster-critical to namespaces with a ResourceQuota for it, as GKE
does (Kubernetes: "Limit Priority Class consumption by default").
"""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import a_bare_pod
from tests.support.cluster import NAMESPACES
from tests.support.helm import rendered
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

LIMITED = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "ResourceQuota",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ResourceQuotaConfiguration",
                "limitedResources": [
                    {
                        "resource": "pods",
                        "matchScopes": [
                            {
                                "scopeName": "PriorityClass",
                                "operator": "In",
                                "values": ["system-node-critical", "system-cluster-critical"],
                            }
                        ],
                    }
                ],
            },
        }
    ],
}


@pytest.fixture(scope="module")
def limiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    file = tmp_path_factory.mktemp("admission") / "admission.yaml"
    file.write_text(json.dumps(LIMITED))
    with ControlPlane(flags=(f"--admission-control-config-file={file}",)) as started:
        yield started


def pods(plane: ControlPlane, namespace: str) -> int:
    return len(plane.call("GET", f"{NAMESPACES}/{namespace}/pods")["items"])


def test_the_replicas_are_created_there_by_both_ways(limiting: ControlPlane) -> None:
    pod = a_bare_pod()
    pod["spec"]["priorityClassName"] = "system-cluster-critical"
    with pytest.raises(StatusError, match="insufficient quota to match these scopes"):
        limiting.call("POST", f"{NAMESPACES}/default/pods", pod)
    limiting.kubectl("apply", "-k", str(ROOT / "manifests"))
    wait_for(lambda: pods(limiting, "boundtoken-system") == 2)
    limiting.call("POST", NAMESPACES, {"metadata": {"name": "by-chart"}})
    objects = yaml.safe_dump_all(rendered(namespace="by-chart"))
    limiting.kubectl("apply", "-f", "-", stdin=objects)
    wait_for(lambda: pods(limiting, "by-chart") == 2)
