"""What checks compare with is what the manifests of this release have."""

from typing import Any

import jsonpatch
import msgspec
import pytest
import yaml

from tests.support.builders import Json
from tests.support.paths import ROOT
from webhook.checks import shipped
from webhook.checks.facts import MUTATING, VALIDATING, Right
from webhook.core import names
from webhook.simulation.calling import Entry


def documents() -> list[Json]:
    files = sorted(ROOT.glob("manifests/[0-9]*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str) -> list[Json]:
    return [document for document in documents() if document["kind"] == kind]


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        (MUTATING, "MutatingWebhookConfiguration"),
        (VALIDATING, "ValidatingWebhookConfiguration"),
    ],
)
def test_the_entries_are_those_of_the_manifests(resource: str, kind: str) -> None:
    (document,) = of_kind(kind)
    assert [normal(msgspec.to_builtins(entry)) for entry in shipped.ENTRIES[resource]] == [
        normal(msgspec.to_builtins(as_entry(webhook))) for webhook in document["webhooks"]
    ]


def as_entry(webhook: Json) -> Entry:
    webhook["clientConfig"]["service"]["namespace"] = names.NAMESPACE
    return msgspec.convert(webhook, Entry)


def normal(value: Any) -> Any:
    """Without the order of lists, and with single blanks."""
    match value:
        case dict():
            return {key: normal(item) for key, item in value.items() if item}
        case list() | tuple():
            return sorted((normal(item) for item in value), key=str)
        case str():
            return " ".join(value.split())
        case _:
            return value


def test_everything_that_the_manifests_create_needs_a_right_that_pre_asks_for() -> None:
    groups = {
        (document["apiVersion"].rpartition("/")[0], document["kind"].lower())
        for document in documents()
    }
    singular = {
        "networkpolicies": "networkpolicy",
        "validatingadmissionpolicies": "validatingadmissionpolicy",
    }
    known = {
        (group, singular.get(resource, resource.removesuffix("s")))
        for group, resource in shipped.INSTALLED
    }
    assert groups == known


def test_the_rights_are_those_of_the_roles() -> None:
    assert rights_of("ClusterRole") == {*shipped.RIGHTS, *shipped.CA_BUNDLE_RIGHTS}
    assert rights_of("Role") == {*shipped.PROBE_RIGHTS, *shipped.CA_SECRET_RIGHTS}


@pytest.mark.parametrize(
    ("component", "everywhere"),
    [
        ("certificate-from-secret", set(shipped.RIGHTS)),
        (
            "legacy-tokens-fail-closed",
            {*shipped.RIGHTS, *shipped.CA_BUNDLE_RIGHTS, *shipped.FAIL_CLOSED_RIGHTS},
        ),
    ],
)
def test_the_rights_of_a_component_are_those_of_its_patches(
    component: str, everywhere: set[Right]
) -> None:
    folder = ROOT / "manifests/optional" / component
    patches = yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"]
    rules = {
        kind: patched(
            kind, [one["patch"] for one in patches if one.get("target", {}).get("kind") == kind]
        )
        for kind in ("ClusterRole", "Role")
    }
    assert rules["ClusterRole"] == everywhere
    assert rules["Role"] >= set(shipped.PROBE_RIGHTS)


def test_the_condition_of_the_component_that_fails_closed_is_that_of_its_patch() -> None:
    text = (ROOT / "manifests/optional/legacy-tokens-fail-closed/kustomization.yaml").read_text()
    patch, _ = yaml.safe_load(text)["patches"]
    (entry,) = yaml.safe_load(patch["patch"])["webhooks"]
    (condition,) = entry["matchConditions"]
    assert normal(condition) == normal(msgspec.to_builtins(shipped.FAIL_CLOSED))


def patched(kind: str, patches: list[str]) -> set[Right]:
    """The rights of a role after these patches."""
    role = role_of(kind)
    for patch in patches:
        role = jsonpatch.apply_patch(role, yaml.safe_load(patch))
    return granted_by(role)


def rights_of(kind: str, where: str = "manifests/30-rbac.yaml") -> set[Right]:
    return granted_by(role_of(kind, where))


def role_of(kind: str, where: str = "manifests/30-rbac.yaml") -> Json:
    found = yaml.safe_load_all((ROOT / where).read_text())
    (role,) = (document for document in found if document["kind"] == kind)
    return dict(role)


def granted_by(role: Json) -> set[Right]:
    return {
        Right(verb, group, resource, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("ValidatingAdmissionPolicy", shipped.POLICIES),
        ("ValidatingAdmissionPolicyBinding", shipped.BINDINGS),
    ],
)
def test_the_policies_are_those_of_the_manifests(kind: str, known: Json) -> None:
    assert {one["metadata"]["name"]: one["spec"] for one in of_kind(kind)} == known


def test_labels_and_ports_are_those_of_the_deployment() -> None:
    (deployment,) = of_kind("Deployment")
    template = deployment["spec"]["template"]
    assert template["metadata"]["labels"] == shipped.LABELS
    (container,) = template["spec"]["containers"]
    ports = [port["containerPort"] for port in container["ports"]]
    assert ports == [shipped.PORT, shipped.METRICS_PORT]
