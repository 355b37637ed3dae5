"""The command that applies an installation again, by what has installed it."""

from collections.abc import Iterable

from .facts import Installation
from .model import APPLY, Result, is_name
from .objects import Deployment

RELEASE = "meta.helm.sh/release-name"
"""The annotation by which Helm knows its objects (helm.sh/helm/v4/pkg/action/validate.go)."""
CHART, INSTANCE = "helm.sh/chart", "app.kubernetes.io/instance"
"""Labels of the chart's templates: its own name and version, and the name of the release. Without
RELEASE somebody has rendered and applied it, and Helm knows of no release.
"""


BY_FORCE = "--server-side=true --force-conflicts"
"""Else what somebody changed by hand is a conflict, which ends the upgrade half way."""


def with_its_commands(results: Iterable[Result], seen: Installation) -> tuple[Result, ...]:
    """The results, with Helm's command where they have that of kustomize and the chart has made the
    Deployment. CHART and VALUES stand for the chart and a file, as OVERLAY does for a folder.
    """
    command = _again(seen)
    return tuple(_with(result, command) for result in results)


def _again(seen: Installation) -> str:
    if not isinstance(seen.deployment, Deployment):
        return APPLY
    metadata = seen.deployment.metadata
    release, labels = (metadata.annotations or {}).get(RELEASE, ""), metadata.labels or {}
    rendered = labels.get(INSTANCE, "") if CHART in labels else ""
    # Only a name may stand in a command that people copy.
    if is_name(release) and is_name(seen.own):
        return f"helm upgrade {release} CHART -n {seen.own} --reset-then-reuse-values {BY_FORCE}"
    if not release and is_name(rendered) and is_name(seen.own):
        render = f"helm template {rendered} CHART -n {seen.own} -f VALUES --skip-tests"
        return f"{render} | kubectl apply -f -"
    return APPLY


def _with(result: Result, command: str) -> Result:
    commands = tuple(command if one == APPLY else one for one in result.finding.commands)
    return result._replace(finding=result.finding._replace(commands=commands))
