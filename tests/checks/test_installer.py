"""What a person is told to run, by what has installed boundtoken."""

import re

import msgspec
import pytest

from tests.checks.installations import a_deployment, an_installation
from webhook.checks import before
from webhook.checks.installation import checks
from webhook.checks.installer import CHART, INSTANCE, RELEASE, with_its_commands
from webhook.checks.model import APPLY, Finding, Result
from webhook.checks.objects import Deployment

FOUND = (Result("id", "group", "sentence", "cure", Finding("failed", "", ("first", APPLY))),)


def installed_by(release: str) -> Deployment:
    deployment = a_deployment()
    metadata = msgspec.structs.replace(deployment.metadata, annotations={RELEASE: release})
    return msgspec.structs.replace(deployment, metadata=metadata)


def commands(deployment: Deployment | None) -> tuple[str, ...]:
    (told,) = with_its_commands(FOUND, an_installation(deployment=deployment, own="tokens"))
    return told.finding.commands


def test_a_release_of_helm_is_applied_again_by_helm() -> None:
    again = "helm upgrade web CHART -n tokens --reset-then-reuse-values --server-side=true --force-conflicts"
    assert commands(installed_by("web")) == ("first", again)


@pytest.mark.parametrize("release", ["", "a b", "x; reboot", "$(reboot)", "--post-renderer=x"])
def test_what_is_no_name_stands_in_no_command(release: str) -> None:
    assert commands(installed_by(release)) == ("first", APPLY)


@pytest.mark.parametrize("deployment", [None, a_deployment()])
def test_everything_else_is_applied_by_kustomize(deployment: Deployment | None) -> None:
    assert commands(deployment) == ("first", APPLY)


def rendered_by(labels: dict[str, str], release: str = "") -> Deployment:
    """What `helm template` gives; with a release what Helm itself has made."""
    deployment = installed_by(release) if release else a_deployment()
    metadata = msgspec.structs.replace(deployment.metadata, labels=labels)
    return msgspec.structs.replace(deployment, metadata=metadata)


def test_what_the_chart_renders_is_rendered_and_applied_again() -> None:
    labels = {CHART: "boundtoken-0.1.0", INSTANCE: "web"}
    render = "helm template web CHART -n tokens -f VALUES --skip-tests | kubectl apply -f -"
    assert commands(rendered_by(labels)) == ("first", render)
    again = "helm upgrade web CHART -n tokens --reset-then-reuse-values --server-side=true --force-conflicts"
    assert commands(rendered_by(labels, "web")) == ("first", again)


@pytest.mark.parametrize(
    "labels", [{INSTANCE: "web"}, {CHART: "boundtoken-0.1.0"}, {CHART: "x", INSTANCE: "$(reboot)"}]
)
def test_labels_that_do_not_name_a_release_are_no_chart(labels: dict[str, str]) -> None:
    assert commands(rendered_by(labels)) == ("first", APPLY)


def test_no_cure_applies_a_single_manifest() -> None:
    """It would take away the image, the namespace and the configuration of an overlay."""
    cures = [check.cure for check in (*checks(with_token=True), *before.checks())]
    assert len(cures) > 40
    assert [cure for cure in cures if re.search(r"manifests/|\d\d-[a-z]+\.yaml", cure)] == []
