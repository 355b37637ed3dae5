"""Who keeps the certificates decides what is wrong, and what fixes it."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from tests.checks.installations import NOW, a_deployment, a_replica, an_installation
from webhook.checks import rights, shipped
from webhook.checks.certificates import ELSEWHERE, UNKNOWN, checks
from webhook.checks.facts import MUTATING, VALIDATING, CaBundle, Installation
from webhook.checks.model import Result, Unseen, run
from webhook.simulation.calling import Configuration, ConfigurationMetadata

INJECT = "cert-manager.io/inject-ca-from"


def found(seen: Installation) -> dict[str, Result]:
    return {result.id: result for result in run(checks(), seen)}


def of_others(**fields: Any) -> Installation:
    """Whose replicas are given their certificate."""
    container = {"args": ["serve", "--tls-cert=/run/tls.crt", "--tls-key=/run/tls.key"]}
    template = {"metadata": {"labels": shipped.LABELS}, "spec": {"containers": [container]}}
    return an_installation(deployment=a_deployment(spec={"template": template}), **fields)


@pytest.mark.parametrize(
    ("check", "fields"),
    [
        ("ca-bundle", {"ca_bundles": (CaBundle("pods", is_usable=False, text="none"),)}),
        ("ca-bundle-trust", {"replicas": (a_replica(distrusting=("pods",)),)}),
        ("certificate-age", {"replicas": (a_replica(not_after=NOW),)}),
        ("ca-age", {"ca_bundles": (CaBundle("p", is_usable=True, text="", not_after=NOW),)}),
        (
            "ca-age",
            {"ca_bundles": (CaBundle("p", is_usable=True, text="", not_after=NOW + timedelta(9)),)},
        ),
    ],
)
def test_where_others_keep_them_nothing_that_writes_ours_is_advised(
    check: str, fields: dict[str, Any]
) -> None:
    theirs, ours = found(of_others(**fields))[check], found(an_installation(**fields))[check]
    assert theirs.status == ours.status != "passed"
    assert theirs.finding.commands == ("boundtoken certs show",)
    assert "cert-manager" in theirs.cure
    assert "kubectl get certificates" not in ours.cure


@pytest.mark.parametrize(("left", "status"), [(37, "passed"), (36, "warning"), (0, "failed")])
def test_when_others_renew_is_not_known_before_a_tenth_is_left(left: int, status: str) -> None:
    end = NOW + timedelta(left)
    dates: dict[str, Any] = {
        "not_before": end - timedelta(365),
        "not_after": end,
        "renewal": NOW - timedelta(60),
    }
    assert found(of_others(replicas=(a_replica(**dates),)))["certificate-age"].status == status


@pytest.mark.parametrize("resource", [MUTATING, VALIDATING])
def test_two_who_write_the_same_ca_bundle_are_told(resource: str) -> None:
    metadata = ConfigurationMetadata("boundtoken", annotations={INJECT: "pki/root"})
    seen = an_installation()
    others = {
        **seen.configurations,
        resource: (Configuration(metadata, shipped.ENTRIES[resource]),),
    }
    finding = found(dataclasses.replace(seen, configurations=others))["ca-bundle"].finding
    kind = resource.removesuffix("s")
    assert (finding.status, finding.commands) == (
        "failed",
        (f"kubectl annotate {kind} boundtoken {INJECT}-",),
    )
    assert found(of_others(configurations=others))["ca-bundle"].status == "passed"
    foreign = {**others, resource: (Configuration(metadata, ()),)}
    assert found(an_installation(configurations=foreign))["ca-bundle"].status == "passed"


NO_DEPLOYMENT = [
    (None, "deployment/boundtoken is missing"),
    (Unseen("needs get on deployments"), "needs get on deployments"),
]


@pytest.mark.parametrize(("deployment", "why"), NO_DEPLOYMENT)
def test_without_a_deployment_nobody_knows_who_keeps_them(deployment: Any, why: str) -> None:
    """A caBundle that cert-manager writes is then no fault, and none of our rights is missing."""
    seen = an_installation(deployment=deployment, rights=())
    metadata = ConfigurationMetadata("boundtoken", annotations={INJECT: "pki/root"})
    theirs = (Configuration(metadata, shipped.ENTRIES[MUTATING]),)
    seen.configurations = {**seen.configurations, MUTATING: theirs}
    results = found(seen) | {one.id: one for one in run(rights.checks(), seen)}
    for check in ("ca-bundle", "rights", "rights-excess"):
        told = results[check].finding
        assert (told.status, told.commands) == ("unknown", ())
        assert told.text == f"{why}: only the Deployment tells who keeps the certificates"


@pytest.mark.parametrize(
    ("check", "fields"),
    [
        ("ca-bundle-trust", {"replicas": (a_replica(distrusting=("pods",)),)}),
        ("certificate-age", {"replicas": (a_replica(not_after=NOW),)}),
        (
            "ca-age",
            {"ca_bundles": (CaBundle("p", is_usable=True, text="", not_after=NOW + timedelta(9)),)},
        ),
    ],
)
def test_without_a_deployment_what_is_wrong_is_told_and_nothing_that_writes_ours(
    check: str, fields: dict[str, Any]
) -> None:
    told = found(an_installation(deployment=None, **fields))[check]
    assert told.status == found(of_others(**fields))[check].status != "passed"
    assert (told.finding.commands, told.cure) == (("boundtoken certs show",), UNKNOWN)


def test_without_a_deployment_a_late_renewal_is_not_told() -> None:
    late = {"replicas": (a_replica(renewal=NOW - timedelta(1)),)}
    assert found(an_installation(**late))["certificate-age"].status == "warning"
    assert found(an_installation(deployment=None, **late))["certificate-age"].status == "passed"


@pytest.mark.parametrize(
    ("namespace", "is_cause"), [("boundtoken-system", True), ("tokens", False)]
)
def test_an_annotation_for_another_namespace_is_the_cause_of_a_wrong_ca_bundle(
    namespace: str, is_cause: bool
) -> None:
    """Under an overlay's namespace the component cert-manager still names the usual one."""
    empty = (CaBundle("pods", is_usable=False, text="no caBundle"),)
    metadata = ConfigurationMetadata("boundtoken", annotations={INJECT: f"{namespace}/boundtoken"})
    configurations = {
        resource: (Configuration(metadata, entries),)
        for resource, entries in shipped.ENTRIES.items()
    }
    fields: dict[str, Any] = {"own": "tokens", "configurations": configurations}
    other = (a_replica(distrusting=("pods",)),)
    for check, wrong, end in (
        ("ca-bundle", {"ca_bundles": empty}, "pods: no caBundle"),
        ("ca-bundle-trust", {"replicas": other}, "by the caBundle of pods"),
    ):
        told = found(of_others(**wrong, **fields))[check]
        assert told.status == "failed"
        assert told.finding.text.endswith(end)
        text = f'{INJECT} for a Certificate in namespace "{namespace}", and boundtoken is in tokens'
        assert (text in told.finding.text) is is_cause
        assert (told.cure == ELSEWHERE) is is_cause
        assert ("kubectl get certificates -n tokens" in told.finding.commands) is is_cause
        assert found(of_others(**fields))[check].status == "passed"
