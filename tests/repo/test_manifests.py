"""YAML, the Dockerfile and the reference say what the code says; compared without a cluster."""

import argparse
import dataclasses
import itertools
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.controlplane import build
from tests.support.paths import ROOT
from webhook import __version__, cluster_config, options
from webhook.cli import export
from webhook.cli.main import parser
from webhook.core import names
from webhook.core.decision import REASONS
from webhook.core.kinds import RESOURCES, WORKLOADS
from webhook.core.levels import VERSIONS
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.policies import manifests, requests
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.store import KINDS, SECRET
from webhook.serving.reporting import ValidationLine

MANIFESTS = ROOT / "manifests"
NAMESPACE = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["namespace"]
OBJECTS: list[dict[str, Any]] = [
    manifest
    for path in sorted(MANIFESTS.glob("[0-9]*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]


def the(kind: str) -> dict[str, Any]:
    (found,) = [
        manifest
        for manifest in OBJECTS
        if manifest["kind"] == kind and manifest["metadata"]["name"] == names.APP
    ]
    return found


def webhook(name: str, kind: str = "MutatingWebhookConfiguration") -> dict[str, Any]:
    (found,) = [entry for entry in the(kind)["webhooks"] if entry["name"] == name]
    return dict(found)


def requested_resources(entry: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (rule["apiGroups"][0], resource)
        for rule in entry["rules"]
        for resource in rule["resources"]
    }


JUDGING = the("ValidatingWebhookConfiguration")["webhooks"]


CONTAINER = the("Deployment")["spec"]["template"]["spec"]["containers"][0]


def test_every_manifest_is_in_the_kustomization_in_install_order() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert listed == sorted(path.name for path in MANIFESTS.glob("[0-9]*.yaml"))


def test_names_are_those_of_the_code() -> None:
    assert NAMESPACE == names.NAMESPACE
    for manifest in OBJECTS:
        others = (names.MISPLACED_POLICY, names.SELF_PROBE_POLICY)
        known = (names.APP, *others, *names.POLICY_BINDINGS)
        assert manifest["metadata"]["name"] in known


def test_our_namespace_is_written_once() -> None:
    """So that an overlay's `namespace:` is all that it takes to install elsewhere."""
    paths = [path for path in MANIFESTS.rglob("*.yaml") if names.NAMESPACE in path.read_text()]
    # The names of a certificate and an annotation are nothing that kustomize puts a namespace into.
    cert_manager = MANIFESTS / "optional/cert-manager"
    expected = [
        MANIFESTS / "kustomization.yaml",
        MANIFESTS / "examples/overlay/kustomization.yaml",
        *(cert_manager / name for name in ("certificates.yaml", "kustomization.yaml")),
    ]
    assert sorted(paths) == sorted(expected)
    assert not any("namespace" in manifest["metadata"] for manifest in OBJECTS)


def test_the_policies_are_those_of_the_rules() -> None:
    made = export.render(manifests.documents())
    assert (MANIFESTS / "85-enforcement.yaml").read_text() == made, "make policies writes it anew"


def test_every_policy_reads_its_own_binding_and_fails_closed() -> None:
    policies = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in OBJECTS
        if manifest["kind"] == "ValidatingAdmissionPolicy"
    }
    bindings = {
        manifest["metadata"]["name"]: manifest["spec"]
        for manifest in OBJECTS
        if manifest["kind"] == "ValidatingAdmissionPolicyBinding"
    }
    for name in names.POLICY_BINDINGS:
        assert policies[name]["failurePolicy"] == "Fail"
        assert policies[name]["paramKind"]["kind"] == "ValidatingAdmissionPolicyBinding"
        (validation,) = policies[name]["validations"]
        assert (validation["reason"], bool(validation["message"])) == ("Forbidden", True)
        assert bindings[name]["policyName"] == bindings[name]["paramRef"]["name"] == name
        assert bindings[name]["validationActions"] == ["Deny", "Audit"]


def test_the_policy_of_misplaced_annotations_warns_and_cannot_deny() -> None:
    policy, binding = yaml.safe_load_all((MANIFESTS / "90-misplaced.yaml").read_text())
    assert policy["metadata"]["name"] == binding["spec"]["policyName"] == names.MISPLACED_POLICY
    spec = policy["spec"]
    assert (spec["failurePolicy"], binding["spec"]["validationActions"]) == ("Ignore", ["Warn"])
    (selector,) = spec["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert set(selector["values"]) == names.NEVER_TOUCHED
    (condition,), (variable, _) = spec["matchConditions"], spec["variables"]
    conditions = [text["expression"].partition("exists(")[2] for text in (condition,)]
    assert conditions == [variable["expression"].partition("filter(")[2]]
    listed = set(re.findall(r"'(boundtoken\.dev/[a-z-]+)'", condition["expression"]))
    assert listed == names.OURS_ON_PODS


@pytest.mark.timeout(1200)  # the first run compiles the API server's packages
def test_the_policies_compile_for_the_oldest_kubernetes_that_we_support() -> None:
    command = [build.go(), "test", "-trimpath", "-vet=off", "-count=1", "-v", "./policies"]
    result = subprocess.run(
        command, cwd=build.HERE, env=build.environ(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "--- PASS: TestPoliciesCompileForTheOldestRelease" in result.stdout


def test_the_image_is_tagged_with_the_release() -> None:
    assert CONTAINER["image"] == f"{names.APP}:{__version__}"


def test_the_readme_shows_the_overlay_of_the_examples() -> None:
    text = (ROOT / "README.md").read_text()
    for file in ("kustomization.yaml", "config.yaml"):
        example = (MANIFESTS / "examples/overlay" / file).read_text()
        lines = [
            line
            for line in example.splitlines()
            if not line.startswith("# ") or "components" in line
        ]
        assert "\n".join(lines) in text


def test_the_config_map_is_found_by_its_labels() -> None:
    selector = webhook("configurations.boundtoken.dev", "ValidatingWebhookConfiguration")
    assert selector["objectSelector"] == {"matchLabels": names.CONFIG_LABELS}
    assert the("ConfigMap")["metadata"]["labels"] == names.CONFIG_LABELS
    assert list(the("ConfigMap")["data"]) == [names.CONFIG_KEY]


def test_the_flags_and_variables_of_the_deployment_exist() -> None:
    parsed = parser().parse_args(CONTAINER["args"])
    resolved = options.resolve(vars(parsed), {env["name"]: "x" for env in CONTAINER["env"]})
    assert resolved.listen.port == the("Service")["spec"]["ports"][0]["port"] == 10250
    assert {env["name"] for env in CONTAINER["env"]} <= {
        option.variable for option in options.OPTIONS
    }
    mounted = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert resolved.config is not None
    assert str(resolved.config.parent) in mounted
    assert resolved.tls_cert is None
    assert resolved.webhook_configurations == (
        the("MutatingWebhookConfiguration")["metadata"]["name"],
    )


def test_the_grace_period_covers_the_drain() -> None:
    resolved = options.resolve(vars(parser().parse_args(CONTAINER["args"])), {})
    assert (
        the("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        >= resolved.drain_seconds + 5 + 10
    )


def test_our_own_token_is_an_explicit_one_and_not_of_a_year() -> None:
    spec = the("Deployment")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert the("ServiceAccount")["automountServiceAccountToken"] is False
    (token,) = [item for item in spec["volumes"] if item["name"] == "token"]
    assert (
        token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"]
        != names.YEAR_TRAP_SECONDS
    )


@pytest.mark.parametrize("name", ["pods.boundtoken.dev", "workloads.boundtoken.dev"])
def test_mutation_fails_open_and_never_asks_about_system_namespaces(name: str) -> None:
    entry = webhook(name)
    assert (entry["failurePolicy"], entry["timeoutSeconds"], entry["reinvocationPolicy"]) == (
        "Ignore",
        3,
        "IfNeeded",
    )
    assert (entry["sideEffects"], entry["matchPolicy"], entry["admissionReviewVersions"]) == (
        "None",
        "Equivalent",
        ["v1"],
    )
    (selector,) = entry["namespaceSelector"]["matchExpressions"]
    assert set(selector["values"]) == names.NEVER_TOUCHED
    assert "caBundle" not in entry["clientConfig"]
    assert entry["clientConfig"]["service"] == {
        "name": names.APP,
        "port": 10250,
        "path": "/mutate",
    }


@pytest.mark.parametrize("entry", JUDGING, ids=lambda entry: str(entry["name"]))
def test_judging_fails_open_and_leaves_no_namespace_out_where_tokens_are_asked_for(
    entry: dict[str, Any],
) -> None:
    assert (entry["failurePolicy"], entry["sideEffects"]) == ("Ignore", "None")
    assert entry["clientConfig"]["service"] == {
        "name": names.APP,
        "port": 10250,
        "path": "/validate",
    }
    assert entry["timeoutSeconds"] <= 3
    assert "caBundle" not in entry["clientConfig"]
    left_out = {
        value
        for row in entry.get("namespaceSelector", {}).get("matchExpressions", ())
        for value in row["values"]
    }
    everywhere = entry["name"].partition(".")[0] in (
        "tokenrequests",
        "legacysecrets",
        "configurations",
        "previews",
    )
    assert left_out == (set() if everywhere else names.NEVER_TOUCHED)


def test_the_webhook_is_asked_about_the_token_requests_that_the_policy_judges() -> None:
    entry = webhook("tokenrequests.boundtoken.dev", "ValidatingWebhookConfiguration")
    spoken = [
        {**condition, "expression": "".join(condition["expression"].split())}
        for condition in entry["matchConditions"]
    ]
    assert spoken == [
        {**condition, "expression": "".join(condition["expression"].split())}
        for condition in requests.token_request_conditions()
    ]


def test_the_rules_ask_about_what_the_code_looks_at() -> None:
    mutated = requested_resources(webhook("workloads.boundtoken.dev"))
    assert mutated == {(workload.group, workload.resource) for workload in WORKLOADS}
    assert (
        requested_resources(webhook("templates.boundtoken.dev", "ValidatingWebhookConfiguration"))
        == mutated
    )
    everything = {
        resource
        for entry in [*JUDGING, webhook("pods.boundtoken.dev")]
        for _, resource in requested_resources(entry)
    }
    assert everything | {resource for _, resource in mutated} == RESOURCES


@pytest.mark.parametrize("page", ["docs/reference.md", "docs/contract.md"])
def test_the_documents_name_every_workload_kind(page: str) -> None:
    """In the sentence about what is copied: elsewhere stand kinds that are not, and CronJob has
    Job in it.
    """
    text = (ROOT / page).read_text()
    (sentence,) = re.findall(r"nnotations? of a ([\w, ]+?)(?: itself)? (?:is|are) copied", text)
    assert set(re.findall(r"\w+", sentence)) - {"or"} == {workload.kind for workload in WORKLOADS}


def test_the_mutating_webhook_is_asked_about_updates_that_can_change_a_template() -> None:
    rules = {
        resource: set(rule["operations"])
        for rule in webhook("workloads.boundtoken.dev")["rules"]
        for resource in rule["resources"]
    }
    assert rules == {
        workload.resource: {"CREATE"} if workload.is_immutable else {"CREATE", "UPDATE"}
        for workload in WORKLOADS
    }


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
        {"apiGroups": ["boundtoken.dev"], "resources": ["installation"], "verbs": ["own"]},
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingadmissionpolicybindings"],
            "resourceNames": [*names.POLICY_BINDINGS],
            "verbs": [*read, "patch"],
        },
    ]
    assert the("Role")["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [SECRET],
            "verbs": [*read, "update"],
        },
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    ]


def test_whatever_our_account_may_create_a_policy_of_its_own_limits() -> None:
    specs = {
        (manifest["kind"], manifest["metadata"]["name"]): manifest["spec"]
        for manifest in OBJECTS
        if manifest["kind"].startswith("ValidatingAdmissionPolicy")
    }
    secrets = specs["ValidatingAdmissionPolicy", names.APP]
    pods = specs["ValidatingAdmissionPolicy", names.SELF_PROBE_POLICY]
    assert requested_rules(secrets) == {("", "secrets", "CREATE")}
    assert requested_rules(pods) == {("", "pods", "CREATE")}
    assert pods["matchConditions"] == secrets["matchConditions"]
    assert (pods["failurePolicy"], secrets["failurePolicy"]) == ("Fail", "Fail")
    for name in (names.APP, names.SELF_PROBE_POLICY):
        binding = specs["ValidatingAdmissionPolicyBinding", name]
        assert binding == {"policyName": name, "validationActions": ["Deny"]}


def requested_rules(policy: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, operation)
        for rule in policy["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for operation in rule["operations"]
    }


def table(header: str) -> list[list[str]]:
    """The rows of the reference's one table with this header, each as its cells."""
    lines = (ROOT / "docs/reference.md").read_text().splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith(f"| {header} |")]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_reference_has_every_reason_once_and_in_order() -> None:
    assert [cell for cell, _ in table("reason")] == [f"`{reason}`" for reason in REASONS]


def test_the_reference_has_every_annotation() -> None:
    section = (
        (ROOT / "docs/reference.md")
        .read_text()
        .partition("## Annotations")[2]
        .partition("## Enforcement")[0]
    )
    there = {
        name
        for row in section.splitlines()
        if row.startswith("| `boundtoken.dev/")
        for name in re.findall(r"`(boundtoken\.dev/[a-z-]+)`", row.split(" | ")[0])
    }
    assert there == names.FOR_PODS | names.FOR_NAMESPACES | names.OURS_ON_PODS


@pytest.mark.parametrize("page", ["docs/reference.md", "docs/contract.md"])
def test_the_documents_have_every_annotation_of_users_and_the_versions(page: str) -> None:
    rows = [
        row
        for row in (ROOT / page).read_text().splitlines()
        if row.startswith("| `boundtoken.dev/")
    ]
    there = {
        name
        for row in rows
        for name in re.findall(r"`(boundtoken\.dev/[a-z-]+)`", row.split(" | ")[0])
    }
    assert there - names.OURS_ON_PODS == names.FOR_PODS | names.FOR_NAMESPACES
    (versions,) = [row.split(" | ")[1] for row in rows if f"`{names.ENFORCE_VERSION}`" in row]
    assert re.findall(r"`(\w+)`", versions) == [*VERSIONS, "latest"]
    (seconds,) = [row.split(" | ") for row in rows if f"`{names.EXPIRATION_SECONDS}`" in row]
    assert seconds[2].strip(" |") == str(names.DEFAULT_EXPIRATION_SECONDS)


def test_uninstalling_takes_off_every_annotation() -> None:
    taken: dict[str, set[str]] = {"deployments": set(), "namespaces": set()}
    page = (ROOT / "docs/operations.md").read_text()
    for kind, listed in re.findall(
        r"^kubectl annotate (deployments|namespaces)\S* --all.* boundtoken\.dev/\{(.+)\}-$",
        page,
        re.MULTILINE,
    ):
        taken[kind] |= {names.DOMAIN + name for name in listed.split(",")}
    assert taken == {"deployments": names.FOR_PODS, "namespaces": names.FOR_NAMESPACES}


@pytest.mark.parametrize("page", ["docs/contract.md", "manifests/35-configmap.yaml"])
def test_every_key_of_the_configuration_is_spelled_out(page: str) -> None:
    text = (ROOT / page).read_text()
    if page.endswith(".md"):
        (text,) = re.findall(r"```yaml\n(apiVersion: boundtoken.dev.+?)```", text, re.DOTALL)
    else:
        text = yaml.safe_load(text)["data"]["config.yaml"]
    there = {
        key: value
        for key, value in yaml.safe_load(text).items()
        if key not in ("apiVersion", "kind")
    }
    assert cluster_config.parse(text).policy == ClusterPolicy()
    assert {
        key: set(value) if isinstance(value, dict) else None for key, value in there.items()
    } == {
        key: set(field) if isinstance(field, dict) else None
        for key, field in cluster_config.FIELDS.items()
    }


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, set[str]]]:
    """Every command with its long flags."""
    groups = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    for group in groups:
        for command in group.choices.values():
            yield from commands(command)
    if not groups:
        flags = {flag for action in parser._actions for flag in action.option_strings}
        yield parser.prog, {flag for flag in flags if flag.startswith("--")} - {"--help"}


def test_the_reference_and_the_contract_have_every_command_with_its_flags() -> None:
    configured = {f"--{option.name}" for option in options.OPTIONS}
    expected = dict(commands(parser()))
    there = {
        name.strip("`"): set(re.findall(r"`(--[a-z-]+)`", flags))
        for name, flags, _ in table("command")
    }
    assert there == {
        name: flags - configured if name == "boundtoken serve" else flags
        for name, flags in expected.items()
    }
    contract = (ROOT / "docs/contract.md").read_text()
    assert [name for name in expected if f"`{name}`" not in contract] == []


def test_every_default_of_an_option_stands_alike_wherever_it_is_written() -> None:
    resolved = options.resolve({}, {})
    fields = [
        field for field in dataclasses.fields(resolved) if field.default is not dataclasses.MISSING
    ]
    assert {field.name: getattr(resolved, field.name) for field in fields} == {
        field.name: field.default for field in fields
    }
    # Lifetimes is what commands use where no Deployment is found.
    assert Lifetimes() == Lifetimes(resolved.ca_duration, resolved.leaf_duration)
    lifetimes = re.findall(
        r"^\| (?:CA|leaf) \| [^|]+ \| (\d+) days",
        (ROOT / "certs/README.md").read_text(),
        re.MULTILINE,
    )
    assert lifetimes == [str(resolved.ca_duration.days), str(resolved.leaf_duration.days)]


def test_every_metric_is_counted_somewhere() -> None:
    """One that is declared and documented, and never set, would be 0 for ever."""
    elsewhere = "".join(
        path.read_text()
        for room in ("cluster", "serving", "cli")
        for path in (ROOT / "webhook" / room).glob("*.py")
    )
    own = (ROOT / "webhook/metrics.py").read_text()
    declared = re.findall(r"^([A-Z_]+) = (?:Counter|Gauge|Durations)\(", own, re.MULTILINE)
    assert len(declared) == len(table("metric"))
    assert [
        name
        for name in declared
        if f"metrics.{name}." not in elsewhere
        and not re.search(rf"^{name}\.labels\(__version__", own, re.MULTILINE)
    ] == []


def test_the_reference_has_every_field_of_the_line_of_a_review() -> None:
    assert [name for name, _ in table("field")] == [
        f"`{field}`" for field in ValidationLine.__struct_fields__
    ]


@pytest.mark.parametrize(
    "name",
    ["pods", "workloads", *(entry["name"].partition(".")[0] for entry in JUDGING)],
)
def test_the_reference_says_what_each_webhook_writes_into_the_audit_log(name: str) -> None:
    kind = (
        "MutatingWebhookConfiguration"
        if name in ("pods", "workloads")
        else "ValidatingWebhookConfiguration"
    )
    webhook(f"{name}.boundtoken.dev", kind)
    assert any(
        f"`{name}`" in webhooks and "`reason`" in written
        for webhooks, written, _ in table("webhooks")
    )


def test_the_words_of_the_audit_log_are_the_same_for_every_webhook() -> None:
    there = {
        word for _, written, _ in table("webhooks") for word in re.findall(r"`(\w+)`", written)
    }
    assert there == {"reason", "policy", "faults", "violations", "exempt"}


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
