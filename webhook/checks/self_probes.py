"""The check of the self-probes: what each replica found when it last asked for a pod."""

from collections.abc import Iterator

from .facts import Installation, Replica
from .model import Check, Finding, failed, listed, passed, there, warning, worst
from .replicas import GROUP

RESULT = "boundtoken_self_probe_result"
LAST_SUCCESS = "boundtoken_self_probe_last_success_timestamp_seconds"
INTERVAL = "boundtoken_self_probe_interval_seconds"
STARTED = "process_start_time_seconds"
LATE_INTERVALS, LATE_SECONDS = 5.0, 60.0
"""After so long without a probe, whichever is longer, a replica has stopped asking."""
NEW_SECONDS = 120.0
"""So long a replica may take from its start to its first probe: nothing is wrong right after an
install."""
WARNINGS = {
    "refused": "something else refused the pod",
    "could-not-ask": "the API server could not be asked",
}


def injected(seen: Installation) -> Finding:
    """Whether the pod that each replica asked for came back injected."""
    replicas = seen.asking()
    if all(there(replica.metrics).get(INTERVAL) == 0 for replica in replicas):
        return passed("switched off")
    new = [f"pod/{replica.name}" for replica in replicas if _is_new(replica, seen)]
    text = f"not yet asked by {listed(new, ', ')}" if new else "for each replica"
    return worst(*(_of(replica, seen) for replica in replicas), text=text)


def _is_new(replica: Replica, seen: Installation) -> bool:
    """Whether it has not asked, and need not have: it first does so within 15 s of being ready."""
    age = seen.now.timestamp() - there(replica.metrics).get(STARTED, 0.0)
    return not replica.labels(RESULT, "result") and age <= NEW_SECONDS


def _of(replica: Replica, seen: Installation) -> Finding:
    pod, interval = f"pod/{replica.name}", there(replica.metrics).get(INTERVAL)
    if interval is None:
        return warning(f"{pod} tells nothing of a self-probe: it is of another release")
    if not interval:
        return warning(f"{pod} has it switched off, and another has not")
    result = next(iter(replica.labels(RESULT, "result")), "")
    if not result:
        late = f"{pod} has not asked since it started: it is to do so once it is ready"
        return passed() if _is_new(replica, seen) else warning(late)
    if result == "injected":
        return _in_time(replica, seen, interval)
    log = f"kubectl logs -n {seen.own} {pod}"
    if result == "not-injected":
        return failed(f"{pod} asked for a pod, and no replica was called about it", log)
    return warning(f"{pod}: {WARNINGS.get(result, result)}", log)


def _in_time(replica: Replica, seen: Installation, interval: float) -> Finding:
    age = seen.now.timestamp() - there(replica.metrics).get(LAST_SUCCESS, 0.0)
    if age <= max(LATE_INTERVALS * interval, LATE_SECONDS):
        return passed()
    every = f"{interval:g} s"
    return warning(
        f"pod/{replica.name} has not asked for {age:.0f} s, and is to do so each {every}"
    )


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "self-probe",
        GROUP,
        "a pod that a replica asks for is injected",
        "The checks above show what keeps the API server from boundtoken; if they pass, look at its log.",
        injected,
    )
