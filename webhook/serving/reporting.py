"""Report each review: one log line, the counters, the histogram. Reports are collected and written
together.

Why together: a review should wait for its answer and not for its log line, and lines cost half as
much when many are written at once.
"""

import itertools
import time
from collections.abc import Callable

from .. import metrics
from ..core.decision import EVALUATIONS, Decision, Outcome, Reason
from ..core.full_views import FullWorkload
from ..core.kinds import RESOURCES
from ..core.levels import LEVELS, MODES
from ..core.review import Request, ValidationRequest
from ..core.views import Metadata
from ..log import Line, Log, stamp

GATHER_SECONDS = 0.02
"""Short enough for a person who follows the log, long enough for many lines under load."""
GATHER_REVIEWS = 64
"""The maximum of collected reviews. Reporting them takes a tenth of a millisecond."""
OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
EVALUATED = {
    ("CREATE", "pods"),
    ("UPDATE", "pods/ephemeralcontainers"),
    ("CREATE", "workloads"),
    ("UPDATE", "workloads"),
}
for _operation, _resource in EVALUATED:
    for _decision, _mode, _level in itertools.product(EVALUATIONS, MODES, LEVELS[1:]):
        metrics.POLICY_EVALUATIONS.labels(_decision, _mode, _level, _operation, _resource)

_NO_METADATA = Metadata()

Later = Callable[[float, Callable[[], None]], object]
"""The loop's `call_later`."""


class ReviewLine(Line, gc=False):
    """The log line of a review (docs/contract.md section 8)."""

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


class Reporter:
    """Collects decisions for 20 ms. Any other log line is written after the collected ones. A
    process that is killed loses them.
    """

    def __init__(self, log: Log, later: Later) -> None:
        self._log = log
        self._later = later
        self._gathered: list[ReviewLine] = []
        self._is_due = False
        self._writes_lines = log.is_enabled_for("info")

    def record(
        self, request: Request | ValidationRequest, decision: Decision, seconds: float
    ) -> None:
        """Count and log one review and the decision on it.

        Units: `seconds` from the last byte of the review to its answer
        """
        for fault in decision.faults:
            metrics.POLICY_FAULTS.labels(fault.layer).inc()
        for evaluation in decision.evaluations:
            resource = _evaluated(request)
            metrics.POLICY_EVALUATIONS.labels(*evaluation, request.operation, resource).inc()
        line = _line(request, decision, seconds)
        self._gathered.append(line)
        if self._writes_lines:
            self._log.defer(line)
        if not self._is_due:
            self._is_due = True
            self._later(GATHER_SECONDS, self._on_time)
        elif len(self._gathered) >= GATHER_REVIEWS:
            self.flush()

    def _on_time(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        lines, self._gathered = self._gathered, []
        # Most reviews have the same labels, and one increment with a number is cheaper than many.
        counts: dict[tuple[str, str, Outcome, Reason], int] = {}
        for line in lines:
            key = (line.operation, line.resource, line.outcome, line.reason)
            counts[key] = counts.get(key, 0) + 1
        for key, number in counts.items():
            count(*key, number)
        metrics.ADMISSION_DURATION.observe(line.duration_us / 1e6 for line in lines)
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


def _line(request: Request | ValidationRequest, decision: Decision, seconds: float) -> ReviewLine:
    metadata = request.object.metadata if request.object is not None else _NO_METADATA
    owner = metadata.controller if metadata.owner_references else None
    resource = request.resource.resource
    return ReviewLine(
        stamp(int(time.time() * 1000)),
        "info",
        "review",
        request.uid,
        request.namespace,
        request.name or metadata.name or metadata.generate_name,
        f"{owner.kind}/{owner.name}" if owner is not None else "",
        request.operation,
        f"{resource}/{request.sub_resource}" if request.sub_resource else resource,
        decision.outcome,
        decision.reason,
        int(seconds * 1e6),
        bool(request.dry_run),
        len(decision.faults),
    )
