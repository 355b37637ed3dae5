"""Checks of the annotations of namespaces."""

import re
from collections.abc import Iterator

from ..core import names, policy
from ..core.policy import ClusterPolicy
from ..enforcement.namespaces import label_faults
from .facts import Installation
from .model import Check, Finding, is_name, listed, passed, there
from .objects import Annotated

GROUP = "Namespaces"
MAX_FAULTS_TOLD = 50
"""Of all namespaces together: what is told is for people, who mend some and look again."""
_LABEL = re.compile(rf"{re.escape(names.DOMAIN)}[\w.-]+", re.ASCII)
CURE = (
    "Set what the fault says would be right: kubectl annotate namespace NAME --overwrite. A label does "
    "nothing: take it off, kubectl label namespace NAME LABEL-."
)


def annotations(seen: Installation) -> Finding:
    """Each fault in the annotations of each namespace; the weaker layer decides then."""
    found = there(seen.namespaces)
    cluster = seen.cluster if isinstance(seen.cluster, ClusterPolicy) else ClusterPolicy()
    faults = [text for namespace in found for text in _faults(namespace, cluster)]
    ours = sum(bool(policy.own_annotations(one.metadata.annotations)) for one in found)
    if not faults:
        return passed(f"{ours} of {len(found)} have annotations of boundtoken")
    more = len(faults) - MAX_FAULTS_TOLD
    told = "; ".join(faults[:MAX_FAULTS_TOLD]) + (f"; and {more} more" if more > 0 else "")
    labels = [command for namespace in found for command in _without_labels(namespace)]
    return Finding("warning", told, tuple(labels[:MAX_FAULTS_TOLD]))


def _without_labels(namespace: Annotated) -> Iterator[str]:
    """The command that takes our labels off, which no command for annotations does."""
    metadata = namespace.metadata
    labels = (fault.annotation for fault in label_faults(metadata.labels))
    # Only what is no word of a shell may stand in a command that people copy.
    keys = [f"{label}-" for label in labels if _LABEL.fullmatch(label)]
    if keys and is_name(metadata.name):
        yield f"kubectl label namespace {metadata.name} {' '.join(keys)}"


def _faults(namespace: Annotated, cluster: ClusterPolicy) -> Iterator[str]:
    own = policy.namespace_annotations(namespace.metadata.annotations)
    faults = label_faults(namespace.metadata.labels)
    if own:
        resolution = policy.resolve_namespace(cluster, own).resolution
        faults += [fault for fault in resolution.faults if fault.layer == "namespace"]
    return (fault.on(f"namespace/{namespace.metadata.name}") for fault in faults)


def never_touched(seen: Installation) -> Finding:
    """Annotations where boundtoken never looks."""
    cluster = there(seen.cluster)
    without = {*cluster.excluded, seen.own}
    told = [
        f"namespace/{one.metadata.name}"
        for one in there(seen.namespaces)
        if one.metadata.name in without
        if names.FOR_NAMESPACES.intersection(one.metadata.annotations or ())
    ]
    if told:
        return Finding(
            "warning", f"{listed(told, ', ')} is excluded, so that its annotations do nothing"
        )
    return passed()


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "namespace-annotations",
        GROUP,
        "the annotations of namespaces have no faults",
        CURE,
        annotations,
    )
    yield Check(
        "namespace-excluded",
        GROUP,
        "no excluded namespace is annotated",
        "Remove the annotations, or remove the namespace from namespaces.excluded.",
        never_touched,
    )
