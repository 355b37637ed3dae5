"""Who keeps the certificates decides what is wrong, and what fixes it."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from tests.checks.installations import NOW, a_deployment, a_replica, an_installation
from webhook.checks import shipped
from webhook.checks.certificates import checks
from webhook.checks.facts import MUTATING, VALIDATING, CaBundle, Installation
from webhook.checks.model import Result, run
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
