"""The command that applies an installation again, by what has installed it."""

from collections.abc import Iterable

from .facts import Installation
from .model import APPLY, Result, is_name
from .objects import Deployment

RELEASE = "meta.helm.sh/release-name"
"""The annotation by which Helm knows its objects (helm.sh/helm/v4/pkg/action/validate.go)."""


def with_its_commands(results: Iterable[Result], seen: Installation) -> tuple[Result, ...]:
    """The results, with Helm's command where they have that of kustomize and a release of Helm has
    made the Deployment. CHART stands for the chart, as OVERLAY does for a folder.
    """
    command = _again(seen)
    return tuple(_with(result, command) for result in results)


def _again(seen: Installation) -> str:
    if not isinstance(seen.deployment, Deployment):
        return APPLY
    release = (seen.deployment.metadata.annotations or {}).get(RELEASE, "")
    # Only a name may stand in a command that people copy.
    if not (is_name(release) and is_name(seen.own)):
        return APPLY
    return f"helm upgrade {release} CHART -n {seen.own} --reset-then-reuse-values"


def _with(result: Result, command: str) -> Result:
    commands = tuple(command if one == APPLY else one for one in result.finding.commands)
    return result._replace(finding=result.finding._replace(commands=commands))
