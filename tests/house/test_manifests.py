"""What stands in YAML and in the Dockerfile is what the code says; judged without a cluster."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import __version__, config, configuration
from webhook.cli.main import parser
from webhook.core import names
from webhook.core.admission import REASONS
from webhook.core.policy import ClusterLayer
from webhook.core.review import MUTATED
from webhook.pki.store import KINDS, SECRET

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
OBJECTS: list[dict[str, Any]] = [
    each for path in sorted(MANIFESTS.glob("[0-9]*.yaml")) for each in yaml.safe_load_all(path.read_text())
]


def the(kind: str) -> dict[str, Any]:
    (found,) = [each for each in OBJECTS if each["kind"] == kind]
    return found


def webhook(name: str, kind: str = "MutatingWebhookConfiguration") -> dict[str, Any]:
    (found,) = [each for each in the(kind)["webhooks"] if each["name"] == name]
    return dict(found)


def asked(entry: dict[str, Any]) -> set[tuple[str, str]]:
    return {(rule["apiGroups"][0], resource) for rule in entry["rules"] for resource in rule["resources"]}


JUDGING = the("ValidatingWebhookConfiguration")["webhooks"]


CONTAINER = the("Deployment")["spec"]["template"]["spec"]["containers"][0]


def test_every_manifest_is_in_the_kustomization_in_install_order() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert listed == sorted(path.name for path in MANIFESTS.glob("[0-9]*.yaml"))


def test_names_are_those_of_the_code() -> None:
    for each in OBJECTS:
        assert each["metadata"]["name"] in (names.APP, names.NAMESPACE)
        assert each["metadata"].get("namespace", names.NAMESPACE) == names.NAMESPACE


def test_the_image_is_tagged_with_the_release() -> None:
    assert CONTAINER["image"] == f"{names.APP}:{__version__}"


def test_the_configuration_is_the_default_one_spelled_out() -> None:
    layer = configuration.parse(the("ConfigMap")["data"]["config.yaml"]).layer
    assert layer == ClusterLayer()


def test_the_flags_and_variables_of_the_deployment_exist() -> None:
    parsed = parser().parse_args(CONTAINER["args"])
    settled = config.resolve(vars(parsed), {each["name"]: "x" for each in CONTAINER["env"]})
    assert settled.listen.port == the("Service")["spec"]["ports"][0]["port"] == 10250
    assert {each["name"] for each in CONTAINER["env"]} <= {option.variable for option in config.OPTIONS}
    mounted = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert settled.config is not None
    assert str(settled.config.parent) in mounted
    assert settled.tls_cert is None
    assert settled.webhook_configurations == (the("MutatingWebhookConfiguration")["metadata"]["name"],)


def test_the_grace_period_covers_the_drain() -> None:
    settled = config.resolve(vars(parser().parse_args(CONTAINER["args"])), {})
    assert the("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= settled.drain_seconds + 5 + 10


def test_our_own_token_is_an_explicit_one_and_not_of_a_year() -> None:
    spec = the("Deployment")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert the("ServiceAccount")["automountServiceAccountToken"] is False
    (token,) = [each for each in spec["volumes"] if each["name"] == "token"]
    assert token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] != names.YEAR_TRAP_SECONDS


@pytest.mark.parametrize("name", ["pods.boundtoken.dev", "workloads.boundtoken.dev", "namespaces.boundtoken.dev"])
def test_mutation_fails_open_and_never_asks_about_system_namespaces(name: str) -> None:
    entry = webhook(name)
    assert (entry["failurePolicy"], entry["timeoutSeconds"], entry["reinvocationPolicy"]) == ("Ignore", 3, "IfNeeded")
    assert (entry["sideEffects"], entry["matchPolicy"], entry["admissionReviewVersions"]) == ("None", "Equivalent", ["v1"])
    (selector,) = entry["namespaceSelector"]["matchExpressions"]
    assert set(selector["values"]) == names.NEVER_TOUCHED | {names.NAMESPACE}
    assert "caBundle" not in entry["clientConfig"]
    assert entry["clientConfig"]["service"] == {
        "namespace": names.NAMESPACE,
        "name": names.APP,
        "port": 10250,
        "path": "/mutate",
    }


@pytest.mark.parametrize("entry", JUDGING, ids=lambda entry: str(entry["name"]))
def test_judging_fails_closed_only_where_the_label_stands(entry: dict[str, Any]) -> None:
    untouched, *label = entry["namespaceSelector"]["matchExpressions"]
    assert set(untouched["values"]) == names.NEVER_TOUCHED | {names.NAMESPACE}
    only_enforced = [{"key": names.ENFORCED, "operator": "In", "values": ["true"]}]
    assert (entry["failurePolicy"] == "Fail") is (label == only_enforced)
    assert entry["timeoutSeconds"] <= (5 if label == only_enforced else 3)
    assert (entry["sideEffects"], entry["clientConfig"]["service"]["path"]) == ("None", "/validate")
    assert "caBundle" not in entry["clientConfig"]


def test_the_two_entries_for_pods_leave_no_namespace_out_and_ask_none_twice() -> None:
    enforced, others = (webhook(f"{name}.boundtoken.dev", "ValidatingWebhookConfiguration") for name in ("enforced", "others"))
    assert enforced["rules"] == others["rules"]
    one, other = (entry["namespaceSelector"]["matchExpressions"][1] for entry in (enforced, others))
    assert {**one, "operator": "NotIn"} == other


def test_the_rules_ask_about_what_the_code_looks_at() -> None:
    mutated = {("", "namespaces")} | asked(webhook("workloads.boundtoken.dev"))
    assert mutated == {(group, kind.lower() + "s") for group, kind in MUTATED}
    assert asked(webhook("templates.boundtoken.dev", "ValidatingWebhookConfiguration")) == mutated - {("", "namespaces")}


def test_rbac_names_exactly_what_the_client_calls() -> None:
    read = ["get", "list", "watch"]
    assert the("ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": read},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": list(KINDS),
            "resourceNames": [names.APP],
            "verbs": [*read, "patch"],
        },
    ]
    assert the("Role")["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": [*read, "update"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]


def test_every_reason_and_every_annotation_is_explained_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [reason for reason in REASONS if f"| `{reason}` |" not in text] == []
    assert [name for name in names.FOR_PODS | names.FOR_NAMESPACES | names.OURS_ON_PODS if f"`{name}`" not in text] == []


def test_every_flag_and_metric_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [option.name for option in config.OPTIONS if f"`--{option.name}" not in text] == []
    declared = re.findall(r'"(boundtoken_\w+)"', (ROOT / "webhook/metrics.py").read_text())
    assert [name for name in declared if f"`{name.removeprefix('boundtoken_')}" not in text] == []


def test_every_path_that_the_dockerfile_copies_exists() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for line in copies:
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source


def test_lock_files_name_no_index_and_hash_everything() -> None:
    for path in ROOT.glob("requirements*.lock"):
        text = path.read_text()
        assert "://" not in text
        assert len(re.findall(r"^\S+==", text, re.MULTILINE)) <= text.count("--hash=sha256:")


def test_the_build_backend_is_one_version_everywhere() -> None:
    pinned = re.search(r"flit_core==(\S+?)\"", (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert f"flit-core=={pinned[1]} " in (ROOT / "requirements-build.lock").read_text()
    assert f"flit-core=={pinned[1]} " in (ROOT / "requirements-dev.lock").read_text()
