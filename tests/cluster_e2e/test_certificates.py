"""Certificates on the real API server: its Go verifies every leaf, its RBAC and policies hold us down."""

import base64
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.cluster_e2e.conftest import Cluster
from tests.cluster_e2e.test_outages import injected, pods_without_pause
from tests.conftest import ROOT, boundtoken
from tests.controlplane.cluster import wait_for
from tests.pods import Json
from webhook.pki import bundle
from webhook.pki.bundle import Bundle

CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/boundtoken"
SECRETS = "/api/v1/namespaces/boundtoken-system/secrets"
SECRET = f"{SECRETS}/boundtoken-ca"
MERGE = "application/merge-patch+json"


def held(cluster: Cluster) -> Bundle:
    return bundle.from_data(cluster.plane.call("GET", SECRET)["data"])


def published(cluster: Cluster) -> set[bytes]:
    entries = cluster.plane.call("GET", CONFIGURATION)["webhooks"]
    return {base64.b64decode(entry["clientConfig"].get("caBundle") or "") for entry in entries}


def in_sync(cluster: Cluster) -> bool:
    try:
        return published(cluster) == {held(cluster).trusted()}
    except Exception:  # noqa: BLE001  (a Secret that is gone or spoilt is not in sync)
        return False


def patch_entries(cluster: Cluster, change: Callable[[Json], object]) -> None:
    configuration = cluster.plane.call("GET", CONFIGURATION)
    for entry in configuration["webhooks"]:
        change(entry)
    cluster.plane.call("PUT", CONFIGURATION, configuration)


def rotated(cluster: Cluster) -> None:
    said = boundtoken("certs", "rotate", "--wait", kubeconfig=cluster.plane.kubeconfig())
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "the new CA signs"


def test_hand_overs_fail_no_call_while_pods_are_created_without_pause(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    before = held(cluster).current
    with pods_without_pause(cluster, namespace) as results:
        for _ in range(3):
            rotated(cluster)
        wait_for(lambda: in_sync(cluster), 10)
        time.sleep(3)
    after = held(cluster)
    assert after.current != before
    assert len(bundle.certificates(after.trusted())) == 4  # the old ones are trusted until no leaf of theirs can be alive
    assert len(results) > 100
    assert results.count(False) == 0


@pytest.mark.parametrize("ca_bundle", [None, base64.b64encode(b"x").decode()], ids=["emptied", "garbage"])
def test_a_spoilt_ca_bundle_is_repaired_within_seconds(cluster: Cluster, ca_bundle: str | None) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    if ca_bundle is None:
        patch_entries(cluster, lambda entry: entry["clientConfig"].pop("caBundle"))
    else:
        other = base64.b64encode((cluster.plane.ca_file).read_bytes()).decode()
        patch_entries(cluster, lambda entry: entry["clientConfig"].update(caBundle=other))
    wait_for(lambda: in_sync(cluster), 5)
    wait_for(lambda: injected(cluster, namespace), 5)


def test_a_configuration_deleted_and_made_again_is_trusted_within_seconds(cluster: Cluster) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    cluster.plane.call("DELETE", CONFIGURATION)
    cluster.plane.kubectl("apply", "-k", str(ROOT / "manifests"))
    wait_for(lambda: in_sync(cluster), 5)
    wait_for(lambda: injected(cluster, namespace), 5)


def test_applying_on_the_server_again_is_no_conflict_and_keeps_the_bundle(cluster: Cluster) -> None:
    before = published(cluster)
    for _ in range(2):
        said = cluster.plane.run_kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "manifests"))
        assert said.returncode == 0
    again = cluster.plane.run_kubectl("apply", "--server-side", "-k", str(ROOT / "manifests"))
    assert (again.returncode, "conflict" in again.stderr) == (0, False)
    assert published(cluster) == before
    cluster.plane.kubectl("apply", "-k", str(ROOT / "manifests"))  # so that other tests find it as it was


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(None, id="deleted"),
        pytest.param({"data": None}, id="emptied"),
        pytest.param({"data": {"ca.crt": "Zm9v", "ca.key": "YmFy"}}, id="garbage"),
    ],
)
def test_a_spoilt_secret_is_healed_and_no_call_fails(cluster: Cluster, spoil: Json | None) -> None:
    namespace = cluster.namespace(inject="enabled", automount="disabled")
    before = held(cluster)
    with pods_without_pause(cluster, namespace) as results:
        if spoil is None:
            cluster.plane.call("DELETE", SECRET)
        else:
            cluster.plane.call("PATCH", SECRET, spoil, kind=MERGE)
        wait_for(lambda: in_sync(cluster), 5)
        time.sleep(1)
    assert held(cluster) == before
    assert results.count(False) == 0


def test_the_service_account_touches_no_other_secret_and_no_other_configuration(cluster: Cluster) -> None:
    token = (cluster.kubelet.pods[0].folder / "token" / "token").read_text()
    account = "system:serviceaccount:boundtoken-system:boundtoken"
    for name, kind in (("other", "Opaque"), ("boundtoken-ca", "kubernetes.io/service-account-token")):
        secret: Json = {"metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": "boundtoken"}}}
        with pytest.raises(Exception, match="boundtoken creates the Secret boundtoken-ca"):
            cluster.plane.call("POST", f"{SECRETS}?dryRun=All", {**secret, "type": kind}, token=token)
    for verb, path in (
        ("GET", f"{SECRETS}/other"),
        ("GET", SECRETS),
        ("GET", "/api/v1/namespaces/default/secrets/boundtoken-ca"),
        ("DELETE", SECRET),
        ("DELETE", CONFIGURATION),
        ("GET", CONFIGURATION.replace("boundtoken", "other")),
    ):
        with pytest.raises(Exception, match=f'User "{account}" cannot'):
            cluster.plane.call(verb, path, token=token)


def test_openssl_verifies_the_leaf_with_what_is_published(cluster: Cluster) -> None:
    (trusted,) = published(cluster)
    file = cluster.plane.folder / "published.crt"
    file.write_bytes(trusted)
    pod = cluster.kubelet.pods[0]
    name = "boundtoken.boundtoken-system.svc"
    trust = ssl.create_default_context(cafile=str(file))
    with socket.create_connection((pod.ip, 10250), 5) as plain, trust.wrap_socket(plain, server_hostname=name) as tls:
        leaf = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")
    said = subprocess.run(
        ["openssl", "verify", "-CAfile", str(file), "-purpose", "sslserver", "-verify_hostname", name],
        input=leaf, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (0, "stdin: OK\n"), said.stderr


def test_show_tells_what_is_where(cluster: Cluster) -> None:
    kubeconfig = cluster.plane.kubeconfig()
    said = boundtoken("certs", "show", "-o", "json", kubeconfig=kubeconfig)
    report = json.loads(said.stdout)
    assert (said.returncode, report["ok"], report["authorities"][0]["role"]) == (0, True, "signs")
    assert report["configurations"][0]["inSync"]
    text = boundtoken("certs", "show", kubeconfig=kubeconfig).stdout
    assert "mutatingwebhookconfiguration/boundtoken  trusts exactly these" in text
    assert "PRIVATE" not in said.stdout + text
    assert boundtoken("certs", "show", "--namespace", "default", kubeconfig=kubeconfig).returncode == 1


def test_rotate_as_a_dry_run_keeps_nothing(cluster: Cluster) -> None:
    before = cluster.plane.call("GET", SECRET)["data"]
    said = boundtoken("certs", "rotate", "--wait", "--dry-run", kubeconfig=cluster.plane.kubeconfig())
    assert said.stdout == "secret/boundtoken-ca got a next CA (dry run)\n"
    assert cluster.plane.call("GET", SECRET)["data"] == before


def test_no_private_key_is_on_a_disk_or_in_a_log(cluster: Cluster) -> None:
    for pod in cluster.kubelet.pods:
        assert "PRIVATE" not in pod.log
        files = [path for path in pod.folder.rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
