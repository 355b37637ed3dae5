"""A command that is printed mends what it is printed for, whatever has installed boundtoken."""

import msgspec
import pytest

from tests.checks.installations import a_deployment, an_installation
from tests.support.builders import Json
from webhook.checks import shipped
from webhook.checks.deployment import TOO_FEW
from webhook.checks.facts import MUTATING, Installation
from webhook.checks.installation import checks
from webhook.checks.installer import RELEASE, RELEASE_NAMESPACE
from webhook.checks.model import APPLY, Result, run
from webhook.checks.objects import Budget
from webhook.checks.webhooks import LEFT_OVER
from webhook.core import names
from webhook.simulation.calling import Configuration, ConfigurationMetadata, Entry


def every(of: Installation) -> dict[str, Result]:
    return {result.id: result for result in run(checks(), of)}


def beside(*more: Entry) -> Json:
    """A configuration zzz that is left over, with changed entries of ours and those of others."""
    entries = tuple(
        msgspec.structs.replace(one, timeout_seconds=30, failure_policy="Fail")
        for one in shipped.ENTRIES[MUTATING]
    )
    left = Configuration(ConfigurationMetadata("zzz"), (*entries, *more))
    found = an_installation().configurations
    ours = found[MUTATING]
    assert isinstance(ours, tuple)
    return {"configurations": {**found, MUTATING: (*ours, left)}}


def test_a_configuration_that_is_left_over_is_deleted_for_no_apply_mends_it() -> None:
    found = every(an_installation(**beside()))
    for check, status in (
        ("webhook-entries", "warning"),
        ("webhook-timeouts", "warning"),
        ("webhook-policies", "failed"),
    ):
        told = found[check].finding
        assert (told.status, told.commands) == (
            status,
            ("kubectl delete mutatingwebhookconfiguration zzz",),
        )
    assert "mutatingwebhookconfiguration/zzz, pods.boundtoken.dev" in found["webhook-timeouts"].finding.text  # fmt: skip
    assert found["webhook-timeouts"].cure == LEFT_OVER
    theirs = every(an_installation(**beside(Entry("pods.example.com"))))["webhook-timeouts"]
    assert (theirs.status, theirs.finding.commands, theirs.cure) == ("warning", (), LEFT_OVER)


def test_the_only_configuration_is_not_left_over_whatever_its_name() -> None:
    seen = an_installation(**beside())
    found = seen.configurations[MUTATING]
    assert isinstance(found, tuple)
    seen.configurations = {**seen.configurations, MUTATING: found[1:]}
    assert every(seen)["webhook-timeouts"].finding.commands == (APPLY,)


def by_helm() -> Json:
    """What tells that Helm has installed it."""
    annotations = {RELEASE: "web", RELEASE_NAMESPACE: names.NAMESPACE}
    metadata = ConfigurationMetadata("boundtoken", "", annotations)
    configurations = {
        resource: (Configuration(metadata, entries),)
        for resource, entries in shipped.ENTRIES.items()
    }
    return {"configurations": configurations, "policies": {}, "bindings": {}}


@pytest.mark.parametrize("requested", [0, 1])
def test_helm_scales_what_it_has_installed(requested: int) -> None:
    """What kubectl has scaled, the next upgrade takes for a conflict, and puts back by force."""
    few = a_deployment(requested, requested)
    (command,) = every(an_installation(deployment=few, **by_helm()))["replicas"].finding.commands
    assert command.startswith("helm upgrade web CHART -n boundtoken-system ")
    assert " --set replicas=2 " in command
    (command,) = every(an_installation(deployment=few))["replicas"].finding.commands
    assert command == "kubectl scale deployment/boundtoken -n boundtoken-system --replicas=2"


@pytest.mark.parametrize(
    ("requested", "fields", "values"),
    [
        (1, by_helm(), ["replicas=2,podDisruptionBudget.enabled=true"]),
        (0, by_helm(), ["replicas=2,podDisruptionBudget.enabled=true"]),
        (2, by_helm(), ["podDisruptionBudget.enabled=true"]),
        (1, {}, []),
        (2, {}, [APPLY]),
    ],
)
def test_the_command_for_a_budget_makes_one(
    requested: int, fields: Json, values: list[str]
) -> None:
    """The chart makes none for a single replica, nor where a value says so."""
    seen = an_installation(deployment=a_deployment(requested, requested), budgets=(), **fields)
    told = every(seen)["disruption-budget"]
    assert told.status == "warning"
    sets = [one.partition(" --set ")[2].split()[:1] for one in told.finding.commands]
    assert ([one for words in sets for one in words] or list(told.finding.commands)) == values
    assert (told.cure == TOO_FEW) is (requested < 2)


def test_a_second_budget_is_deleted_and_ours_is_kept() -> None:
    def told(*titles: str) -> tuple[str, ...]:
        spec = {"selector": {"matchLabels": shipped.LABELS}}
        budgets = tuple(
            msgspec.convert({"metadata": {"name": one}, "spec": spec}, Budget) for one in titles
        )
        return every(an_installation(budgets=budgets))["disruption-budget"].finding.commands

    other = "kubectl delete poddisruptionbudget other -n boundtoken-system"
    assert told("boundtoken", "other") == (other,)
    assert told("a", "b") == ("kubectl get poddisruptionbudgets -n boundtoken-system",)
