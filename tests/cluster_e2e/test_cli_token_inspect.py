"""`boundtoken token inspect` on tokens that the real API server has made."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


def verified(plane: ControlPlane, stdin: str, *flags: str) -> list[tuple[str, str | None]]:
    """By whom, and why not."""
    command = ("token", "inspect", "-", "-o", "json", *flags)
    result = boundtoken(*command, stdin=stdin, kubeconfig=plane.kubeconfig())
    (report,) = json.loads(result.stdout)["tokens"]
    return [(found["by"], found["reason"]) for found in report["verifications"]]


def test_the_api_server_and_its_keys_verify_for_each_audience_and_no_other(
    shop: ControlPlane, tmp_path: Path
) -> None:
    token = requested(shop, "default", "--audience", "vault", "--audience", "aws")
    keys = tmp_path / "keys.json"
    keys.write_text(shop.kubectl("get", "--raw", "/openid/v1/jwks"))
    review, published, file = (
        "the API server",
        "the keys of the API server",
        f"the keys in {keys}",
    )
    both = ("--verify", "--jwks", "cluster")
    assert verified(shop, token, *both) == [(review, None), (published, None)]
    assert verified(shop, token, "--jwks", str(keys)) == [(file, None)]
    for audience, reason in (("aws", None), ("other", "wrong-audience")):
        flags = (*both, "--audience", audience)
        assert verified(shop, token, *flags) == [(review, reason), (published, reason)]
    head, payload, signature = token.split(".")
    forged = f"{head}.{payload}.{signature[:20]}{'A' * 20}{signature[40:]}"
    assert verified(shop, forged, "--jwks", "cluster") == [(published, "bad-signature")]
    assert verified(shop, forged, "--verify") == [(review, "bad-signature")]


def test_only_the_api_server_sees_that_the_bound_object_is_gone(shop: ControlPlane) -> None:
    shop.kubectl("create", "secret", "generic", "short", "-n", SHOP)
    bound = ("--bound-object-kind", "Secret", "--bound-object-name", "short")
    token = requested(shop, "default", *bound)
    shop.kubectl("delete", "secret", "short", "-n", SHOP)
    wait_for(lambda: not shop.review_token(token).get("authenticated"), 30)
    assert verified(shop, token, "--verify", "--jwks", "cluster") == [
        ("the API server", "revoked"),
        ("the keys of the API server", None),
    ]


def test_a_legacy_token_still_opens_the_api_server(shop: ControlPlane) -> None:
    text = shop.kubectl("get", "secret", "legacy", "-n", SHOP, "-o", "json")
    assert verified(shop, text, "--verify") == [("the API server", None)]
    shop.kubectl("delete", "secret", "legacy", "-n", SHOP)
    wait_for(lambda: verified(shop, text, "--verify")[0][1] is not None, 30)


def test_who_may_not_review_tokens_cannot_find_out(shop: ControlPlane) -> None:
    token = requested(shop, "default")
    command = ("token", "inspect", "-", "--verify")
    result = boundtoken(*command, stdin=token, kubeconfig=shop.kubeconfig("editor"))
    assert result.returncode == 3
    assert "needs a ClusterRoleBinding to system:auth-delegator" in result.stderr
    assert "account" in result.stdout
