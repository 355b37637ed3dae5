"""Advice about settings that are allowed and may harm their author. It is a warning and no fault:
nothing is ignored.
"""

from collections.abc import Iterable, Iterator

from ..core import names
from ..core.decision import Reason
from ..core.limits import Locks
from ..core.policy import ClusterPolicy, Resolution
from ..core.text import quote

TOKEN_GIVEN = ("injected", "rewritten")
MAX_SUGGESTED_CHARS = 60
"""Of an audience that a suggestion repeats."""


def on_pod(
    resolution: Resolution,
    reason: Reason,
    cluster: ClusterPolicy,
    locks: Locks,
    remarks: Iterable[str],
    *,
    says_no: bool,
) -> Iterator[str]:
    """Yield advice for whoever creates a pod. `remarks` are those of the plan; `says_no`: its spec
    asks for no token.
    """
    policy = resolution.policy
    yield from (f"{names.MOUNT_PATH}={quote(policy.mount_path)}: {remark}" for remark in remarks)
    at_default = policy.mount_path == names.DEFAULT_PATH
    foreign = policy.audience and policy.audience not in cluster.api_audiences
    if foreign and reason in TOKEN_GIVEN and at_default:
        yield (
            f"{names.AUDIENCE}={quote(policy.audience)}: replaces the Kubernetes API token: API clients in this pod will get "
            f"401. To keep both, remove it and set {names.TOKENS}: file={_suggested(policy.audience)}"
        )
    if reason == "injected" and not policy.automount and not at_default:
        yield _nothing_at_default(policy.mount_path)
    if not says_no:
        yield from _without_token(resolution, locks, "pod")


def on_workload(resolution: Resolution, locks: Locks) -> Iterator[str]:
    """Yield advice for whoever annotates a workload, where its own annotations have the effect:
    warnings about its pods reach only the controller that creates them.
    """
    policy, decided_by = resolution.policy, resolution.decided_by
    elsewhere = policy.mount_path != names.DEFAULT_PATH and not policy.automount
    if policy.inject != "disabled" and elsewhere:
        attributes = ("inject", "automount", "mount_path")
        if "workload" in {decided_by[attribute] for attribute in attributes}:
            yield _nothing_at_default(policy.mount_path)
    yield from _without_token(resolution, locks, "workload")


def _nothing_at_default(path: str) -> str:
    return (
        f"{names.MOUNT_PATH}={quote(path)}: nothing is left at {names.DEFAULT_PATH}, where API clients look; "
        f"to have both, set {names.AUTOMOUNT}: enabled"
    )


def _without_token(resolution: Resolution, locks: Locks, layer: str) -> Iterator[str]:
    """Yield what to do where `inject: disabled` was meant to keep the token of Kubernetes, which a
    weaker layer takes away.
    """
    policy, decided_by = resolution.policy, resolution.decided_by
    # Skipped containers keep the token of Kubernetes.
    skips = bool(policy.skip_containers)
    refuses = policy.inject == "disabled" and decided_by["inject"] == layer and not skips
    if refuses and not policy.automount and decided_by["automount"] != layer:
        keep = f"; to keep the one of Kubernetes, also set {names.AUTOMOUNT}: enabled"
        yield (
            f'{names.INJECT}="disabled": the pod is left without any token, because {names.AUTOMOUNT} is disabled here'
            f"{keep if locks.pod_overrides else ''}"
        )


def _suggested(audience: str) -> str:
    """Return the audience if the annotation for further tokens can have it as it stands."""
    fits = len(audience) <= MAX_SUGGESTED_CHARS and audience.isprintable()
    return audience if fits and not {",", ";"} & set(audience) else "audience"
