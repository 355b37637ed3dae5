"""Thirty-odd combinations of values: the real API server takes every object, strictly, and finds
nothing against the pods in a namespace of Pod Security `restricted`.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.chart.combinations import COMBINATIONS, HA, HOST_NETWORK
from tests.controlplane.cluster import ControlPlane
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES
from tests.support.helm import CHART, dry_apply_path, rendered
from tests.support.waiting import wait_for

NAMESPACE = "rendered"
OF_OTHERS = {"monitoring.coreos.com/v1", "cert-manager.io/v1"}
"""Their CRDs are not there."""


@pytest.fixture(scope="module")
def restricted(plane: ControlPlane) -> Iterator[ControlPlane]:
    """With a namespace of Pod Security `restricted`, and one for the pod of the test."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    for name in (NAMESPACE, f"{NAMESPACE}-test"):
        plane.call("POST", NAMESPACES, {"metadata": {"name": name, "labels": labels}})
        accounts = f"{NAMESPACES}/{name}/serviceaccounts?fieldSelector=metadata.name=default"
        wait_for(lambda path=accounts: plane.call("GET", path)["items"])
    yield plane
    for name in (NAMESPACE, f"{NAMESPACE}-test"):
        plane.call("DELETE", f"{NAMESPACES}/{name}")


def of(name: str) -> list[Json]:
    """The objects of one combination."""
    given = {**COMBINATIONS[name], "test": {"namespace": f"{NAMESPACE}-test"}}
    files = ["--values", str(CHART / HA)] if given.pop(HA, False) else []
    return rendered(given, *files, namespace=NAMESPACE)


def test_the_api_server_takes_what_every_combination_renders(restricted: ControlPlane) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = dict(zip(COMBINATIONS, pool.map(of, COMBINATIONS), strict=True))
    assert len(made) >= 30
    taken: set[str] = set()
    warned: dict[str, list[str]] = {}
    for name, objects in made.items():
        for item in objects:
            text = json.dumps(item, sort_keys=True)
            if item["apiVersion"] in OF_OTHERS or text in taken:
                continue
            taken.add(text)
            _, warnings = restricted.call_with_warnings(
                "PATCH", dry_apply_path(item), item, kind="application/apply-patch+yaml"
            )
            if warnings:
                warned[f"{name}: {item['kind']}"] = warnings
    host = {name for name, given in COMBINATIONS.items() if given.items() >= HOST_NETWORK.items()}
    assert set(warned) == {f"{name}: Deployment" for name in host}
    refused = 'would violate PodSecurity "restricted:latest": host namespaces (hostNetwork=true)'
    assert {tuple(warnings) for warnings in warned.values()} == {(refused,)}


def test_every_combination_is_rendered_by_values_that_yaml_writes() -> None:
    """So that what is tested is what a person can put into a file."""
    assert yaml.safe_load(yaml.safe_dump(COMBINATIONS)) == COMBINATIONS
