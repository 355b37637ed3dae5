"""`boundtoken check workload` beside an API server that a test plays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import Json
from tests.support.checking import Checked, run_check
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.played import Played, playing

SHOP = "/api/v1/namespaces/shop"
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
LEGACY: Json = {"type": "kubernetes.io/service-account-token", "data": {"token": "eA=="}}


def a_spec(volume: Json | None = None, **mount: Any) -> Json:
    """Of a pod that opts out, with this volume of a Secret at /t."""
    mounts = [{"name": "v", "mountPath": "/t", **mount}] if volume is not None else []
    return {
        "automountServiceAccountToken": False,
        "containers": [{"name": "app", "image": "a:1", "volumeMounts": mounts}],
        "volumes": [{"name": "v", **volume}] if volume is not None else [],
    }


WHOLE = a_spec({"secret": {"secretName": "old"}})
CA_ONLY = a_spec({"secret": {"secretName": "old", "items": [{"key": "ca.crt", "path": "ca.crt"}]}})
UNMOUNTED = {**WHOLE, "containers": a_spec()["containers"]}
VARIABLE = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "old", "key": "token"}}}
IN_ENVIRONMENT = {"containers": [{"name": "app", "image": "a:1", "env": [VARIABLE]}]}


def a_pod(spec: Json, name: str = "web-1-x") -> Json:
    owner = {"kind": "ReplicaSet", "name": "web-1", "apiVersion": "apps/v1", "controller": True}
    labels = {"app": "web", "pod-template-hash": "1"}
    metadata = {"name": name, "labels": labels, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def with_template(api: Played, spec: Json, **of_workload: Any) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    selector = {"matchLabels": {"app": "web"}}
    api.objects[f"{DEPLOYMENTS}/web"] = {
        "metadata": {"name": "web"},
        "spec": {"selector": selector, "template": template, **of_workload},
    }


@pytest.fixture
def played() -> Iterator[Played]:
    config = {"metadata": {"name": "boundtoken"}, "data": {"config.yaml": "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"}}  # fmt: skip
    empty: list[Json] = []
    with playing() as api:
        api.objects = {
            SHOP: {"metadata": {"name": "shop"}},
            f"{SHOP}/pods": [a_pod(a_spec())],
            f"{SHOP}/events": empty,
            f"{SHOP}/serviceaccounts/default": {"metadata": {"name": "default"}},
            f"{SHOP}/secrets/old": LEGACY,
            f"{ROLES}/namespaces/shop/rolebindings": empty,
            f"{ROLES}/clusterrolebindings": empty,
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": empty,
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": empty,
            "/api/v1/namespaces/boundtoken-system/configmaps": [config],
        }
        with_template(api, a_spec())
        yield api


def found(api: Played, folder: Path, *words: str) -> Checked:
    config = a_kubeconfig(folder / "config", api.server)
    flags = ("-n", "shop", "--kubeconfig", str(config))
    return Checked("workload", "deployment/web", *flags, *words)


@pytest.mark.parametrize(
    ("template", "pod", "status", "text"),
    [
        (WHOLE, WHOLE, "passed", "of secret/old"),
        (CA_ONLY, CA_ONLY, "warning", "pod/web-1-x has none"),
        (WHOLE, CA_ONLY, "warning", "pod/web-1-x has none"),
        (a_spec(), WHOLE, "passed", "of secret/old"),
        (WHOLE, None, "passed", "of secret/old"),
        (CA_ONLY, None, "warning", "its pods would have none"),
        (UNMOUNTED, UNMOUNTED, "warning", "pod/web-1-x has none"),
        (IN_ENVIRONMENT, IN_ENVIRONMENT, "passed", "of secret/old"),
    ],
)
def test_a_legacy_token_counts_where_a_pod_has_mounted_it(
    played: Played, tmp_path: Path, *, template: Json, pod: Json | None, status: str, text: str
) -> None:
    with_template(played, template)
    played.objects[f"{SHOP}/pods"] = [] if pod is None else [a_pod(pod)]
    checked = found(played, tmp_path)
    assert (checked.status("workload-token"), text in checked.text("workload-token")) == (
        status,
        True,
    ), checked.text("workload-token")


@pytest.mark.parametrize(
    ("pods", "status", "text"),
    [
        ([a_pod(WHOLE)], "unknown", "secret/old may have the only one: needs get on secrets in shop"),
        ([a_pod(CA_ONLY)], "warning", "pod/web-1-x has none"),
        ([a_pod(WHOLE), a_pod(a_spec(), "web-1-y")], "warning", "pod/web-1-y has none"),
        ([], "unknown", "secret/old may have the only one"),
    ],
)  # fmt: skip
def test_a_secret_that_may_not_be_read_is_no_missing_token(
    played: Played, tmp_path: Path, *, pods: list[Json], status: str, text: str
) -> None:
    with_template(played, WHOLE)
    played.objects[f"{SHOP}/pods"] = pods
    played.objects[f"{SHOP}/secrets/old"] = 403
    checked = found(played, tmp_path)
    assert (checked.status("workload-token"), text in checked.text("workload-token")) == (
        status,
        True,
    ), checked.text("workload-token")
    assert bool(checked.by_id["workload-token"]["commands"]) == (status != "unknown")


def test_credentials_that_are_not_accepted_are_no_missing_right(
    played: Played, tmp_path: Path
) -> None:
    config = str(a_kubeconfig(tmp_path / "config", played.server))
    words = ("workload", "deployment/web", "-n", "shop", "--kubeconfig", config)
    told = {}
    for status in (401, 403):
        played.objects[f"{DEPLOYMENTS}/web"] = status
        code, _, told[status] = run_check(*words)
        assert code == 3
    assert "401" in told[401]
    assert "needs get" not in told[401]
    assert "needs get on deployments in shop" in told[403]


def test_a_secret_that_only_an_older_pod_uses_is_not_missing(
    played: Played, tmp_path: Path
) -> None:
    played.objects[f"{SHOP}/pods"] = [a_pod(WHOLE)]
    del played.objects[f"{SHOP}/secrets/old"]
    assert found(played, tmp_path).status("workload-secrets") == "passed"
    with_template(played, WHOLE)
    assert found(played, tmp_path).text("workload-secrets") == "secret/old is missing"


def test_of_many_secrets_the_rest_is_told(played: Played, tmp_path: Path) -> None:
    sources = [{"secret": {"name": f"s{number}"}} for number in range(40)]
    with_template(played, a_spec({"projected": {"sources": sources}}))
    for number in range(40):
        played.objects[f"{SHOP}/secrets/s{number}"] = {"type": "Opaque"}
    text = found(played, tmp_path).text("workload-secrets")
    assert text.startswith("secret/s32: only the first 32 Secrets are read")


WORKLOAD = "kubectl annotate deployment/web -n shop boundtoken.dev/inject=enabled --overwrite"
NAMESPACE = "kubectl annotate namespace shop boundtoken.dev/inject=enabled"
MOUNTING = {"containers": [{"name": "app", "image": "a:1"}]}
DENIED = {"boundtoken.dev/pod-overrides": "denied"}


@pytest.mark.parametrize(
    ("template", "annotations", "command"),
    [
        (MOUNTING, {}, NAMESPACE),
        (a_spec(), {}, WORKLOAD),
        (MOUNTING, {"boundtoken.dev/inject": "disabled"}, WORKLOAD),
        (MOUNTING, DENIED | {"boundtoken.dev/inject": "disabled"}, WORKLOAD),
        (MOUNTING, DENIED | {"boundtoken.dev/inject": "replace", "boundtoken.dev/automount": "disabled"}, ""),
    ],
)  # fmt: skip
def test_the_annotation_that_is_proposed_helps(
    played: Played, tmp_path: Path, *, template: Json, annotations: Json, command: str
) -> None:
    with_template(played, template)
    played.objects[SHOP]["metadata"]["annotations"] = annotations
    if "replace" in annotations.values():
        account = f"{SHOP}/serviceaccounts/default"
        played.objects[account]["automountServiceAccountToken"] = False
    token = found(played, tmp_path).by_id["workload-token"]
    assert token["status"] == "warning"
    assert token["commands"][:-1] == ([command] if command else [])


def test_a_restart_that_does_not_reach_every_pod_says_so(played: Played, tmp_path: Path) -> None:
    played.objects[SHOP]["metadata"]["annotations"] = {"boundtoken.dev/inject": "enabled"}
    with_template(played, MOUNTING, updateStrategy={"type": "OnDelete"})
    played.objects[f"{SHOP}/pods"] = [a_pod(MOUNTING)]
    injected = found(played, tmp_path).by_id["workload-injected"]
    assert injected["text"].endswith("then delete its pods: its updateStrategy is OnDelete")
    assert injected["commands"] == ["kubectl rollout restart deployment/web -n shop"]
