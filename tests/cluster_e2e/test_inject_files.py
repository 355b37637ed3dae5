"""Files of `boundtoken inject` on the real API server: what the webhook would have made of the pod
is in the file, and of the file's pod it changes nothing.
"""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.builders import Json, a_bare_pod, mounts, volume_names
from tests.support.cluster import Cluster
from tests.support.paths import BOUNDTOKEN
from webhook.core import names


def injected(cluster: Cluster, namespace: str, path: Path) -> str:
    """What the command gives for a file, by the annotations in the cluster."""
    words = [path, "-n", namespace, "--from-cluster", "--kubeconfig", cluster.plane.kubeconfig()]
    result = subprocess.run(
        [BOUNDTOKEN, "inject", *map(str, words)], capture_output=True, text=True, check=True
    )
    return result.stdout


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
@pytest.mark.parametrize("inject", ["enabled", "replace", "disabled"])
@pytest.mark.parametrize(
    "more", [{}, {"mount_path": "/bound", "tokens": "vault=vault;900"}], ids=len
)
def test_the_pod_of_a_file_is_the_one_that_the_webhook_makes(
    cluster: Cluster, tmp_path: Path, inject: str, automount: str, more: Json
) -> None:
    namespace = cluster.namespace(inject=inject, automount=automount, **more)
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **a_bare_pod()}))
    file = yaml.safe_load(injected(cluster, namespace, path))
    theirs, _ = cluster.create(namespace, a_bare_pod(name="theirs"))
    ours, _ = cluster.create(namespace, {**file, "metadata": {**file["metadata"], "name": "ours"}})
    status = [
        (pod["metadata"].get("annotations") or {}).get(names.STATUS) for pod in (ours, theirs)
    ]
    assert status[0] == status[1] == (file["metadata"].get("annotations") or {}).get(names.STATUS)
    assert shape(ours) == shape(theirs)
    if volume_names(file):
        assert set(volume_names(ours)) == set(volume_names(file))


def test_a_service_account_of_the_cluster_that_opts_out_gets_what_the_webhook_gives(
    cluster: Cluster, tmp_path: Path
) -> None:
    namespace = cluster.namespace(inject="enabled", automount="enabled")
    account = {"metadata": {"name": "quiet"}, "automountServiceAccountToken": False}
    cluster.plane.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    pod = a_bare_pod(serviceAccountName="quiet")
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **pod}))
    file = yaml.safe_load(injected(cluster, namespace, path))
    theirs, _ = cluster.create(namespace, pod)
    assert shape(file) == shape(theirs)
    assert volume_names(file) == ["boundtoken"]


def shape(pod: Json) -> object:
    """Its switch, its mounts and its tokens; of a volume of the plugin's name without the random
    part.
    """
    return (
        pod["spec"].get("automountServiceAccountToken"),
        sorted((plain(volume), at) for volume, at in mounts(pod)["app"]),
        sorted(
            (plain(volume["name"]), json.dumps(volume["projected"]["sources"], sort_keys=True))
            for volume in pod["spec"].get("volumes") or ()
        ),
    )


def plain(volume: str) -> str:
    return names.AUTOMOUNTED_PREFIX if volume.startswith(names.AUTOMOUNTED_PREFIX) else volume
