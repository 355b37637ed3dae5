"""The manifests as the API server sees them, and the certificates of `certs init`."""

import pytest
import yaml

from tests.controlplane.cluster import KubectlError
from tests.support.cluster import Cluster, life
from tests.support.paths import ROOT
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.pki.store import FIELD_MANAGER, KINDS

CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/boundtoken"
SECRET = "/api/v1/namespaces/boundtoken-system/secrets/boundtoken-ca"
EVERYBODY_MAY = {  # system:discovery, system:basic-user, system:public-info-viewer, system:service-account-issuer-discovery
    "authentication.k8s.io/selfsubjectreviews",
    "authorization.k8s.io/selfsubjectaccessreviews",
    "authorization.k8s.io/selfsubjectrulesreviews",
    "certificates.k8s.io/clustertrustbundles",
}


def test_the_service_account_can_do_what_it_needs_and_nothing_else(cluster: Cluster) -> None:
    pod = cluster.kubelet.pods[0]
    token = (pod.folder / "token" / "token").read_text()
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "boundtoken-system"},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    rules = cluster.plane.call("POST", path, body, token=token)["status"]["resourceRules"]
    may: dict[str, set[str]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                name = "/".join(filter(None, (group, resource, *rule.get("resourceNames", ()))))
                may.setdefault(name, set()).update(rule["verbs"])
    assert {name: sorted(verbs) for name, verbs in may.items() if name not in EVERYBODY_MAY} == {
        "boundtoken.dev/installation": ["own"],
        "namespaces": ["get", "list", "watch"],
        "pods": ["create", "list"],
        "secrets": ["create"],
        "secrets/boundtoken-ca": ["get", "list", "update", "watch"],
        **{
            f"admissionregistration.k8s.io/{kind}/boundtoken": ["get", "list", "patch", "watch"]
            for kind in KINDS
        },
        "admissionregistration.k8s.io/validatingadmissionpolicybindings/boundtoken-pods/boundtoken-token-requests/"
        "boundtoken-legacy-secrets": ["get", "list", "patch", "watch"],
    }


def test_our_own_pods_token_lives_an_hour(cluster: Cluster) -> None:
    assert life((cluster.kubelet.pods[0].folder / "token" / "token").read_text()) == 3600


def apply(cluster: Cluster) -> list[str]:
    return cluster.plane.kubectl("apply", "-k", str(ROOT / "manifests")).splitlines()


def test_the_manifests_pass_server_side_validation(cluster: Cluster) -> None:
    apply(cluster)  # another test may have deleted one of the objects
    result = cluster.plane.run_kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-k", str(ROOT / "manifests")
    )
    assert result.stderr == ""


def test_another_owner_of_the_same_values_meets_no_conflict(cluster: Cluster) -> None:
    """Whoever applied them before, and however: no value is one that the API server completes."""
    apply(cluster)
    cluster.plane.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--field-manager=another"),
        *("-k", str(ROOT / "manifests")),
    )


def test_applying_the_manifests_again_changes_nothing_and_keeps_the_ca_bundle(
    cluster: Cluster,
) -> None:
    apply(cluster)
    before = cluster.plane.call("GET", CONFIGURATION)
    assert all(entry["clientConfig"]["caBundle"] for entry in before["webhooks"])
    assert [
        line
        for line in apply(cluster)
        if line.endswith("configured") and "poddisruptionbudget" not in line
    ] == []  # kubectl patches those always
    assert cluster.plane.call("GET", CONFIGURATION) == before


def test_the_pod_passes_pod_security_restricted_without_a_warning(cluster: Cluster) -> None:
    command = (
        "apply",
        "--dry-run=server",
        "-n",
        "boundtoken-system",
        "-f",
        str(ROOT / "manifests/40-deployment.yaml"),
    )
    result = cluster.plane.run_kubectl(*command)
    assert "PodSecurity" not in result.stderr
    deployment = yaml.safe_load((ROOT / "manifests/40-deployment.yaml").read_text())
    pod = {"metadata": {"name": "probe"}, "spec": deployment["spec"]["template"]["spec"]}
    path = "/api/v1/namespaces/boundtoken-system/pods?dryRun=All"
    assert cluster.plane.call_with_warnings("POST", path, pod)[1] == []
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(Exception, match="violates PodSecurity"):
        cluster.plane.call("POST", path, pod)


def test_the_examples_are_valid_and_end_as_they_say(cluster: Cluster) -> None:
    examples = ROOT / "manifests/examples"
    cluster.plane.kubectl("apply", "-f", str(examples / "namespace.yaml"))
    assert cluster.plane.run_kubectl("apply", "-f", str(examples)).stderr == ""
    pod = cluster.plane.call("GET", "/api/v1/namespaces/shop/pods/checkout")
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == [
        "boundtoken",
        "boundtoken-tokens",
    ]
    cart = cluster.plane.call("GET", "/apis/apps/v1/namespaces/shop/deployments/cart")
    assert cart["spec"]["template"]["metadata"]["annotations"][names.EXPIRATION_SECONDS] == "1800"
    cluster.plane.kubectl("delete", "-f", str(examples), "--wait=false")


def test_certs_init_after_the_replicas_keeps_what_is_good(cluster: Cluster) -> None:
    before = cluster.plane.call("GET", SECRET)["data"]
    again = boundtoken("certs", "init", kubeconfig=cluster.plane.kubeconfig())
    secret, *configurations = again.stdout.splitlines()
    assert secret == "secret/boundtoken-ca in namespace boundtoken-system kept"
    assert [
        line.partition(" on pods.")[0].partition(" on enforced.")[0] for line in configurations
    ] == [f"{kind.lower()}/boundtoken caBundle set" for kind in KINDS.values()]
    assert cluster.plane.call("GET", SECRET)["data"] == before


def test_the_replicas_write_the_ca_bundle_and_own_no_field(cluster: Cluster) -> None:
    """Else no server-side apply could take an entry out of the configuration."""

    def managers() -> list[str]:
        managed = cluster.plane.call("GET", CONFIGURATION)["metadata"]["managedFields"]
        return [entry["manager"] for entry in managed]

    wait_for(lambda: FIELD_MANAGER not in managers())
    entries = cluster.plane.call("GET", CONFIGURATION)["webhooks"]
    assert len({entry["clientConfig"]["caBundle"] for entry in entries}) == 1


def test_certs_init_says_what_to_do_where_nothing_is_installed(cluster: Cluster) -> None:
    result = boundtoken(
        "certs", "init", "--namespace", "nowhere", kubeconfig=cluster.plane.kubeconfig()
    )
    assert (result.returncode, result.stderr) == (
        2,
        "boundtoken: namespace nowhere not found: install boundtoken first, or name its namespace with --namespace\n",
    )


def test_certs_init_without_the_right_says_so(cluster: Cluster) -> None:
    result = boundtoken("certs", "init", kubeconfig=cluster.plane.kubeconfig("editor"))
    assert result.returncode == 3
    assert (
        'mutatingwebhookconfigurations.admissionregistration.k8s.io "boundtoken" is forbidden'
        in result.stderr
    )


def test_kubectl_of_the_harness_reports_errors(cluster: Cluster) -> None:
    with pytest.raises(KubectlError, match="not found"):
        cluster.plane.kubectl("get", "namespace", "no-such-namespace")
