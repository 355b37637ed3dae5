"""Whether the call to us failed when a pod was made, by the API server's audit log.

Source: apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go (`failed-open.…`).
"""

from collections.abc import Iterable

import msgspec

from ...core import names
from ...tokens.audit import files
from ...tokens.audit.lines import Tally, lines_with
from ..token.process import say

FAILED_OPEN = "failed-open.mutation.webhook.admission.k8s.io/"
OURS = f"pods.{names.DOMAIN.rstrip('/')}"
SECONDS_CHARS = len("2026-01-31T23:59:59")


class _Object(msgspec.Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _Event(msgspec.Struct, rename="camel"):
    verb: str = ""
    object_ref: _Object | None = None
    request_received_timestamp: str = ""
    stage_timestamp: str = ""
    annotations: dict[str, str] | None = None


_EVENTS = msgspec.json.Decoder(_Event)


def failures(path: str, pods: Iterable[tuple[str, str, str]]) -> dict[str, bool]:
    """For pods (namespace, name, time of creation) whether the call to us failed open, by name.

    A pod whose name the API server makes has none in its event: it is found by its second. Pods of
    which the log has nothing, or what contradicts itself, are missing.

    Raises: BadInput, where the file cannot be opened
    """
    given = list(pods)
    found: dict[str, set[bool]] = {}
    tally = Tally()
    for block in files.blocks(path, tally, lambda _: None, rotated=True):
        for line in lines_with(b'"resource":"pods"', block):
            try:
                event = _EVENTS.decode(line)
            except (msgspec.DecodeError, RecursionError):
                continue
            failed = _failed_open(event)
            if failed is None or event.object_ref is None:
                continue
            for namespace, name, created in given:
                if event.object_ref.namespace == namespace and _is_of(event, name, created):
                    found.setdefault(name, set()).add(failed)
    for problem in tally.problems:
        say(problem)
    return {name: results.pop() for name, results in found.items() if len(results) == 1}


def _failed_open(event: _Event) -> bool | None:
    annotations = event.annotations or {}
    if event.verb != "create":
        return None
    if any(key.startswith(FAILED_OPEN) and text == OURS for key, text in annotations.items()):
        return True
    return False if f"{OURS}/reason" in annotations else None


def _is_of(event: _Event, name: str, created: str) -> bool:
    if event.object_ref is not None and event.object_ref.name:
        return event.object_ref.name == name and not event.object_ref.subresource
    first = event.request_received_timestamp[:SECONDS_CHARS]
    last = event.stage_timestamp[:SECONDS_CHARS]
    return first <= created[:SECONDS_CHARS] <= last
