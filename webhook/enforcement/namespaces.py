"""Decide on a request that creates or updates a Namespace, by its annotations and labels alone.

    a bad value of a known annotation   denied, if this request introduces it
    any other fault                     warned of: values that become others, unknown or misplaced
                                        names, labels, and bad values that were there before
    an excluded namespace, or ours      never denied: nothing that is written there has an effect
    a terminating namespace             not looked at (`validate.skip_reason`)

As in Pod Security admission (pod-security-admission, Admission.ValidateNamespace), old and new
object are compared, both under the configuration of now. So a namespace with a fault stays
editable, also one whose value became bad by a change of the configuration.

Which pods a change concerns is the work of `preview`, which needs a list of them.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from ..core import levels, names, policy
from ..core.annotations import Parser
from ..core.decision import Decision, Outcome, Reason
from ..core.faults import Fault, more_faults
from ..core.full_views import Namespace
from ..core.levels import Mode
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.review import ValidationRequest
from ..core.text import quote, truncate, truncate_bytes, truncate_warnings
from . import preview, validate
from .guesses import guess

MAX_FAULT_WARNINGS = 7
"""Half of the warnings that an answer may have: the other half is for the preview."""

_PARSERS: dict[str, Parser] = {
    annotation: parse for _, annotation, parse in (*policy.NAMESPACE_SETTINGS, *policy.LOCKS)
}


class Review(NamedTuple):
    """What is decided by the annotations, and what remains to be answered by a list of pods."""

    decision: Decision
    name: str
    namespace: NamespacePolicy
    """The policy of the new object."""
    modes: tuple[Mode, ...]
    """The modes whose requirements existing pods are to be compared with; empty if there is no
    question about pods."""


def review(request: ValidationRequest, cluster: ClusterPolicy) -> Review:
    """Decide on a request that `validate.skip_reason` does not skip."""
    new, old = request.object, request.old_object
    if not isinstance(new, Namespace):
        none = policy.resolve_namespace(cluster, {})
        return Review(Decision("not-applicable"), request.name, none, ())
    name = request.name or new.metadata.name or new.metadata.generate_name
    after = _policy(new, cluster)
    before = _policy(old, cluster) if isinstance(old, Namespace) else None
    faults = (*after.resolution.faults, *label_faults(new.metadata.labels))
    decided = partial(_decision, name=name, faults=faults, levels_text=validate.policy_text(after, cluster))  # fmt: skip
    if (reason := _without_effect(name, cluster)) is not None:
        return Review(decided(reason, remarks=_no_effect(name, reason, after)), name, after, ())
    if introduced := _introduced(before, after):
        others = [fault for fault in faults if (fault.annotation, fault.value) not in introduced]
        text = f"namespace {quote(name, 63)}: {'; '.join(introduced.values())}"
        denied = msgspec.structs.replace(
            decided("bad-annotations", told=others),
            outcome="denied",
            denial=truncate(text, validate.MAX_MESSAGE_CHARS),
        )
        return Review(denied, name, after, ())
    if name in cluster.exemptions.namespaces:
        is_news = bool(request.dry_run) or before is None or before.enforcement != after.enforcement
        remarks = _exempt(name, after) if is_news else ()
        return Review(decided("exempt", remarks=remarks), name, after, ())
    # A namespace that is created has no pods.
    modes = preview.modes(before, after, cluster, every=bool(request.dry_run)) if before else ()
    remarks = _floor_decides(name, after, cluster) if modes or before is None else ()
    return Review(decided("not-enforced", remarks=remarks), name, after, modes)


def _introduced(
    before: NamespacePolicy | None, after: NamespacePolicy
) -> dict[tuple[str, str], str]:
    """Return the bad values that were not there before."""
    known = bad_values(before) if before is not None else {}
    return {of: text for of, text in bad_values(after).items() if of not in known}


def with_preview(decision: Decision, lines: tuple[str, ...], *, violates: bool) -> Decision:
    """Return the decision with what a preview found."""
    warnings = truncate_warnings((*decision.warnings, *lines))
    outcome: Outcome = "warned" if warnings else "unchanged"
    reason: Reason = "violates" if violates else "complies"
    return msgspec.structs.replace(decision, reason=reason, outcome=outcome, warnings=warnings)


def bad_values(namespace: NamespacePolicy) -> dict[tuple[str, str], str]:
    """Return the values that cannot be used, by annotation and value, with a text for each.

    A value that is adjusted, such as a lifetime above the maximum, is not one of them.
    """
    # One value may have many faults, such as one for each of 64 tokens, and is parsed once.
    faults = {
        (fault.annotation, fault.value): fault
        for fault in namespace.resolution.faults
        if fault.layer == "namespace" and fault.annotation in names.FOR_NAMESPACES
    }
    found: dict[tuple[str, str], str] = {}
    for (name, value), fault in faults.items():
        if problem := _problem(fault, namespace):
            meant = guess(name, value, partial(_accepts, namespace, name))
            suggestion = f" (did you mean {quote(meant)}?)" if meant else ""
            found[name, value] = truncate(f"{name}={quote(value)}: {problem}") + suggestion
    return found


def _problem(fault: Fault, namespace: NamespacePolicy) -> str:
    """Return what a value must be; empty for one that is used, or used in part."""
    parse = _PARSERS.get(fault.annotation)
    if parse is None:
        # A level or a version: no value of theirs is adjusted.
        return fault.problem[max(0, fault.problem.find("must be")) :]
    try:
        parse(fault.value, namespace.locks)
    except ValueError as problem:
        return str(problem)
    return ""


def _accepts(namespace: NamespacePolicy, annotation: str, value: str) -> bool:
    parse = _PARSERS.get(annotation)
    if parse is None:
        return not levels.read({annotation: value})[1]
    try:
        parse(value, namespace.locks)
    except ValueError:
        return False
    return True


def _policy(namespace: Namespace, cluster: ClusterPolicy) -> NamespacePolicy:
    annotations = policy.namespace_annotations(namespace.metadata.annotations)
    return policy.resolve_namespace(cluster, annotations)


def label_faults(given: Mapping[str, str] | None) -> list[Fault]:
    """Return a fault for each label of our domain on a namespace: there is no such label.

    The one that earlier releases wrote does no harm, and nobody who edits the namespace now wrote
    it; the log names it.
    """
    labels = given or {}
    ours = sorted(
        name for name in labels if name.startswith(names.DOMAIN) and name != names.LEFTOVER_LABEL
    )
    problem = "ignored, it is a label, and boundtoken reads annotations only"
    return [
        *(Fault("namespace", name, labels[name], problem) for name in ours[: names.MAX_FAULTS]),
        *more_faults("namespace", len(ours)),
    ]


def _decision(
    reason: Reason,
    name: str,
    faults: tuple[Fault, ...],
    levels_text: str,
    remarks: tuple[str, ...] = (),
    *,
    told: list[Fault] | None = None,
) -> Decision:
    """Return a decision that allows, with a warning for each remark and each fault. `told` are the
    faults to warn of, if not all.
    """
    # kubectl prints a text once, however many namespaces it is about, so each text has a name.
    place = f"namespace {quote(name, 63)}"
    warned = [
        fault.on(place if fault.layer == "namespace" else f"the {fault.layer}")
        for fault in (faults if told is None else told)
    ]
    if (more := len(warned) - MAX_FAULT_WARNINGS) > 0:
        rest = f"{names.DOMAIN}*: and {more} more; the audit annotation faults has them all"
        warned = [*warned[:MAX_FAULT_WARNINGS], rest]
    warnings = truncate_warnings((*remarks, *warned))
    audit = {"policy": levels_text}
    if faults:
        audit["faults"] = truncate_bytes("; ".join(map(str, faults)))
    outcome: Outcome = "warned" if warnings else "unchanged"
    return Decision(reason, outcome, warnings=warnings, audit=audit, faults=faults)


def _without_effect(name: str, cluster: ClusterPolicy) -> Reason | None:
    if name == cluster.own_namespace:
        return "own-namespace"
    return "excluded-namespace" if name in cluster.excluded else None


def _no_effect(name: str, reason: Reason, namespace: NamespacePolicy) -> tuple[str, ...]:
    known = [key for key in namespace.annotations if key in names.FOR_NAMESPACES]
    if not known:
        return ()
    why = "excluded from boundtoken" if reason == "excluded-namespace" else "boundtoken's own"
    shown = ", ".join(known)
    return (f"namespace {quote(name, 63)} is {why}, and these have no effect: {shown}",)


def _exempt(name: str, namespace: NamespacePolicy) -> tuple[str, ...]:
    """Return the remark that an exempt namespace is held to nothing, if it demands anything.

    Source: pod-security-admission, Admission.exemptNamespaceWarning
    """
    demands = [mode for mode in levels.MODES if namespace.enforcement.of(mode).level != "off"]
    if not demands:
        return ()
    shown = ", ".join(levels.LEVEL_OF[mode] for mode in demands)
    who = f"namespace {quote(name, 63)} is exempt from enforcement (exemptions.namespaces)"
    return (f"{who}, and these are ignored: {shown}",)


def _floor_decides(
    name: str, namespace: NamespacePolicy, cluster: ClusterPolicy
) -> tuple[str, ...]:
    """Return the remark that the floor is stricter than what the namespace says, if it is."""
    own, floor = namespace.enforcement.enforce, cluster.enforce_floor
    if names.ENFORCE not in namespace.annotations or levels.stricter(own.level, floor) == own.level:
        return ()
    place = f"on namespace {quote(name, 63)}"
    return (
        f"{names.ENFORCE}={quote(own.level)} {place}: the cluster's enforceFloor {quote(floor)} is stricter, and decides",
    )
