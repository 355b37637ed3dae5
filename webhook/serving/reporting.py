"""Report each review: one log line, the counters, the histogram. Reports are collected and written
together.

Why together: a review should wait for its answer and not for its log line, and lines cost half as
much when many are written at once.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from itertools import islice
from time import time_ns
from typing import TypeVar, cast

from .. import metrics
from ..core.decision import EVALUATIONS, Decision, Outcome, Reason
from ..core.full_views import FullWorkload, TokenRequest
from ..core.kinds import RESOURCES
from ..core.levels import LEVELS, MODES
from ..core.policy import LAYERS
from ..core.review import Request, ValidationRequest
from ..core.text import truncate
from ..core.views import Metadata, Pod
from ..enforcement.rules import RULES
from ..log import Line, Log, stamp

GATHER_SECONDS = 0.02
"""Short enough for a person who follows the log, long enough for many lines under load."""
GATHER_REVIEWS = 64
"""The maximum of collected reviews. Reporting them takes a tenth of a millisecond."""
OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
FAULT_LAYERS = (*LAYERS, "job template")
"""What a fault can be in, as the label of its metric."""
EVALUATED = {
    ("CREATE", "pods"),
    ("UPDATE", "pods/ephemeralcontainers"),
    ("CREATE", "workloads"),
    ("UPDATE", "workloads"),
}
for _operation, _resource in EVALUATED:
    for _decision, _mode, _level in itertools.product(EVALUATIONS, MODES, LEVELS[1:]):
        metrics.POLICY_EVALUATIONS.labels(_decision, _mode, _level, _operation, _resource)

for _layer in FAULT_LAYERS:
    metrics.POLICY_FAULTS.labels(_layer)
for _rule, _mode in itertools.product(RULES, MODES):
    metrics.VIOLATIONS.labels(_rule.slug, _mode, "")
MAX_NAMESPACES = 500
"""With a series of their own: at most 7,500 of 5 rules and 3 modes. Further ones are `other`."""
OTHER = "other"
MAX_AUDIENCES, MAX_AUDIENCES_CHARS = 20, 253
"""Of a TokenRequest in its log line. People ask for one."""
MAX_SECONDS = 1 << 53
"""In a log line: above it, not every reader of JSON has integers."""
VALIDATING = {
    "pods": "enforced",
    "serviceaccounts": "tokenrequests",
    "secrets": "legacysecrets",
    "namespaces": "previews",
    "configmaps": "configurations",
}
"""The webhooks of the ValidatingWebhookConfiguration, by resource; workloads go to `templates`."""

_NO_METADATA = Metadata()

LineT = TypeVar("LineT", bound="ReviewLine")
Later = Callable[[float, Callable[[], None]], object]
"""The loop's `call_later`."""


class ReviewLine(Line, gc=False):
    """The log line of a review (docs/contract.md section 8)."""

    webhook: str
    """The first part of its name: `pods` of `pods.boundtoken.dev`."""
    uid: str
    namespace: str
    name: str
    owner: str
    operation: str
    resource: str
    outcome: Outcome
    reason: Reason
    duration_us: int
    dry_run: bool
    faults: int
    user: str
    """Who sent the request."""


class ValidationLine(ReviewLine, gc=False, omit_defaults=True):
    """The log line of a review of the validating webhook. An empty field is left out."""

    rules: tuple[str, ...] = ()
    enforcement_level: str = ""
    expiration_seconds: int | None = None
    """Of a TokenRequest, as `audiences`."""
    audiences: str = ""


class Reporter:
    """Collects decisions for 20 ms. Any other log line is written after the collected ones. A
    process that is killed loses them.

    With `namespace_metrics` the violations are counted for each namespace.
    """

    def __init__(self, log: Log, later: Later, namespace_metrics: bool = False) -> None:  # noqa: FBT001, FBT002  (a flag of the process)
        self._namespaces: set[str] | None = set() if namespace_metrics else None
        self._log = log
        self._later = later
        self._gathered: list[ReviewLine] = []
        self._is_due = False
        self._writes_lines = log.is_enabled_for("info")

    def record(
        self, request: Request | ValidationRequest, decision: Decision, microseconds: int
    ) -> None:
        """Count and log one review and the decision on it.

        Units: `microseconds` from the last byte of the review to its answer
        """
        if decision.faults:
            for fault in decision.faults:
                metrics.POLICY_FAULTS.labels(fault.layer).inc()
        if request.is_validation:
            line: ReviewLine = self._validation(
                cast("ValidationRequest", request), decision, microseconds
            )
        else:
            webhook = "pods" if type(request.object) is Pod else "workloads"
            line = _line(ReviewLine, webhook, request, decision, microseconds)
        self._gathered.append(line)
        if self._writes_lines:
            self._log.defer(line)
        if not self._is_due:
            self._is_due = True
            self._later(GATHER_SECONDS, self._on_time)
        elif len(self._gathered) >= GATHER_REVIEWS:
            self.flush()

    def _validation(
        self, request: ValidationRequest, decision: Decision, microseconds: int
    ) -> ValidationLine:
        """Count the evaluations and violations, and return the log line."""
        if decision.is_year_long and not request.dry_run:
            metrics.YEAR_LONG_TOKEN_PODS.inc()
        for evaluation in decision.evaluations:
            resource = _evaluated(request)
            metrics.POLICY_EVALUATIONS.labels(*evaluation, request.operation, resource).inc()
        webhook = VALIDATING.get(request.resource.resource, "templates")
        line = _line(ValidationLine, webhook, request, decision, microseconds)
        if decision.violations:
            namespace = self._namespace_label(request.namespace)
            for rule, mode in decision.violations:
                metrics.VIOLATIONS.labels(rule, mode, namespace).inc()
            line.rules = tuple(dict.fromkeys(rule for rule, _ in decision.violations))
            line.enforcement_level = next(
                (level for result, _, level in decision.evaluations if result == "deny"), ""
            )
        if type(request.object) is TokenRequest:
            spec = request.object.spec
            if (requested := spec.expiration_seconds) is not None:
                line.expiration_seconds = max(-MAX_SECONDS, min(requested, MAX_SECONDS))
            audiences = ", ".join(islice(spec.audiences, MAX_AUDIENCES))
            line.audiences = truncate(audiences, MAX_AUDIENCES_CHARS)
        return line

    def _namespace_label(self, namespace: str) -> str:
        """Return the label of a namespace, which exists: no other is evaluated."""
        if self._namespaces is None:
            return ""
        if namespace not in self._namespaces and len(self._namespaces) >= MAX_NAMESPACES:
            return OTHER
        self._namespaces.add(namespace)
        return namespace

    def _on_time(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._gathered = self._gathered, []
        labels = [(line.operation, line.resource, line.outcome, line.reason) for line in lines]
        # One increment with a number is cheaper than many. Nearly always all labels are the same,
        # and comparing them is cheaper than hashing them.
        same = bool(labels) and labels.count(labels[0]) == len(labels)
        for key, number in ({labels[0]: len(labels)} if same else Counter(labels)).items():
            count(*key, number)
        metrics.ADMISSION_DURATION.observe([line.duration_us for line in lines])
        self._log.flush()


def count(operation: str, resource: str, outcome: Outcome, reason: Reason, number: int = 1) -> None:
    """Count reviews. Unknown values become `other`: the labels come from untrusted clients, and
    each new value would be kept in memory as a series.
    """
    metrics.ADMISSION_REQUESTS.labels(
        operation if operation in OPERATIONS else "other",
        resource if resource in RESOURCES else "other",
        outcome,
        reason,
    ).inc(number)


def _evaluated(request: Request | ValidationRequest) -> str:
    """Return the resource label of the metric of evaluations, as in Pod Security admission."""
    if isinstance(request.object, FullWorkload):
        return "workloads"
    return "pods/ephemeralcontainers" if request.sub_resource else "pods"


def _line(
    line_type: type[LineT],
    webhook: str,
    request: Request | ValidationRequest,
    decision: Decision,
    microseconds: int,
) -> LineT:
    reviewed, resource, faults = request.object, request.resource.resource, decision.faults
    metadata = reviewed.metadata if reviewed is not None else _NO_METADATA
    owner = ""
    for reference in metadata.owner_references or ():
        if reference.controller:
            owner = f"{reference.kind}/{reference.name}"
            break
    return line_type(
        stamp(time_ns() // 1_000_000),
        "info",
        "review",
        webhook,
        request.uid,
        request.namespace,
        request.name or metadata.name or metadata.generate_name,
        owner,
        request.operation,
        f"{resource}/{request.sub_resource}" if request.sub_resource else resource,
        decision.outcome,
        decision.reason,
        microseconds,
        request.dry_run is True,
        len(faults) if faults else 0,
        request.user_info.username,
    )
