"""What a person is told to run, by what has installed boundtoken."""

import re

import msgspec
import pytest

from tests.checks.installations import a_deployment, an_installation, specified
from webhook.checks import before
from webhook.checks.facts import MUTATING, VALIDATING, Installation
from webhook.checks.installation import checks
from webhook.checks.installer import (
    BUDGET,
    CHART,
    INSTANCE,
    RELEASE,
    RELEASE_NAMESPACE,
    REPLICAS,
    by_helm,
    with_its_commands,
)
from webhook.checks.model import APPLY, Finding, Result, Unseen
from webhook.checks.objects import Labelled, Specified
from webhook.simulation.calling import Configuration, ConfigurationMetadata

FOUND = (Result("id", "group", "sentence", "cure", Finding("failed", "", ("first", APPLY))),)


AGAIN = "helm upgrade web CHART -n tokens --reset-then-reuse-values --server-side=true --force-conflicts"
CHARTED = {CHART: "boundtoken-0.1.0", INSTANCE: "web"}


def made_by(
    release: str, namespace: str = "tokens", labels: dict[str, str] | None = None
) -> Installation:
    """All objects of the cluster have the annotations of a release, where there is one, and these
    labels; the Deployment is gone.
    """
    annotations = {RELEASE: release, RELEASE_NAMESPACE: namespace} if release else {}
    policy = specified({})
    metadata = Labelled(annotations=annotations, labels=labels)
    policy = msgspec.structs.replace(policy, metadata=metadata)
    return an_installation(
        own="tokens",
        deployment=None,
        configurations={
            resource: (
                Configuration(ConfigurationMetadata("boundtoken", "", annotations, labels), ()),
            )
            for resource in (MUTATING, VALIDATING)
        },
        policies={"boundtoken": policy},
        bindings={"boundtoken": policy},
    )


def commands(seen: Installation) -> tuple[str, ...]:
    (told,) = with_its_commands(FOUND, seen)
    return told.finding.commands


def test_a_release_of_helm_is_applied_again_by_helm() -> None:
    assert commands(made_by("web")) == ("first", AGAIN)


@pytest.mark.parametrize("release", ["", "a b", "x; reboot", "$(reboot)", "--post-renderer=x"])
def test_what_is_no_name_stands_in_no_command(release: str) -> None:
    assert commands(made_by(release)) == ("first", APPLY)


def test_a_release_in_another_namespace_is_none_of_boundtoken() -> None:
    assert commands(made_by("web", "aaa")) == ("first", APPLY)
    assert commands(made_by("web", "aaa", CHARTED)) == ("first", APPLY)


def test_a_deployment_names_no_release() -> None:
    """Anybody may have one in a namespace of theirs."""
    deployment = a_deployment()
    metadata = Labelled(
        "boundtoken", annotations={RELEASE: "pwn", RELEASE_NAMESPACE: "tokens"}, labels=CHARTED
    )
    deployment = msgspec.structs.replace(deployment, metadata=metadata)
    assert commands(an_installation(deployment=deployment, own="tokens")) == ("first", APPLY)


@pytest.mark.parametrize("left", ["configurations", "policies", "bindings"])
def test_one_kind_of_them_is_enough(left: str) -> None:
    seen = made_by("web")
    unseen: dict[str, Unseen | Specified | None] = {"boundtoken": Unseen("needs get")}
    if left != "configurations":
        seen.configurations = {MUTATING: (), VALIDATING: Unseen("needs list")}
    seen.policies = seen.policies if left == "policies" else unseen
    seen.bindings = seen.bindings if left == "bindings" else {"boundtoken": None}
    assert commands(seen) == ("first", AGAIN)


def test_what_most_of_them_say_is_taken_and_a_left_over_says_nothing() -> None:
    seen, plain = made_by("web"), made_by("")
    seen.policies = plain.policies
    assert commands(seen) == ("first", AGAIN)
    seen.configurations = plain.configurations
    assert commands(seen) == ("first", APPLY)
    (theirs,) = (one for one in made_by("other").configurations[MUTATING])  # type: ignore[union-attr]
    left = msgspec.structs.replace(
        theirs, metadata=msgspec.structs.replace(theirs.metadata, name="zzz")
    )
    none = {"boundtoken": None}
    found = {MUTATING: (left,), VALIDATING: ()}
    assert commands(
        an_installation(own="tokens", configurations=found, policies=none, bindings=none)
    ) == (
        "first",
        APPLY,
    )


def test_everything_else_is_applied_by_kustomize() -> None:
    assert commands(made_by("")) == commands(an_installation()) == ("first", APPLY)
    nothing = an_installation(configurations={}, policies={}, bindings={})
    assert commands(nothing) == ("first", APPLY)
    assert by_helm(nothing, REPLICAS) == ""


def test_what_the_chart_renders_is_rendered_and_applied_again() -> None:
    render = "helm template web CHART -n tokens -f VALUES --skip-tests | kubectl apply -f -"
    assert commands(made_by("", labels=CHARTED)) == ("first", render)
    assert commands(made_by("web", labels=CHARTED)) == ("first", AGAIN)


def test_a_command_may_set_values() -> None:
    values = " --set replicas=2,podDisruptionBudget.enabled=true "
    for seen in (made_by("web"), made_by("", labels=CHARTED)):
        assert values in by_helm(seen, REPLICAS, BUDGET)
        assert by_helm(seen, REPLICAS, BUDGET).replace(values, " ") == by_helm(seen)


@pytest.mark.parametrize(
    "labels", [{INSTANCE: "web"}, {CHART: "boundtoken-0.1.0"}, {CHART: "x", INSTANCE: "$(reboot)"}]
)
def test_labels_that_do_not_name_a_release_are_no_chart(labels: dict[str, str]) -> None:
    assert commands(made_by("", labels=labels)) == ("first", APPLY)


def test_no_cure_applies_a_single_manifest() -> None:
    """It would take away the image, the namespace and the configuration of an overlay."""
    cures = [check.cure for check in (*checks(with_token=True), *before.checks())]
    assert len(cures) > 40
    assert [cure for cure in cures if re.search(r"manifests/|\d\d-[a-z]+\.yaml", cure)] == []
