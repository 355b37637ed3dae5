"""The command that applies an installation again, by what has installed it. Only its objects of the
cluster tell: who may only write in a namespace cannot make them, and may have a Deployment like
ours, with the name of a release of their own.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..core import names
from ..simulation.calling import ConfigurationMetadata
from .facts import Installation
from .model import APPLY, Result, Unseen, is_name
from .objects import Labelled, Specified

RELEASE = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
"""The annotations by which Helm knows its objects (helm.sh/helm/v4/pkg/action/validate.go)."""
CHART, INSTANCE = "helm.sh/chart", "app.kubernetes.io/instance"
"""Labels of the chart's templates: its own name and version, and the name of the release. Without
RELEASE somebody has rendered and applied it, and Helm knows of no release.
"""


BY_FORCE = "--server-side=true --force-conflicts"
"""Else what somebody changed by hand is a conflict, which ends the upgrade half way."""
REPLICAS, BUDGET = "replicas=2", "podDisruptionBudget.enabled=true"
"""Values of the chart that a command may set."""


class _Origin(NamedTuple):
    """What the chart was rendered for; `is_kept` is whether Helm knows the release. Without a name
    it was not the chart.
    """

    release: str = ""
    is_kept: bool = False


def with_its_commands(results: Iterable[Result], seen: Installation) -> tuple[Result, ...]:
    """The results, with Helm's command where they have that of kustomize and the chart has made
    this installation. CHART and VALUES stand for the chart and a file, as OVERLAY does for a
    folder.
    """
    command = by_helm(seen) or APPLY
    return tuple(_with(result, command) for result in results)


def by_helm(seen: Installation, *values: str) -> str:
    """The command that applies the chart again, with these values; empty where most of what was
    seen of the cluster's objects was not made by a chart in boundtoken's own namespace.
    """
    origins = Counter(_origin(one, seen.own) for one in _metadata(seen))
    origin = max(origins, key=origins.__getitem__, default=_Origin())
    # Only a name may stand in a command that people copy.
    if not is_name(origin.release) or not is_name(seen.own):
        return ""
    place, more = f"{origin.release} CHART -n {seen.own}", ""
    if values:
        more = f" --set {','.join(values)}"
    if origin.is_kept:
        return f"helm upgrade {place} --reset-then-reuse-values{more} {BY_FORCE}"
    return f"helm template {place} -f VALUES{more} --skip-tests | kubectl apply -f -"


def _metadata(seen: Installation) -> Iterator[ConfigurationMetadata | Labelled]:
    """That of every object of the cluster that the manifests have and that was read."""
    for found in seen.configurations.values():
        if not isinstance(found, Unseen):
            yield from (one.metadata for one in found if one.metadata.name == names.APP)
    for part in (*seen.policies.values(), *seen.bindings.values()):
        if isinstance(part, Specified):
            yield part.metadata


def _origin(metadata: ConfigurationMetadata | Labelled, own: str) -> _Origin:
    annotations, labels = metadata.annotations or {}, metadata.labels or {}
    if release := annotations.get(RELEASE, ""):
        is_here = annotations.get(RELEASE_NAMESPACE, "") == own
        return _Origin(release, is_kept=True) if is_here else _Origin()
    return _Origin(labels.get(INSTANCE, "")) if CHART in labels else _Origin()


def _with(result: Result, command: str) -> Result:
    commands = tuple(command if one == APPLY else one for one in result.finding.commands)
    return result._replace(finding=result.finding._replace(commands=commands))
