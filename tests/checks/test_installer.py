"""What a person is told to run, by what has installed boundtoken."""

import msgspec
import pytest

from tests.checks.installations import a_deployment, an_installation
from webhook.checks.installer import RELEASE, with_its_commands
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
    again = "helm upgrade web CHART -n tokens --reset-then-reuse-values"
    assert commands(installed_by("web")) == ("first", again)


@pytest.mark.parametrize("release", ["", "a b", "x; reboot", "$(reboot)", "--post-renderer=x"])
def test_what_is_no_name_stands_in_no_command(release: str) -> None:
    assert commands(installed_by(release)) == ("first", APPLY)


@pytest.mark.parametrize("deployment", [None, a_deployment()])
def test_everything_else_is_applied_by_kustomize(deployment: Deployment | None) -> None:
    assert commands(deployment) == ("first", APPLY)
