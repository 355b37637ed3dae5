"""Copy our annotations from a workload into its pod template, and remove copies whose original is
gone. Nothing else of a workload changes.

A value that would be ignored on the pods is not copied, because a change of the template restarts
them for nothing. A copy that the template has already, or had before the update, stays as it is
then.

Developers annotate the workload, but we see its pods. The template records what was copied, because
a review has no other memory: `audience=1a2b3c4d,expiration-seconds=5e6f7a8b`. The record has the
names without our domain, each with the first 8 hex digits of the SHA-256 of its value, sorted and
separated by commas.

An annotation is a copy if its value matches the record, whatever the old object says. So copies
follow the workload after `kubectl rollout undo`, and in manifests that were exported from a
cluster. The template's own value wins. An annotation belongs to its author if it is not in the
record, if it has another value, or if the author's manifest writes it without the record (an
annotation that moves from the workload into the template).

Earlier releases recorded names without values. Such a name is a copy unless this update changes its
value. If the old object lacks the record, the record comes from an older revision or from an
export, and is trusted. It is rewritten only when a copy changes, because a change of the record
alone would restart every pod of the workload.
"""

import hashlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from ..core import names, patch
from ..core.annotations import split_list
from ..core.patch import Operation
from ..core.views import CronJob, Template, Workload


class Copying(msgspec.Struct, frozen=True):
    """The annotations of a template and of its workload."""

    pointer: str
    template: Template | None
    there: Mapping[str, str]
    """All annotations of the template."""
    workload: Mapping[str, str]
    """All annotations of the workload."""
    copies: AbstractSet[str]
    """The names whose value in the template is a copy of ours."""
    free: tuple[str, ...]
    """The names that the template's author leaves to the workload, sorted."""
    last: Mapping[str, str]
    """The copies in the template that an update replaces."""

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of our domain that the template would have if all were copied."""
        after = dict(self.there)
        for name in self.free:
            after.pop(name, None)
            if name in self.workload:
                after[name] = self.workload[name]
        return {name: value for name, value in after.items() if name.startswith(names.DOMAIN)}

    def plan(self, ignored: AbstractSet[str] = frozenset()) -> tuple[list[Operation], bool]:
        """Return the operations that make the template follow its workload, and whether the
        template has a copy then. `ignored` are the names whose value has no effect on pods.
        """
        if self.template is None:
            return [], False
        # None removes a copy whose original is gone from the workload.
        desired: dict[str, str | None] = {name: self.workload.get(name) for name in self.free}
        for name in ignored & desired.keys() & self.workload.keys():
            kept = self.there if name in self.copies else self.last
            desired[name] = kept.get(name)
        copied = {name: value for name, value in desired.items() if value is not None}
        changes = any(self.there.get(name) != value for name, value in desired.items())
        # A record of an earlier release (names only) stays as it is while nothing else changes: a
        # new one would restart the pods.
        if changes or self.there.get(names.FROM_WORKLOAD) != ",".join(copied):
            record = ",".join(_record(name, value) for name, value in copied.items())
            desired[names.FROM_WORKLOAD] = record or None
        return _annotate(self.pointer, self.template, desired), bool(copied)


def copying(workload: Workload | CronJob, old: Workload | CronJob | None) -> Copying:
    """Return what there is to copy. `old` is the object that an update replaces."""
    pointer, template = workload.template
    there = _annotations(template)
    before = _annotations(old.template[1]) if old is not None else there
    copies = _copies(workload, there, before)
    free = sorted(name for name in names.FOR_PODS if name not in there or name in copies)
    own = workload.metadata.annotations or {}
    recorded = _recorded(before)
    last = {
        name: before[name]
        for name in (names.FOR_PODS & before.keys() if recorded else ())
        if _record(name, before[name]) in recorded
    }
    return Copying(pointer, template, there, own, copies, tuple(free), last)


def recorded_copies(annotations: Mapping[str, str]) -> set[str]:
    """Return which of these annotations of a template, or of a pod that was made of it, the record
    beside them says are copies.
    """
    recorded = _recorded(annotations)
    present = names.FOR_PODS & annotations.keys()
    return {n for n in present if n in recorded or _record(n, annotations[n]) in recorded}


def container_names(workload: Workload | CronJob) -> Iterable[str]:
    """Return the names of the containers of its pods."""
    template = workload.template[1]
    return (
        {container.name for _, container in template.spec.all_containers()}
        if template is not None
        else ()
    )


def _copies(
    workload: Workload | CronJob, there: dict[str, str], before: dict[str, str]
) -> set[str]:
    """Return the names whose value in the template is a copy of ours."""
    recorded = _recorded(there)
    if not recorded:
        return set()
    same_record = before.get(names.FROM_WORKLOAD) == there[names.FROM_WORKLOAD]
    # A bare name is a record of an earlier release. If this update changed the value and not the
    # record, then a person changed it, and it is no copy any more.
    copies = {
        name
        for name in names.FOR_PODS & there.keys()
        if _record(name, there[name]) in recorded
        or (name in recorded and not (same_record and before.get(name) != there[name]))
    }
    # The manifests are parsed only for workloads with copies, because parsing them is expensive.
    return copies - _written_by_author(workload) if copies else copies


def _recorded(annotations: Mapping[str, str]) -> set[str]:
    """Return the items of the record, none of one that is too long."""
    text = annotations.get(names.FROM_WORKLOAD, "")
    return set(split_list(text)) if len(text) <= names.MAX_MEMORY_CHARS else set()


def _record(name: str, value: str) -> str:
    return f"{name.removeprefix(names.DOMAIN)}={hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _written_by_author(workload: Workload | CronJob) -> set[str]:
    """Return the template's annotations that a manifest sets without the record, according to what
    client-side and server-side `kubectl apply` store.
    """
    metadata, pointer = workload.metadata, f"{workload.template[0]}/metadata/annotations"
    manifests: list[tuple[str | msgspec.Raw, str]] = [
        ((metadata.annotations or {}).get(names.LAST_APPLIED, "null"), "")
    ]
    manifests += [
        (fields.fields_v1, "f:")
        for fields in metadata.managed_fields or ()
        # Updates do not show what the author wrote: kubectl edit sends our copies back to us.
        if fields.operation == "Apply"
    ]
    written: set[str] = set()
    for text, prefix in manifests:
        members = _map_at(pointer, text, prefix)
        # A manifest with the record was exported from a cluster, so its annotations are our copies.
        if prefix + names.FROM_WORKLOAD not in members:
            written.update(key.removeprefix(prefix) for key in members)
    return written


def _map_at(pointer: str, text: str | msgspec.Raw, prefix: str) -> dict[str, Any]:
    """Return the map at `pointer` in a JSON text, or an empty one if there is none. Each step of
    the pointer has `prefix` in the text.

    Only the maps on the way are decoded. A text that is longer than all annotations may be is not
    decoded at all, because any user may write such an annotation.
    """
    if len(text if isinstance(text, str) else memoryview(text)) > names.MAX_ANNOTATIONS_CHARS:
        return {}
    try:
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        for step in pointer.split("/")[1:]:
            members = msgspec.json.decode(
                members.get(prefix + step, b"null"), type=dict[str, msgspec.Raw]
            )
    except (msgspec.DecodeError, RecursionError, UnicodeError):  # the annotation is untrusted
        return {}
    return members


def _annotations(template: Template | None) -> dict[str, str]:
    return (
        (template.metadata.annotations or {})
        if template is not None and template.metadata is not None
        else {}
    )


def _annotate(pointer: str, template: Template, desired: dict[str, str | None]) -> list[Operation]:
    if template.metadata is None:
        new = {name: value for name, value in desired.items() if value is not None}
        return [patch.add(f"{pointer}/metadata", {"annotations": new})] if new else []
    return patch.annotate(f"{pointer}/metadata", template.metadata.annotations, desired)
