"""The cluster of the tests on the real API server, and its configuration."""

from collections.abc import Iterator

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json
from tests.support.cluster import CONFIGMAP, Cluster
from tests.support.waiting import wait_for


@pytest.fixture
def configured(cluster: Cluster) -> Iterator[dict[str, Json]]:
    """The cluster's configuration, to be changed with `cluster.configure`; put back afterwards."""
    text = cluster.plane.call("GET", CONFIGMAP)["data"]["config.yaml"]
    yield yaml.safe_load(text)
    cluster.configure(text)


@pytest.fixture
def cluster(plane: ControlPlane, kubelet: Kubelet) -> Cluster:
    return Cluster(plane, kubelet)


@pytest.fixture
def installed(cluster: Cluster) -> Cluster:
    """Boundtoken as it was installed, two replicas ready, which other tests may have changed."""
    wait_for(lambda: cluster.kubelet.proxy.ready("boundtoken") == 2, 60)
    return cluster
