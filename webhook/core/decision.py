"""The decision on a request. Both webhooks return the same type, and the reply, the log line, the
metrics and the audit annotations are all made from it.
"""

from typing import Literal, NamedTuple, get_args

import msgspec

from .faults import Fault
from .levels import Level, Mode
from .patch import Operation

Outcome = Literal["patched", "unchanged", "failed", "denied", "warned"]
Reason = Literal[
    "injected",
    "rewritten",
    "stripped",
    "unchanged",
    "not-requested",
    "nothing-to-replace",
    "pod-opted-out",
    "mirror-pod",
    "excluded-namespace",
    "own-namespace",
    "not-applicable",
    "namespace-unknown",
    "copied",
    "left-to-owner",
    "complies",
    "violates",
    "exempt",
    "not-enforced",
    "bad-annotations",
    "malformed-review",
    "internal-error",
]
"""All reasons."""
REASONS: tuple[Reason, ...] = get_args(Reason)
MEANINGS: dict[Reason, str] = {
    "injected": "the pod carries boundtoken's volume",
    "rewritten": "the automounted volume stays, with the audience and lifetime of the policy",
    "stripped": "no container that is not skipped has the automounted token,"
    " and there is none of boundtoken",
    "unchanged": "injection is requested, and no container needs the mount",
    "not-requested": "no annotation requests anything",
    "nothing-to-replace": "the policy is to replace, and Kubernetes has mounted no token",
    "pod-opted-out": "the pod opts out, by inject: disabled or by"
    " automountServiceAccountToken: false in its spec",
    "mirror-pod": "a static pod of a node, which is never changed",
    "excluded-namespace": "the namespace is kube-system, kube-public, kube-node-lease,"
    " or excluded by the configuration",
    "own-namespace": "it is in boundtoken's own namespace, and is not the pod of the self-probe",
    "not-applicable": "another operation, subresource or kind than boundtoken decides on",
    "namespace-unknown": "the annotations of the namespace could not be read",
    "copied": "its annotations are copied into the pod template",
    "left-to-owner": "a ReplicaSet or Job of another workload: annotate that one",
    "complies": "it was evaluated, and violates nothing",
    "violates": "it violates a rule: denied, warned of or audited",
    "exempt": "the configuration exempts it",
    "not-enforced": "no level demands anything, or a warning says why nothing was evaluated",
    "bad-annotations": "the request gives a namespace annotations with bad values: denied",
    "malformed-review": "it cannot be read as an AdmissionReview v1",
    "internal-error": "a bug of boundtoken; its log has the uid of the review and a traceback",
}
"""For people: `boundtoken explain` and docs/reference.md."""


EvaluationResult = Literal["allow", "deny", "exempt"]
EVALUATIONS: tuple[EvaluationResult, ...] = get_args(EvaluationResult)


class Evaluation(NamedTuple):
    """The result for one mode, as the metric `boundtoken_policy_evaluations_total` counts it."""

    result: EvaluationResult
    mode: Mode
    level: Level


class RuleViolation(NamedTuple):
    """A rule that is violated under one mode, as the metric `boundtoken_violations_total` counts
    it: once, in however many places of the object.
    """

    rule: str
    mode: Mode


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision on one request. The request is denied if `denial` is not empty.

    Why `reason` describes the object and not our action: with `reinvocationPolicy: IfNeeded` the
    same pod may be mutated twice, and the API server refuses to overwrite an audit annotation with
    another value. The outcome differs between the two calls: `patched`, `unchanged`.
    """

    reason: Reason
    outcome: Outcome = "unchanged"
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    denial: str = ""
    """The message for the requester, if the request is denied."""
    audit: dict[str, str] = {}
    """Audit annotations besides the reason."""
    faults: tuple[Fault, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    violations: tuple[RuleViolation, ...] = ()
    is_year_long: bool = False
    """Whether the pod is created with a token that is valid for a year. Only validation knows it,
    which sees the pod that is kept."""
