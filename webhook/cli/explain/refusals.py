"""Events of pods that were refused, one for those that say the same."""

import re
from collections.abc import Iterable

from ...core import names
from ...core.text import truncate
from ...simulation.living import Owner
from ..cluster.reader import Reader
from ..cluster.views import Event, InvolvedObject, LivingPod
from .report import Report

MAX_EVENTS = 5
"""Of those that differ."""
MAX_MESSAGE_CHARS = 5000
"""Of an event: a denial of the API server's policies has at most 5 KiB."""
MADE_WITH = {"Deployment": "ReplicaSet", "CronJob": "Job"}
"""What makes the pods of these kinds. Its name has a suffix after the last hyphen."""
WEBHOOK_FAILED = "failed calling webhook"
COMBINED = "(combined from similar events): "
"""Before the message of events that came too often (client-go/tools/record/events_cache.go)."""
_MADE_UP = re.compile(
    rf"(pods \"[a-z0-9.-]*-|{names.AUTOMOUNTED_PREFIX})[bcdfghjklmnpqrstvwxz2456789]{{5}}(?![a-z0-9-])"
)
"""The suffix that the API server makes up for a name (apimachinery/pkg/util/rand)."""


async def refusals(
    reader: Reader, namespace: str, owners: Iterable[Owner], pods: Iterable[LivingPod]
) -> list[Report]:
    """The newest events of pods that were refused by us, or because a webhook could not be called;
    one of these owners makes them, or what it makes does. What names and suffixes alone tell apart
    is one, with how often it came. Nothing that came before one of these pods was made: it is over.
    """
    path = f"/api/v1/namespaces/{namespace}/events"
    query = {"fieldSelector": "reason=FailedCreate"}
    events = await reader.list(path, Event, f"events in {namespace}", query)
    newest = max((pod.metadata.creation_timestamp for pod in pods), default="")
    found: dict[tuple[str, str], Report] = {}
    for event in sorted(events or (), key=_time):
        if not _is_about(event, owners) or (_time(event) and _time(event) < newest):
            continue
        title = f"{event.involved_object.kind.lower()}/{event.involved_object.name}"
        message = truncate(without_suffixes(event.message), MAX_MESSAGE_CHARS)
        before = found.pop((title, message), None)
        count = max(event.count, 1) + (before["count"] if before is not None else 0)
        # The newest comes last.
        found[title, message] = {
            "time": _time(event),
            "object": title,
            "message": message,
            "count": count,
        }
    return list(found.values())[-MAX_EVENTS:]


def _time(event: Event) -> str:
    return event.last_timestamp or ""


def without_suffixes(message: str) -> str:
    """The message with * for what differs from pod to pod."""
    return _MADE_UP.sub(r"\1*", message.removeprefix(COMBINED))


def times(count: int) -> str:
    """How often something came, as what follows it in a sentence."""
    return f", {count} times" if count > 1 else ""


def _is_about(event: Event, owners: Iterable[Owner]) -> bool:
    if WEBHOOK_FAILED not in event.message and "boundtoken" not in event.message:
        return False
    return any(_is_of(event.involved_object, owner) for owner in owners)


def _is_of(involved: InvolvedObject, owner: Owner) -> bool:
    """Whether an event is about this owner, or about what it makes its pods with."""
    is_made = involved.kind == MADE_WITH.get(owner.kind)
    if is_made and involved.name.rpartition("-")[0] == owner.name:
        return True
    return (involved.kind, involved.name) == (owner.kind.partition(".")[0], owner.name)
