"""What becomes of a request, and why, in the words of logs, metrics, audit annotations and
docs/reference.md. Both webhooks give the same value, and everything that is told is made of it.
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
    "malformed-review",
    "internal-error",
]
"""The closed list. docs/reference.md explains each; a test compares the two."""
REASONS: tuple[Reason, ...] = get_args(Reason)


Result = Literal["allow", "deny", "exempt"]
EVALUATIONS: tuple[Result, ...] = get_args(Result)


class Evaluation(NamedTuple):
    """The result for one mode, as the metric `boundtoken_policy_evaluations_total` counts it."""

    result: Result
    mode: Mode
    level: Level


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision on one request. The request is denied where `denial` is not empty.

    Why `reason` says what the object *is* and not what we just did: with `reinvocationPolicy:
    IfNeeded` the same pod may be mutated twice, and the API server refuses to overwrite an audit
    annotation with another value. The outcome tells the two calls apart: `patched`, `unchanged`.
    """

    reason: Reason
    outcome: Outcome = "unchanged"
    operations: tuple[Operation, ...] = ()
    warnings: tuple[str, ...] = ()
    denial: str = ""
    """Why the request is denied, for the person who made it."""
    audit: dict[str, str] = {}
    """Audit annotations beside the reason."""
    faults: tuple[Fault, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
