"""`boundtoken token inspect` on tokens that the real API server has made."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.controlplane.cluster import ISSUER, ControlPlane
from tests.support.builders import Json, a_bare_pod
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for

SHOP = "token-inspect"


@pytest.fixture(scope="module")
def shop(plane: ControlPlane) -> Iterator[ControlPlane]:
    plane.kubectl("create", "namespace", SHOP)
    wait_for(lambda: "default" in plane.kubectl("get", "sa", "-n", SHOP, "-o", "name"))
    pod: Json = a_bare_pod()
    pod["metadata"]["name"] = "cart"
    plane.call("POST", f"/api/v1/namespaces/{SHOP}/pods", pod)
    yield plane
    plane.kubectl("delete", "namespace", SHOP, "--wait=false")


def requested(plane: ControlPlane, *arguments: str) -> str:
    command = ("token", "request", *arguments, "-n", SHOP)
    result = boundtoken(*command, kubeconfig=plane.kubeconfig())
    assert result.returncode == 0, result.stderr
    return result.stdout


def inspected(stdin: str, *flags: str) -> tuple[Json, subprocess.CompletedProcess[str]]:
    result = boundtoken("token", "inspect", "-", "-o", "json", *flags, stdin=stdin)
    (report,) = json.loads(result.stdout)["tokens"]
    return report, result


def test_a_token_of_a_pod(shop: ControlPlane) -> None:
    report, result = inspected(requested(shop, "--for-pod", "cart"))
    assert (result.returncode, result.stderr) == (0, "")
    assert report["serviceAccount"]["name"] == "default"
    assert report["serviceAccount"]["uid"]
    assert (report["boundTo"]["kind"], report["boundTo"]["name"]) == ("Pod", "cart")
    assert (report["issuer"], report["audiences"]) == (ISSUER, [ISSUER])
    assert (report["lifetimeSeconds"], report["algorithm"]) == (3600, "RS256")
    assert 3500 < report["remainingSeconds"] <= 3600
    assert report["findings"] == []


def test_the_year_of_3607_seconds(shop: ControlPlane) -> None:
    report, result = inspected(requested(shop, "--for-pod", "cart", "--duration", "3607s"))
    assert result.returncode == 1
    assert [finding["reason"] for finding in report["findings"]] == ["extended"]
    assert report["lifetimeSeconds"] == 31_536_000
    assert report["warnAfter"] < report["expiresAt"]


def test_a_legacy_token_in_the_secret_that_kubectl_prints(shop: ControlPlane) -> None:
    shop.call(
        "POST",
        f"/api/v1/namespaces/{SHOP}/secrets",
        {
            "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": "legacy",
                "annotations": {"kubernetes.io/service-account.name": "default"},
            },
        },
    )

    def secret() -> str:
        text = shop.kubectl("get", "secret", "legacy", "-n", SHOP, "-o", "json")
        return text if "token" in json.loads(text).get("data", {}) else ""

    report, result = inspected(wait_for(secret, 30))
    assert result.returncode == 1
    assert [finding["reason"] for finding in report["findings"]] == ["legacy"]
    assert report["boundTo"]["name"] == "legacy"
    assert (report["audiences"], report["expiresAt"]) == ([], None)
