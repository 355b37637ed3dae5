"""What became of the call to us when a pod was made, by the API server's audit log.

Source: apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go (`failed-open.…`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from ...core import names
from ...tokens.audit import files
from ...tokens.audit.lines import Tally, lines_with
from ..process import say

FAILED_OPEN = "failed-open.mutation.webhook.admission.k8s.io/"
OURS = f"pods.{names.DOMAIN.rstrip('/')}"
REFUSED = 400
"""The least status code of a request that made nothing."""
DRY_RUN = "dryRun="
SECONDS_CHARS = len("2026-01-31T23:59:59")


class _Object(msgspec.Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _Status(msgspec.Struct):
    code: int = 0


class _Event(msgspec.Struct, rename="camel"):
    verb: str = ""
    object_ref: _Object | None = None
    request_received_timestamp: str = ""
    stage_timestamp: str = ""
    request_uri: str = msgspec.field(name="requestURI", default="")
    response_status: _Status | None = None
    annotations: dict[str, str] | None = None


class Answer(NamedTuple):
    """Whether the call failed open, None where that is not known, and else the reason of ours."""

    failed_open: bool | None = None
    reason: str = ""


_EVENTS = msgspec.json.Decoder(_Event)


def answers(path: str, pods: Iterable[tuple[str, str, str]]) -> dict[str, Answer]:
    """For pods (namespace, name, time of creation) what we answered, by name.

    An event is of a pod by its second, and by its name, which it has not where the API server made
    it. Pods of which the log has nothing, or what contradicts itself, are missing.

    Raises: BadInput, where the file cannot be opened
    """
    given = _by_second(pods)
    found: dict[str, set[Answer]] = {}
    tally = Tally()
    for block in files.blocks(path, tally, lambda _: None, rotated=True):
        for line in lines_with(b'"pods"', block):
            try:
                event = _EVENTS.decode(line)
            except (msgspec.DecodeError, RecursionError):
                continue
            answer = _answer(event)
            if answer is not None:
                for name in _made_by(event, given):
                    found.setdefault(name, set()).add(answer)
    for problem in tally.problems:
        say(problem)
    return {name: results.pop() for name, results in found.items() if len(results) == 1}


def _by_second(pods: Iterable[tuple[str, str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Second of creation and name, in order, by namespace: a log may have millions of events."""
    found: dict[str, list[tuple[str, str]]] = {}
    for namespace, name, created in pods:
        found.setdefault(namespace, []).append((created[:SECONDS_CHARS], name))
    return {namespace: sorted(rows) for namespace, rows in found.items()}


def _answer(event: _Event) -> Answer | None:
    annotations = event.annotations or {}
    status = event.response_status
    if event.verb != "create" or (status is not None and status.code >= REFUSED):
        return None
    if DRY_RUN in event.request_uri:
        return None
    if any(key.startswith(FAILED_OPEN) and text == OURS for key, text in annotations.items()):
        return Answer(failed_open=True)
    reason = annotations.get(f"{OURS}/reason")
    return None if reason is None else Answer(failed_open=False, reason=reason)


def _made_by(event: _Event, given: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    """The pods that this request may have made. The time counts where the name fits as well: the
    pods of a StatefulSet have the same names again and again.
    """
    made = event.object_ref
    if made is None or made.subresource:
        return
    first = event.request_received_timestamp[:SECONDS_CHARS]
    last = event.stage_timestamp[:SECONDS_CHARS]
    rows = given.get(made.namespace, [])
    for created, name in rows[bisect_left(rows, (first, "")) :]:
        if created > last:
            return
        if made.name in ("", name):
            yield name
