"""Enforcement on an API server of another release, on which boundtoken was never installed: the
policies alone are there.
"""

from collections.abc import Iterator

import pytest

from tests.controlplane.cluster import MERGE_PATCH, ControlPlane, StatusError
from tests.support.builders import Json, with_tokens
from tests.support.cluster import BINDINGS, NAMESPACES, denied_by
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

OLDEST = "1.34"
"""What the API server of the tests can emulate; older releases are compiled for by
tests/controlplane/policies."""


@pytest.fixture(scope="module")
def older() -> Iterator[ControlPlane]:
    with ControlPlane(emulates=OLDEST) as started:
        started.kubectl("apply", "-f", str(ROOT / "manifests/85-enforcement.yaml"))
        yield started


def denial(plane: ControlPlane, namespace: str, pod: Json) -> str:
    try:
        plane.call("POST", f"{NAMESPACES}/{namespace}/pods?dryRun=All", pod)
    except StatusError as problem:
        return denied_by(problem)
    return ""


def test_the_policies_alone_refuse_who_violates_and_nobody_else(older: ControlPlane) -> None:
    assert older.call("GET", "/version")["emulationMinor"] == OLDEST.split(".")[1]
    for name, annotations in (("enforced", {"boundtoken.dev/enforce": "strict"}), ("other", {})):
        older.call("POST", NAMESPACES, {"metadata": {"name": name, "annotations": annotations}})
        path = f"{NAMESPACES}/{name}/serviceaccounts?fieldSelector=metadata.name=default"
        wait_for(lambda path=path: older.call("GET", path)["items"])
    violating, compliant = (
        with_tokens({"expirationSeconds": 3607}),
        with_tokens({"expirationSeconds": 3600}),
    )
    wait_for(lambda: "[token-lifetime]" in denial(older, "enforced", violating), 15)
    assert denial(older, "enforced", compliant) == denial(older, "other", violating) == ""
    floor = {"metadata": {"annotations": {"boundtoken.dev/enforce-floor": "bound"}}}
    older.call("PATCH", f"{BINDINGS}/boundtoken-pods", floor, kind=MERGE_PATCH)
    wait_for(lambda: "enforceFloor" in denial(older, "other", violating), 15)
    assert denial(older, "other", compliant) == ""
    for name in ("boundtoken-pods", "boundtoken-token-requests", "boundtoken-legacy-secrets"):
        path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"
        assert not older.call("GET", path)["status"]["typeChecking"].get("expressionWarnings")
