"""Copying our annotations from a workload into its pod template, and taking back what was copied;
nothing else of it.

The pod is what we see, the workload is what developers annotate. What was copied is remembered in
the template itself, because a review has no other memory:
`audience=1a2b3c4d,expiration-seconds=5e6f7a8b`, the names without our domain, each with the first 8
hex digits of the SHA-256 of its value, sorted, separated by commas. A copy is what equals the
memory, whatever the object before says: so it follows its workload after `kubectl rollout undo` and
in manifests that were exported from a cluster. The template's own value wins: a name that is not
remembered, or has another value, is its author's, and so is one that the author's manifest writes
without the memory (an annotation that moves from the workload into the template).

Earlier releases remembered whole names and no values. What they remember is a copy unless this
update changes its value; a memory that the object before does not have comes from an older revision
or from an export, and is believed. It is written anew when a copy changes and not before, because a
new memory alone would restart every pod of the workload.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from ..core import names, patch
from ..core.annotations import split_list
from ..core.patch import Operation
from ..core.views import CronJob, Template, Workload


class Copying(msgspec.Struct, frozen=True):
    """The operations, the template's annotations of our domain when they are applied, and which are
    copies.
    """

    operations: tuple[Operation, ...]
    annotations: dict[str, str]
    copied: tuple[str, ...]


def copy(workload: Workload | CronJob, old: Workload | CronJob | None) -> Copying:
    """What makes the pod template follow the annotations of its workload; `old` is what an update
    replaces.
    """
    pointer, template = workload.template
    if template is None:
        return Copying((), {}, ())
    there = _annotations(template)
    copies = _copies(workload, there, _annotations(old.template[1]) if old is not None else there)
    asked = workload.metadata.annotations or {}
    free = {name for name in names.FOR_PODS if name not in there} | copies
    copied = sorted(free & asked.keys())
    wanted: dict[str, str | None] = {name: asked.get(name) for name in sorted(free)}
    changes = any(there.get(name) != value for name, value in wanted.items())
    if changes or there.get(names.FROM_WORKLOAD) != ",".join(copied):
        wanted[names.FROM_WORKLOAD] = (
            ",".join(_memory(name, asked[name]) for name in copied) or None
        )
    after = {name: value for name, value in {**there, **wanted}.items() if value is not None}
    ours = {name: value for name, value in after.items() if name.startswith(names.DOMAIN)}
    return Copying(tuple(_annotate(pointer, template, wanted)), ours, tuple(copied))


def container_names(workload: Workload | CronJob) -> Iterable[str]:
    """The names of the containers that its pods will have."""
    template = workload.template[1]
    return (
        {container.name for _, container in template.spec.all_containers()}
        if template is not None
        else ()
    )


def _copies(
    workload: Workload | CronJob, there: dict[str, str], before: dict[str, str]
) -> set[str]:
    """The names whose value in the template is a copy of ours."""
    text = there.get(names.FROM_WORKLOAD, "")
    if not text or len(text) > names.MAX_MEMORY_CHARS:
        return set()
    remembered = set(split_list(text))
    same_memory = before.get(names.FROM_WORKLOAD) == text
    copies = {
        name
        for name in names.FOR_PODS & there.keys()
        if _memory(name, there[name]) in remembered
        or (name in remembered and not (same_memory and before.get(name) != there[name]))
    }
    return copies - _written_by_author(workload) if copies else copies


def _memory(name: str, value: str) -> str:
    return f"{name.removeprefix(names.DOMAIN)}={hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _written_by_author(workload: Workload | CronJob) -> set[str]:
    """The template's annotations that a manifest writes without the memory, as `kubectl apply` of
    both kinds keeps it.
    """
    metadata, pointer = workload.metadata, f"{workload.template[0]}/metadata/annotations"
    manifests: list[tuple[str | msgspec.Raw, str]] = [
        ((metadata.annotations or {}).get(names.LAST_APPLIED, "null"), "")
    ]
    manifests += [
        (each.fields_v1, "f:")
        for each in metadata.managed_fields or ()
        if each.operation == "Apply"
    ]
    written: set[str] = set()
    for text, prefix in manifests:
        held = _map_at(pointer, text, prefix)
        if prefix + names.FROM_WORKLOAD not in held:
            written.update(key.removeprefix(prefix) for key in held)
    return written


def _map_at(pointer: str, text: str | msgspec.Raw, prefix: str) -> dict[str, Any]:
    """The map at `pointer` of a JSON text, each step of it spelled with `prefix`; empty where there
    is none.

    Nothing beside the steps is decoded, and nothing of a text that is longer than all annotations
    may be.
    """
    if len(text if isinstance(text, str) else memoryview(text)) > names.MAX_ANNOTATIONS_CHARS:
        return {}
    try:
        held = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        for step in pointer.split("/")[1:]:
            held = msgspec.json.decode(
                held.get(prefix + step, b"null"), type=dict[str, msgspec.Raw]
            )
    except (msgspec.DecodeError, RecursionError, UnicodeError):  # anybody may write the annotation
        return {}
    return held


def _annotations(template: Template | None) -> dict[str, str]:
    return (
        (template.metadata.annotations or {})
        if template is not None and template.metadata is not None
        else {}
    )


def _annotate(pointer: str, template: Template, wanted: dict[str, str | None]) -> list[Operation]:
    if template.metadata is None:
        new = {name: value for name, value in wanted.items() if value is not None}
        return [patch.add(f"{pointer}/metadata", {"annotations": new})] if new else []
    return patch.annotate(f"{pointer}/metadata", template.metadata.annotations, wanted)
