"""What admission would make of the pods of a template, written into the template; and taken out of
it again.

The pods of a template are made and admitted as a cluster does it: the ServiceAccount plugin adds
its volume, then the webhook decides. What the webhook made of such a pod is the template's, except
the plugin's volume where it stays as it came: the plugin adds it again. So a pod of the template
that is admitted later needs no change, and one that is created while the webhook is away has its
token.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jsonpatch
import msgspec

from ..core import names, views
from ..core.decision import Decision, Reason
from ..core.kinds import MUTATED
from ..core.views import Volume
from ..errors import MalformedReview
from .admission import AUTOMOUNTED, Admission, JsonObject, pod_of, with_automounted

Path = tuple[str, ...]
_TEMPLATE: Path = ("spec", "template")
TEMPLATES: dict[tuple[str, str], Path] = {
    ("", "Pod"): (),
    **dict.fromkeys(MUTATED, _TEMPLATE),
    ("batch", "CronJob"): ("spec", "jobTemplate", *_TEMPLATE),
    ("", "ReplicationController"): _TEMPLATE,
    ("", "PodTemplate"): ("template",),
}
"""Where the kinds of Kubernetes have their pod template; a pod is one itself."""
_LEFT_ALONE = ("left-to-owner", "excluded-namespace", "own-namespace")
_KINDS = "initContainers", "containers"


class Written(NamedTuple):
    """The reason is the webhook's for a pod of the template. `warnings` are those that it gives."""

    reason: Reason
    object: JsonObject
    warnings: tuple[str, ...] = ()
    faults: int = 0


def template_path(document: Mapping[str, Any], paths: tuple[Path, ...] = ()) -> Path | None:
    """Where an object has its pod template; `paths` are those of other kinds than Kubernetes's own.
    None where it has none.
    """
    known = TEMPLATES.get(group_and_kind(document))
    if known is not None:
        return known
    return next((path for path in paths if has_spec(at(document, path))), None)


def has_spec(template: Any) -> bool:
    """Whether this is a pod template: it has a spec. The manifest of a patch may have none."""
    return isinstance(template, dict) and isinstance(template.get("spec"), dict)


def group_and_kind(document: Mapping[str, Any]) -> tuple[str, str]:
    """The API group and the kind of an object."""
    group, _, _ = str(document.get("apiVersion", "")).rpartition("/")
    return group, str(document.get("kind", ""))


def at(document: Any, path: Path) -> Any:
    """The value at a path of keys, or None."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def inject(
    admission: Admission, document: JsonObject, path: Path, *, opts_out: bool = False
) -> Written:
    """The object as admission would make its pods. `opts_out` is what their service account says.

    Raises: MalformedReview, for an object that the webhook cannot read
    """
    try:
        return _inject(admission, document, path, opts_out=opts_out)
    except _SHAPES as problem:
        raise MalformedReview(_MISSHAPEN) from problem


_SHAPES = (AttributeError, IndexError, KeyError, TypeError, jsonpatch.JsonPointerException)
"""What is raised where a list or a text stands in place of a map, before the webhook looks."""
_MISSHAPEN = "metadata and spec must be maps, containers and volumes lists of maps"


def _inject(admission: Admission, document: JsonObject, path: Path, *, opts_out: bool) -> Written:
    made = document
    decisions: tuple[Decision, ...] = ()
    if group_and_kind(document) in MUTATED:
        workload = admission.admit(document)
        if workload.mutation.reason in _LEFT_ALONE:
            return _written(document, workload.mutation)
        made, decisions = workload.object, (workload.mutation,)
    pod = pod_of(at(made, path), name_of(document)) if path else made
    plain = _with_automounted(admission, pod, opts_out=opts_out)
    admitted = admission.admit(plain)
    after = without_plugins(pod, plain, admitted.object)
    return _written(_with_pod(made, path, pod, after), *decisions, admitted.mutation)


def _written(document: JsonObject, *decisions: Decision) -> Written:
    warnings = dict.fromkeys(text for decision in decisions for text in decision.warnings)
    faults = sum(len(decision.faults) for decision in decisions)
    return Written(decisions[-1].reason, document, tuple(warnings), faults)


def name_of(document: Mapping[str, Any]) -> str:
    """The name of an object, or the beginning of one that the API server generates."""
    metadata = document.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    return str(found.get("name") or found.get("generateName") or "")


def _with_automounted(admission: Admission, pod: JsonObject, *, opts_out: bool) -> JsonObject:
    try:
        return with_automounted(pod, opts_out=opts_out)
    except _SHAPES:
        admission.admit(pod)  # says what is wrong, and where
        raise


def without_plugins(pod: JsonObject, plain: JsonObject, admitted: JsonObject) -> JsonObject:
    """The admitted pod without what the ServiceAccount plugin added to `pod`, which gave `plain`,
    where that is as it came.
    """
    made = copy.deepcopy(admitted)
    spec = made["spec"]
    if spec.get("automountServiceAccountToken") is False:
        return made  # the plugin adds nothing any more
    name = _automounted_name(plain)
    before, after = _volume(plain, name), _volume(admitted, name)
    if before is None or before != after:
        return made
    for kind in _KINDS:
        for number, container in enumerate(spec.get(kind) or ()):
            own = pod["spec"][kind][number]
            if len(plain["spec"][kind][number].get("volumeMounts") or ()) > len(
                own.get("volumeMounts") or ()
            ):
                mount = {"name": name, "readOnly": True, "mountPath": names.DEFAULT_PATH}
                _take_out(container, own, "volumeMounts", mount)
    if _volume(pod, name) is None:
        _take_out(spec, pod["spec"], "volumes", before)
    return made


def _take_out(holder: JsonObject, original: JsonObject, key: str, item: JsonObject) -> None:
    """Take an item out of a list; an empty list becomes the empty value of the original, if any."""
    items = holder.get(key) or []
    if item not in items:
        return
    kept = [one for one in items if one != item]
    if kept or original.get(key):
        holder[key] = kept
    elif key in original:
        holder[key] = original[key]
    else:
        del holder[key]


def _automounted_name(pod: JsonObject) -> str:
    for volume in pod["spec"].get("volumes") or ():
        if str(volume.get("name", "")).startswith(names.AUTOMOUNTED_PREFIX):
            return str(volume["name"])
    return ""


def _volume(pod: JsonObject, name: str) -> JsonObject | None:
    volumes = pod["spec"].get("volumes") or ()
    return next((volume for volume in volumes if volume.get("name") == name), None)


def _with_pod(made: JsonObject, path: Path, pod: JsonObject, after: JsonObject) -> JsonObject:
    """The workload with the annotations and the spec of this pod in its template."""
    if not path:
        return after
    made = copy.deepcopy(made)
    template = at(made, path)
    now = after["metadata"].get("annotations")
    if now != pod["metadata"].get("annotations"):
        template["metadata"] = {
            **(template.get("metadata") or {}),
            "annotations": now or {},
        }
    template["spec"] = after["spec"]
    return made


def remove(admission: Admission, document: JsonObject, path: Path) -> JsonObject:
    """The object without what `inject` writes, recognized by names and shapes together: volumes and
    mounts of ours, the status, copied annotations, and where there is a status
    `automountServiceAccountToken: false`.

    Raises: MalformedReview, for an object that the webhook cannot read
    """
    try:
        return _removed(admission, document, path)
    except _SHAPES as problem:
        raise MalformedReview(_MISSHAPEN) from problem


def _removed(admission: Admission, document: JsonObject, path: Path) -> JsonObject:
    template = at(document, path)
    if not has_spec(template) or not names.OURS_ON_PODS & annotations(template).keys():
        return document
    made = copy.deepcopy(document)
    if names.FROM_WORKLOAD in annotations(template):
        made = _without_copies(admission, made)
    template = at(made, path)
    spec, own = template["spec"], annotations(template)
    if names.STATUS in own:
        _remove_volumes(spec)
        if spec.get("automountServiceAccountToken") is False:
            del spec["automountServiceAccountToken"]
        del own[names.STATUS]
    if not own and "annotations" in (template.get("metadata") or {}):
        del template["metadata"]["annotations"]
        if path and not template["metadata"]:
            del template["metadata"]
    return made


def beside(document: JsonObject, path: Path) -> JsonObject:
    """The object without all that `inject` may change in its template.

    Raises: MalformedReview, for an object that the webhook cannot read
    """
    try:
        return _beside(document, path)
    except _SHAPES as problem:
        raise MalformedReview(_MISSHAPEN) from problem


def _beside(document: JsonObject, path: Path) -> JsonObject:
    made = copy.deepcopy(document)
    template = at(made, path)
    if not has_spec(template):
        return made
    spec = template["spec"]
    spec.pop("automountServiceAccountToken", None)
    metadata = template["metadata"] = template.get("metadata") or {}
    metadata["annotations"] = {
        name: value
        for name, value in annotations(template).items()
        if not name.startswith(names.DOMAIN)
    }
    volumes = spec.get("volumes") or []
    spec["volumes"] = [volume for volume in volumes if not _gives_tokens(volume)]
    for container in _containers(spec):
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [
            mount
            for mount in mounts
            if not str(mount.get("name")).startswith((names.VOLUME, names.AUTOMOUNTED_PREFIX))
        ]
    return made


def _gives_tokens(volume: JsonObject) -> bool:
    try:
        return _is_ours(volume) or views.is_automounted(msgspec.convert(volume, Volume))
    except msgspec.ValidationError:
        return False


def annotations(template: JsonObject) -> dict[str, Any]:
    """The annotations of a template; an empty map where it has none."""
    metadata = template.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _without_copies(admission: Admission, document: JsonObject) -> JsonObject:
    """What the webhook makes of a workload whose own annotations are taken off."""
    metadata = document.get("metadata") or {}
    kept = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if not name.startswith(names.DOMAIN)
    }
    bare = {**document, "metadata": {**metadata, "annotations": kept}}
    return {**copy.deepcopy(admission.admit(bare).object), "metadata": metadata}


def _remove_volumes(spec: JsonObject) -> None:
    ours = [volume for volume in spec.get("volumes") or () if _is_ours(volume)]
    gone = {volume["name"] for volume in ours}
    for container in _containers(spec):
        for mount in list(container.get("volumeMounts") or ()):
            if mount.get("name") in gone:
                _take_out(container, {}, "volumeMounts", mount)
    for volume in ours:
        _take_out(spec, {}, "volumes", volume)


def _containers(spec: JsonObject) -> Iterator[JsonObject]:
    for kind in _KINDS:
        yield from spec.get(kind) or ()


def _is_ours(volume: JsonObject) -> bool:
    try:
        view = msgspec.convert(volume, Volume)
    except msgspec.ValidationError:
        return False
    if view.name == AUTOMOUNTED:
        return views.is_automounted(view)
    return views.is_ours(view) or views.is_our_tokens(view)


def changes(before: JsonObject, after: JsonObject, path: Path) -> tuple[str, ...]:
    """What is different in the template, in words, each with its names.

    Raises: MalformedReview, for an object that the webhook cannot read
    """
    if before == after:
        return ()
    try:
        return _changes(before, after, path)
    except _SHAPES as problem:
        raise MalformedReview(_MISSHAPEN) from problem


def _changes(before: JsonObject, after: JsonObject, path: Path) -> tuple[str, ...]:
    old, new = at(before, path) or {}, at(after, path) or {}
    was, became = annotations(old), annotations(new)
    differing = [
        name.removeprefix(names.DOMAIN)
        for name in sorted(was.keys() | became.keys())
        if was.get(name) != became.get(name)
    ]
    found = [f"annotations {', '.join(differing)}"] if differing else []
    old_spec, new_spec = old.get("spec") or {}, new.get("spec") or {}
    volumes = _differing(old_spec.get("volumes"), new_spec.get("volumes"))
    if volumes:
        found.append(f"volumes {', '.join(volumes)}")
    containers = [
        str(container.get("name", ""))
        for kind in _KINDS
        for number, container in enumerate(new_spec.get(kind) or ())
        if container != (old_spec.get(kind) or [])[number]
    ]
    if containers:
        found.append(f"mounts of {', '.join(containers)}")
    key = "automountServiceAccountToken"
    if old_spec.get(key) != new_spec.get(key):
        value = new_spec.get(key)
        found.append(f"{key} {'taken out' if value is None else str(value).lower()}")
    return tuple(found)


def _differing(old: Any, new: Any) -> list[str]:
    was = {str(volume.get("name")): volume for volume in old or ()}
    became = {str(volume.get("name")): volume for volume in new or ()}
    return [name for name in {**was, **became} if was.get(name) != became.get(name)]
