"""What Helm renders of the chart: the same as kustomize for the same choices, and no more; wrong
values are refused where they stand.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import Json
from tests.support.helm import CHART, comparable, helm, kustomized, rendered
from tests.support.paths import ROOT
from tests.support.processes import boundtoken
from webhook.core import names

pytestmark = pytest.mark.controlplane  # helm is built as long as the control plane is

OPTIONAL = "manifests/optional"
LEGACY = [f"{OPTIONAL}/legacy-tokens"]
CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "legacy tokens": ({"legacyTokens": {"enabled": True}}, {"components": LEGACY}),
    "legacy tokens that fail closed": (
        {"legacyTokens": {"enabled": True, "failClosed": True}},
        {"components": [*LEGACY, f"{OPTIONAL}/legacy-tokens-fail-closed"]},
    ),
    "cert-manager": (
        {"certificates": {"mode": "cert-manager"}},
        {"components": [f"{OPTIONAL}/cert-manager"]},
    ),
    "a certificate from a Secret": (
        {"certificates": {"mode": "secret"}},
        {"components": [f"{OPTIONAL}/certificate-from-secret"]},
    ),
    "cert-manager, and legacy tokens that fail closed": (
        {
            "certificates": {"mode": "cert-manager"},
            "legacyTokens": {"enabled": True, "failClosed": True},
        },
        {
            "components": [
                *LEGACY,
                f"{OPTIONAL}/legacy-tokens-fail-closed",
                f"{OPTIONAL}/cert-manager",
            ]
        },
    ),
    "the control plane only": (
        {"networkPolicy": {"controlPlane": ["192.0.2.10/32", "192.0.2.11/32"]}},
        {"components": [f"{OPTIONAL}/control-plane-only"]},
    ),
    "monitoring": (
        {
            "monitoring": {
                "podMonitor": {"enabled": True},
                "prometheusRule": {"enabled": True},
                "dashboard": {"enabled": True},
            }
        },
        {"components": ["manifests/monitoring"], "namespace": names.NAMESPACE},
    ),
    "monitoring by a Service": (
        {
            "monitoring": {
                "serviceMonitor": {"enabled": True},
                "prometheusRule": {"enabled": True},
                "dashboard": {"enabled": True},
            }
        },
        {
            "components": ["manifests/monitoring", "manifests/monitoring/servicemonitor"],
            "namespace": names.NAMESPACE,
        },
    ),
}
"""Values of the chart, and the keys of an overlay that mean the same."""


def overlay(folder: Path, **keys: Any) -> list[Json]:
    """What kustomize makes of the manifests, with these keys."""
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    document = {"resources": ["manifests"], **keys}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
    return kustomized(folder)


def of_the_chart(objects: list[Json]) -> list[Json]:
    """All but the Namespace, which Helm makes or finds."""
    return [item for item in objects if item["kind"] != "Namespace"]


@pytest.mark.parametrize("choice", CHOICES)
def test_the_chart_and_kustomize_render_the_same_objects(choice: str, tmp_path: Path) -> None:
    given, keys = CHOICES[choice]
    expected = of_the_chart(overlay(tmp_path, **keys))
    assert comparable(rendered(given, "--skip-tests")) == comparable(expected)


def test_the_chart_and_kustomize_render_the_same_in_another_namespace(tmp_path: Path) -> None:
    expected = of_the_chart(overlay(tmp_path, namespace="0123"))  # a number, unless it is quoted
    made = rendered({}, "--skip-tests", namespace="0123", release="1e3")
    assert comparable(made) == comparable(expected)


def test_the_component_for_cert_manager_goes_to_another_namespace_as_its_comment_says(
    tmp_path: Path,
) -> None:
    for name in ("cert-manager", "certificate-from-secret"):
        shutil.copytree(ROOT / OPTIONAL / name, tmp_path / name)
    for path in (tmp_path / "cert-manager").iterdir():
        path.write_text(path.read_text().replace(names.NAMESPACE, "tokens"))
    expected = of_the_chart(overlay(tmp_path, namespace="tokens", components=["cert-manager"]))
    given = {"certificates": {"mode": "cert-manager"}}
    made = rendered(given, "--skip-tests", namespace="tokens")
    assert comparable(made) == comparable(expected)


def test_the_overlay_of_the_examples_has_its_values(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests/examples/overlay", tmp_path, dirs_exist_ok=True)
    shutil.copytree(ROOT / "manifests", tmp_path / "boundtoken/manifests")
    given = {
        "image": {"repository": "registry.example.com/boundtoken", "tag": "0.1.0"},
        "options": {"logLevel": "warning"},
        "config": yaml.safe_load((tmp_path / "config.yaml").read_text()),
    }
    expected = of_the_chart(kustomized(tmp_path))
    assert comparable(rendered(given, "--skip-tests")) == comparable(expected)


def test_a_release_in_the_namespace_default_has_a_test_only_where_one_is_named() -> None:
    def pods(**given: Any) -> list[str]:
        made = rendered(given, namespace="default")
        return [item["metadata"]["namespace"] for item in made if item["kind"] == "Pod"]

    assert pods() == []
    assert pods(test={"namespace": "shop"}) == ["shop"]
    assert [item["kind"] for item in rendered({})].count("Pod") == 1


def test_an_issuer_of_yours_takes_the_place_of_a_ca_of_its_own() -> None:
    issuer = {"name": "platform", "kind": "ClusterIssuer"}
    given = {"certificates": {"mode": "cert-manager", "issuerRef": issuer, "secretName": "tls"}}
    made = comparable(rendered(given))
    assert [place for place in made if place[0] in ("Issuer", "Certificate")] == [
        ("Certificate", names.NAMESPACE, names.APP)
    ]
    spec = made["Certificate", names.NAMESPACE, names.APP]["spec"]
    assert (spec["issuerRef"], spec["secretName"]) == (issuer, "tls")
    volumes = made["Deployment", names.NAMESPACE, names.APP]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "tls", "secret": {"secretName": "tls"}} in volumes


@pytest.mark.parametrize(
    ("name", "classes"), [("system-node-critical", ["system-node-critical"]), ("own", []), ("", [])]
)
def test_a_quota_is_for_the_class_of_the_system_that_the_pods_have(
    name: str, classes: list[str]
) -> None:
    made = comparable(rendered({"priorityClass": {"name": name}}))
    quotas = [item["spec"] for place, item in made.items() if place[0] == "ResourceQuota"]
    expressions = [one for spec in quotas for one in spec["scopeSelector"]["matchExpressions"]]
    assert [value for one in expressions for value in one["values"]] == classes


@pytest.mark.parametrize(("interval", "may"), [(None, True), (30, True), (0, False), ("0", False)])
def test_who_has_no_self_probe_may_create_no_pod(interval: object, *, may: bool) -> None:
    made = comparable(
        rendered({"options": {} if interval is None else {"selfProbeInterval": interval}})
    )
    rules = made["Role", names.NAMESPACE, names.APP]["rules"]
    assert (["pods"] in [rule["resources"] for rule in rules]) == may


def test_seconds_of_many_digits_stay_integers() -> None:
    """Helm reads every number as a float, and prints a million as 1e+06."""
    given = {
        "config": {
            "locks": {"maxExpirationSeconds": 4294967296},
            "tokenRequests": {"maxExpirationSeconds": 31536000},
        },
        "terminationGracePeriodSeconds": 1000000,
    }
    made = comparable(rendered(given))
    policy = made["ConfigMap", names.NAMESPACE, names.APP]["data"][names.CONFIG_KEY]
    assert policy.locks.max_expiration_seconds == 4294967296
    assert policy.token_requests_max_expiration_seconds == 31536000
    pod = made["Deployment", names.NAMESPACE, names.APP]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 1000000


@pytest.mark.parametrize("files", [[], ["values-ha.yaml"]], ids=["defaults", "ha"])
def test_helm_finds_nothing_to_say_of_the_chart(files: list[str]) -> None:
    values = [part for file in files for part in ("--values", str(CHART / file))]
    done = helm("lint", "--strict", str(CHART), *values)
    assert (done.returncode, "1 chart(s) linted, 0 chart(s) failed" in done.stdout) == (0, True)
    assert "[WARNING]" not in done.stdout


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replica": 3}, "additional properties 'replica' not allowed"),
    "a value that is taken away": ({"listen": None}, "at '': missing property 'listen'"),
    "no port of the API server": (
        {"networkPolicy": {"apiServer": {"ports": None}}},
        "at '/networkPolicy/apiServer': missing property 'ports'",
    ),
    "an unknown key of the configuration": (
        {"config": {"default": {}}},
        "at '/config': additional properties 'default' not allowed",
    ),
    "a mode that YAML reads as false": (
        {"config": {"tokenRequests": {"mode": False}}},
        "at '/config/tokenRequests/mode': value must be one of 'off', 'warn', 'enforce'",
    ),
    "a lifetime that is too short": (
        {"config": {"defaults": {"expirationSeconds": 60}}},
        "at '/config/defaults/expirationSeconds': minimum: got 60, want 600",
    ),
    "a lifetime that becomes a year": (
        {"config": {"defaults": {"expirationSeconds": 3607}}},
        "config.defaults.expirationSeconds: must not be 3607",
    ),
    "a digest that is a tag": (
        {"image": {"digest": "0.1.0"}},
        "at '/image/digest': '0.1.0' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
    ),
    "an unknown flag": (
        {"options": {"verbose": "1"}},
        "at '/options': additional properties 'verbose' not allowed",
    ),
    "a flag's wrong word": (
        {"options": {"logLevel": "loud"}},
        "at '/options/logLevel': value must be one of 'debug', 'info', 'warning', 'error'",
    ),
    "a flag that a value sets": (
        {"options": {"legacyTokens": "on"}},
        "at '/options': additional properties 'legacyTokens' not allowed",
    ),
    "certificates of nobody": (
        {"certificates": {"mode": "certmanager"}},
        "at '/certificates/mode': value must be one of 'self-managed', 'cert-manager', 'secret'",
    ),
    "an issuer without a name": (
        {"certificates": {"mode": "cert-manager", "issuerRef": {"kind": "ClusterIssuer"}}},
        "at '/certificates/issuerRef': properties 'name' required, if 'kind' exists",
    ),
    "a lifetime of nothing": (
        {"options": {"leafDuration": "0d"}},
        "at '/options/leafDuration': '0d' does not match pattern",
    ),
    "runbooks that YAML would take for something else": (
        {"monitoring": {"prometheusRule": {"runbooks": "https://wiki.example.com: books"}}},
        "at '/monitoring/prometheusRule/runbooks': 'https://wiki.example.com: books' does not match",
    ),
    "an address that is a name": (
        {"listen": {"address": "localhost"}},
        "at '/listen/address': 'localhost' does not match pattern",
    ),
    "an address that is no network": (
        {"networkPolicy": {"controlPlane": ["192.0.2.10"]}},
        "at '/networkPolicy/controlPlane/0': '192.0.2.10' does not match pattern",
    ),
    "a probe twice a second": (
        {"options": {"selfProbeInterval": 0.5}},
        "at '/options/selfProbeInterval': minimum: got 0.5, want 1",
    ),
    "a leaf that outlives its CA": (
        {"options": {"leafDuration": "365d"}},
        "options.leafDuration: must be at most a third of options.caDuration",
    ),
    "a repository with a tag": (
        {"image": {"repository": "registry.example.com:5000/boundtoken:1.2"}},
        "at '/image/repository': 'registry.example.com:5000/boundtoken:1.2' does not match pattern",
    ),
    "a tag that the digest would hide": (
        {"image": {"digest": f"sha256:{'0' * 64}", "tag": "1.2"}},
        "image.tag: must be empty with image.digest",
    ),
    "the Secret of our CA": (
        {"certificates": {"mode": "secret", "secretName": "boundtoken-ca"}},
        "certificates.secretName: must not be boundtoken-ca, which is the Secret of a CA",
    ),
    "a Secret that has no such name": (
        {"certificates": {"mode": "secret", "secretName": "Bad_Name"}},
        "at '/certificates/secretName': 'Bad_Name' does not match pattern",
    ),
    "two who write the caBundle": (
        {"certificates": {"webhookAnnotations": {"cert-manager.io/inject-ca-from": "pki/root"}}},
        "certificates.webhookAnnotations: must not have cert-manager.io/inject-ca-from with "
        "certificates.mode self-managed",
    ),
    "a test in an excluded namespace": (
        {"config": {"namespaces": {"excluded": ["build"]}}, "test": {"namespace": "build"}},
        "test.namespace: must not be build, whose pods are never changed",
    ),
    "a test in the system's namespace": (
        {"test": {"namespace": "kube-system"}},
        "test.namespace: must not be kube-system, whose pods are never changed",
    ),
    "a variable that is a flag": (
        {"env": [{"name": "BOUNDTOKEN_NAMESPACE", "value": "x"}]},
        "env: must not have BOUNDTOKEN_NAMESPACE: set options instead",
    ),
    "an argument that a value sets": (
        {"extraArgs": ["--legacy-tokens=on"]},
        "extraArgs: must not have --legacy-tokens=on, which other values set",
    ),
    "an argument that is an option": (
        {"extraArgs": ["--self-probe-interval=5"]},
        "extraArgs: must not have --self-probe-interval=5, which other values set",
    ),
    "a variable without a name": (
        {"env": [{"value": "x"}]},
        "at '/env/0': missing property 'name'",
    ),
    "a strategy that is a number": (
        {"strategy": {"type": 1}},
        "at '/strategy/type': value must be one of 'RollingUpdate', 'Recreate'",
    ),
    "a label that Prometheus keeps for itself": (
        {"monitoring": {"prometheusRule": {"additionalLabels": {"__name__": "x"}}}},
        "at '/monitoring/prometheusRule/additionalLabels': additional properties '__name__' not allowed",
    ),
    "half a template of Prometheus": (
        {"monitoring": {"prometheusRule": {"additionalAnnotations": {"to": "{{ .Foo"}}}},
        "monitoring.prometheusRule.additionalAnnotations.to: must close each {{ with }}",
    ),
    "a scrape that lasts longer than its interval": (
        {"monitoring": {"interval": "10s", "scrapeTimeout": "1m"}},
        "monitoring.scrapeTimeout: must be at most monitoring.interval",
    ),
    "a budget that stops every drain": (
        {"podDisruptionBudget": {"minAvailable": 2}},
        "podDisruptionBudget.minAvailable: must be less than replicas",
    ),
    "a budget of more than half of two": (
        {"podDisruptionBudget": {"minAvailable": "51%"}},
        "podDisruptionBudget.minAvailable: must be less than replicas",
    ),
    "a budget of more than everything": (
        {"podDisruptionBudget": {"minAvailable": "101%"}},
        "at '/podDisruptionBudget/minAvailable': '101%' does not match pattern",
    ),
    "a budget of everything": (
        {"podDisruptionBudget": {"minAvailable": "100%"}},
        "podDisruptionBudget.minAvailable: must be less than replicas",
    ),
    "a budget of nothing": (
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "podDisruptionBudget.maxUnavailable: must be more than 0",
    ),
    "a label that selects": (
        {"commonLabels": {"app.kubernetes.io/name": "other"}},
        "commonLabels: must not have app.kubernetes.io/name, by which boundtoken finds its objects",
    ),
    "a label of Helm": (
        {"commonLabels": {"helm.sh/chart": "other"}},
        "commonLabels: must not have helm.sh/chart, which the chart sets",
    ),
    "two values that contradict each other": (
        {"hostNetwork": True, "legacyTokens": {"failClosed": True}},
        "listen.tlsPort: must not be 10250 with hostNetwork, since the kubelet has that port; such as "
        "10350\nlegacyTokens.failClosed: needs legacyTokens.enabled=true",
    ),
    "too short a grace period": (
        {"options": {"drainSeconds": 30}},
        "terminationGracePeriodSeconds: must be at least 5 more than options.drainSeconds",
    ),
    "a system's priority class": (
        {"priorityClass": {"create": True}},
        "priorityClass.name: must be a name of your own with priorityClass.create",
    ),
    "two monitors": (
        {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "monitoring.serviceMonitor.enabled: must not be true with monitoring.podMonitor.enabled",
    ),
    "a test where no pod is changed": (
        {"test": {"namespace": names.NAMESPACE}},
        "test.namespace: must be another namespace than the release's",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_values_are_refused_where_they_stand(wrong: str) -> None:
    given, expected = WRONG[wrong]
    with pytest.raises(ValueError, match=re.escape(expected)):
        rendered(given)


def test_what_keys_of_the_configuration_mean_together_is_checked_of_what_is_rendered() -> None:
    def checked(locks: Json) -> tuple[int, str]:
        given = yaml.safe_dump({"config": {"defaults": {"audience": "vault"}, "locks": locks}})
        only = ["--values", "-", "-s", "templates/35-configmap.yaml"]
        done = helm("template", "boundtoken", str(CHART), *only, stdin=given)
        result = boundtoken("config", "check", "-", stdin=done.stdout)
        return result.returncode, result.stdout

    assert checked({"allowedAudiences": ["vault"]})[0] == 0
    code, message = checked({"allowedAudiences": ["other"]})
    assert (code, "defaults.audience: must be one of locks.allowedAudiences" in message) == (
        1,
        True,
    )


def test_a_user_that_openshift_chooses_is_not_set() -> None:
    given = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    made = comparable(rendered(given))
    pod = made["Deployment", names.NAMESPACE, names.APP]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_the_notes_say_what_to_do_next() -> None:
    options = ["--dry-run=client", "--namespace", "elsewhere", "--set", "legacyTokens.enabled=true"]
    done = helm("install", "tokens", str(CHART), *options, "--set", "legacyTokens.failClosed=true")
    _, found, notes = done.stdout.partition("NOTES:\n")
    assert found, done.stderr
    assert "kubectl rollout status -n elsewhere deployment/boundtoken\n" in notes
    assert "boundtoken check\n" in notes
    assert "helm test tokens -n elsewhere\n" in notes
    assert "Set legacyTokens.failClosed=false before you change certificates.mode" in notes
    assert "Install with --rollback-on-failure" in notes


@pytest.mark.parametrize(
    ("namespace", "warns"), [("default", True), ("kube-system", True), ("tokens", False)]
)
def test_the_notes_warn_of_a_namespace_that_others_use(namespace: str, *, warns: bool) -> None:
    options = ["--dry-run=client", "--namespace", namespace]
    done = helm("install", "tokens", str(CHART), *options)
    assert ("install boundtoken in a namespace of its own" in done.stdout) == warns, done.stderr


@pytest.mark.parametrize(
    ("config", "asks"),
    [
        (None, False),
        ({"defaults": {"mountPath": "/var/run/tokens"}}, False),
        ({"defaults": {"inject": "replace"}}, True),
        ({"defaults": {"automount": "disabled"}}, True),
        ({"locks": {"enforceFloor": "bound"}}, True),
    ],
)
def test_the_notes_say_whether_anything_changes_at_once(config: Json | None, *, asks: bool) -> None:
    given = yaml.safe_dump({"config": config})
    done = helm("install", "t", str(CHART), "--dry-run=client", "-n", "b", "-f", "-", stdin=given)
    assert ("Nothing changes until a namespace asks" in done.stdout) != asks, done.stderr
    assert ("applies to every namespace that is not excluded" in done.stdout) == asks


def test_the_notes_name_what_must_be_there_for_the_values() -> None:
    options = ["--set", "replicas=0", "--set", "certificates.mode=cert-manager"]
    done = helm("install", "t", str(CHART), "--dry-run=client", "-n", "b", *options)
    assert "No replica is to run" in done.stdout, done.stderr
    assert "kubectl get certificates -n b" in done.stdout
