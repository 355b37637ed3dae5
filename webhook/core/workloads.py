"""Copying our annotations from a workload into its pod template, and taking back what was copied; nothing else of it.

The pod is what we see, the workload is what developers annotate. What was copied is remembered in the template itself,
because a review has no other memory. The template's own value wins: a name that is not remembered, or whose value an
update changes, is its author's.
"""

from collections.abc import Iterable

import msgspec

from . import names, patch, wishes
from .patch import Operation
from .pods import CronJob, Template, Workload


class Copying(msgspec.Struct, frozen=True):
    """The operations, the template's annotations of our domain when they are applied, and which are copies."""

    operations: tuple[Operation, ...]
    annotations: dict[str, str]
    copied: tuple[str, ...]


def copy(workload: Workload | CronJob, old: Workload | CronJob | None) -> Copying:
    """What makes the pod template follow the annotations of its workload; `old` is what an update replaces."""
    pointer, template = workload.template
    if template is None:
        return Copying((), {}, ())
    there = _annotations(template)
    remembered = frozenset(wishes.items(there.get(names.FROM_WORKLOAD, ""))) & names.FOR_PODS
    asked = workload.metadata.annotations or {}
    before = _annotations(old.template[1]) if old is not None else there
    wanted: dict[str, str | None] = {}
    copied = []
    for name in sorted(names.FOR_PODS):
        if name in there and (name not in remembered or there[name] != before.get(name)):
            continue
        if name in asked:
            copied.append(name)
            wanted[name] = asked[name]
        elif name in there:
            wanted[name] = None
    wanted[names.FROM_WORKLOAD] = ",".join(copied) or None
    after = {name: value for name, value in {**there, **wanted}.items() if value is not None}
    ours = {name: value for name, value in after.items() if name.startswith(names.DOMAIN)}
    return Copying(tuple(_annotate(pointer, template, wanted)), ours, tuple(copied))


def container_names(workload: Workload | CronJob) -> Iterable[str]:
    """The names of the containers that its pods will have."""
    template = workload.template[1]
    return {container.name for _, container in template.spec.all_containers()} if template is not None else ()


def _annotations(template: Template | None) -> dict[str, str]:
    return (template.metadata.annotations or {}) if template is not None and template.metadata is not None else {}


def _annotate(pointer: str, template: Template, wanted: dict[str, str | None]) -> list[Operation]:
    if template.metadata is None:
        new = {name: value for name, value in wanted.items() if value is not None}
        return [patch.add(f"{pointer}/metadata", {"annotations": new})] if new else []
    return patch.annotate(f"{pointer}/metadata", template.metadata.annotations, wanted)
