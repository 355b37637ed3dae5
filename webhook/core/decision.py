"""The decision on a request. Both webhooks return the same type, and the reply, the log line, the
metrics and the audit annotations are all made from it. docs/reference.md explains its values.
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
"""All reasons. docs/reference.md explains each; a test compares the two lists."""
REASONS: tuple[Reason, ...] = get_args(Reason)


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
