"""What is told of one object, as JSON; the text is made of the same."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from ...core import names
from ...core.decision import Decision
from ...core.text import without_tokens
from ...simulation import layers
from ...simulation.admission import AUTOMOUNTED
from ...simulation.calling import Call, Calling, Entry, call_for, calling, others
from ...simulation.explanation import Explained
from ..cluster.own_namespace import KINDS
from ..cluster.surroundings import MUTATING, VALIDATING, Namespace, State, Surroundings

JsonObject = dict[str, Any]
Report = dict[str, Any]
AWAY = {
    MUTATING: "taken as it is, without boundtoken's changes",
    VALIDATING: "taken without boundtoken's evaluation, and the API server's policies hold",
}
"""What happens to a request while boundtoken is away, where the entry fails open."""
REFUSED = "refused"
NOT_COPIED = (
    "its template lacks what its annotations request: boundtoken was away when they were written; "
    "its next update copies them"
)
UNCHANGEABLE = "annotations on an existing Job have no effect: delete it and create it again"
OPERATES = {True: "UPDATE", False: "CREATE"}


class Target:
    """One object with everything that is known of it. `is_living` is one that a cluster has;
    `made_of` is the object with the template that was explained, which of a pod is its owner, and
    `has_log` whether an audit log was read.
    """

    def __init__(
        self,
        document: JsonObject,
        explained: Explained,
        namespace: Namespace,
        around: Surroundings,
        *,
        is_living: bool,
    ) -> None:
        self.document, self.made_of, self.explained = document, document, explained
        self.namespace, self.around, self.is_living = namespace, around, is_living
        self.has_log = False

    @property
    def calls(self) -> Iterator[Call]:
        """The requests that concern us: of the workload, and of its pods."""
        if self.explained.workload is not None:
            yield self._call(self.made_of, OPERATES[self.is_living])
        if self.explained.before is not None:
            yield self.pod_call(self.explained.before)

    def pod_call(self, pod: JsonObject) -> Call:
        return self._call(pod, "CREATE")

    def _call(self, document: JsonObject, operation: str) -> Call:
        return call_for(
            document,
            self.namespace.name,
            self.namespace.labels,
            operation=operation,
            own_namespace=self.around.cluster.own_namespace,
        )

    @cached_property  # it is asked for each of the pods
    def of_pods(self) -> Calling | None:
        """Whether the mutating webhook is called about the pods; None where it is not known."""
        before = self.explained.before
        if before is None:
            return None
        found = [calling(e, n, self.pod_call(before)) for n, e in self.around.ours(MUTATING)]
        # One may be left of an earlier installation: one that is called is enough.
        found.sort(key=lambda one: ((True, None, False).index(one.called), self._lacks(one.entry)))
        return next((one for one in found if one.is_for_the_resource), None)

    def _lacks(self, entry: Entry) -> bool:
        """Whether something is known not to stand behind an entry."""
        return False in (
            self.around.ca_bundle(entry).holds,
            self.around.service(entry, MUTATING).holds,
        )

    @cached_property
    def later(self) -> tuple[str, ...]:
        """The other webhooks that may change a pod after us."""
        before = self.explained.before
        if before is None:
            return ()
        found = others(self.around.mutating, self.pod_call(before))
        return (*found.again, *found.after)


def report(target: Target, *, with_patch: bool) -> Report:
    """Everything but what a living object has (`living`) and what could not be seen."""
    explained, namespace, around = target.explained, target.namespace, target.around
    is_known, own = namespace.annotations is not None, around.policy(namespace)
    found: Report = {
        "kind": str(target.document.get("kind", "")),
        "name": _name(target.document),
        "namespace": namespace.name,
        "notes": [],
        "configuration": around.configuration_from,
        "verdict": _verdict(explained, with_patch=with_patch) if is_known else None,
        "workload": None,
        "layers": [_setting(setting) for setting in explained.settings],
        "locks": [one._asdict() for one in layers.locks(around.cluster, own)],
        "demands": [one._asdict() for one in layers.demands(around.cluster, own)],
        "faults": [str(fault) for fault in explained.faults],
        "enforcement": _enforcement(target) if is_known else None,
        "calls": _calls(target) if around.is_live else None,
        "others": _others(target) if around.is_live and around.mutating else None,
        "policies": _state(around.policies) if around.policies is not None else None,
    }
    if explained.workload is not None and explained.pod is not None and is_known:
        found["workload"] = of_decision(explained.workload.mutation, with_patch=with_patch)
    found["problems"] = list(_problems(target, found))
    return found


def _name(document: JsonObject) -> str:
    metadata = document.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    return str(found.get("name") or found.get("generateName") or "")


def of_decision(decision: Decision, *, with_patch: bool) -> Report:
    found: Report = {
        "reason": decision.reason,
        "outcome": decision.outcome,
        "warnings": list(decision.warnings),
    }
    if with_patch:
        found["patch"] = msgspec.to_builtins(decision.operations)
    return found


def _verdict(explained: Explained, *, with_patch: bool) -> Report:
    after = explained.pod.object if explained.pod is not None else {}
    annotations = (after.get("metadata") or {}).get("annotations") or {}
    return {
        **of_decision(explained.mutation, with_patch=with_patch),
        "policy": explained.mutation.audit.get("policy", ""),
        "status": annotations.get(names.STATUS, ""),
        "problem": explained.problem,
    }


def _setting(setting: layers.Setting) -> Report:
    return {
        "name": setting.name,
        "value": setting.value,
        "decidedBy": setting.decided_by,
        "requests": [request._asdict() for request in setting.requests],
    }


def _enforcement(target: Target) -> Report:
    """What is enforced. The name of a volume that would be automounted is made up: its suffix is
    told as *, unless the object itself has a volume of that name.
    """
    decision, explained = target.explained.validation, target.explained
    has_it = AUTOMOUNTED.encode() in msgspec.json.encode(target.made_of)

    def shown(text: str) -> str:
        return text if has_it else text.replace(AUTOMOUNTED, f"{names.AUTOMOUNTED_PREFIX}*")

    return {
        "reason": decision.reason,
        "outcome": decision.outcome,
        "levels": decision.audit.get("policy", ""),
        "exempt": decision.audit.get("exempt", ""),
        "denial": shown(decision.denial),
        "warnings": list(map(shown, decision.warnings)),
        "audit": shown(decision.audit.get("violations", "")),
        "awayDenial": shown(explained.unreached.denial),
        "violations": [
            {"rule": violation.rule, "mode": violation.mode} for violation in decision.violations
        ],
    }


def _calls(target: Target) -> list[Report]:
    """For each of our entries and each request: whether it is called, and what stands behind it."""
    around = target.around
    return [
        {
            "webhook": entry.name,
            "configuration": f"{kind}/{name}",
            "request": call.text,
            "called": found.called,
            "checks": [check._asdict() for check in found.checks],
            "caBundle": _state(around.ca_bundle(entry)),
            "service": _state(around.service(entry, resource)),
            "failurePolicy": entry.failure_policy,
            "timeoutSeconds": entry.timeout_seconds,
            "away": REFUSED if entry.failure_policy == "Fail" else AWAY[resource],
        }
        for resource, kind in KINDS.items()
        for name, entry in around.ours(resource)
        for call in target.calls
        if (found := calling(entry, name, call)).is_for_the_resource
    ]


def _state(state: State) -> Report:
    return {"ok": state.holds, "text": state.text}


def _others(target: Target) -> Report | None:
    before = target.explained.before
    if before is None:
        return None
    found = others(target.around.mutating, target.pod_call(before))._asdict()
    return {when: list(titles) for when, titles in found.items()}


def _problems(target: Target, found: Report) -> Iterator[str]:
    """What makes the exit code 1."""
    explained, namespace = target.explained, target.namespace
    if explained.problem:
        yield f"the webhook cannot read it: {explained.problem}"
    if namespace.problem:
        yield namespace.problem
    if found["verdict"] is None:
        return
    if explained.is_missed:
        yield f"a token of boundtoken is requested, and there is none: {explained.mutation.reason}"
    if explained.validation.outcome == "denied":
        yield "it violates what the namespace enforces, and is refused"
    workload = explained.workload
    if target.is_living and workload is not None and workload.mutation.operations:
        yield UNCHANGEABLE if target.made_of.get("kind") == "Job" else NOT_COPIED
    if target.around.is_live and explained.pod is not None and explained.pod.mutation.operations:
        yield from _not_reached(target)


def _not_reached(target: Target) -> Iterator[str]:
    """Why the mutating webhook does not change the pods that it would change."""
    if target.around.configurations.get(MUTATING) is None:
        return
    found = target.of_pods
    if found is None:
        is_there = target.around.ours(MUTATING)
        why = "no rule of its entries is for pods" if is_there else "it is not installed"
        yield f"no webhook configuration has boundtoken's entry for pods: {why}"
    elif found.called is False:
        why = next(check.what for check in found.checks if check.holds is False)
        yield f"the API server does not call boundtoken about its pods: {why}"
    else:
        for state, what in (
            (target.around.ca_bundle(found.entry), "caBundle"),
            (target.around.service(found.entry, MUTATING), ""),
        ):
            if state.holds is False:
                yield f"boundtoken cannot be reached now: {f'{what} {state.text}'.strip()}"


def cleaned(value: Any) -> Any:
    """The report without what looks like a token, wherever a text of an object has one."""
    match value:
        case str():
            return without_tokens(value)
        case dict():
            return {without_tokens(key): cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [cleaned(item) for item in value]
        case _:
            return value
