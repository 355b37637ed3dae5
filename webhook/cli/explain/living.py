"""Living objects: the owners of a pod, the pods of a workload, and what each of them has."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from ...core.full_views import FullPod
from ...errors import NotFound
from ...simulation import living
from ...simulation.calling import Selector
from ...simulation.explanation import Explained, member
from ...simulation.living import Change, Owner, Past, Tokens
from ..cluster.kinds import BY_KIND, OBJECT_NAME, Kind
from ..cluster.reader import Reader
from ..cluster.views import LivingPod
from .audit import Answer
from .report import Report, Target

JsonObject = dict[str, Any]
MAX_OWNERS = 3
"""A pod, its ReplicaSet, its Deployment; a pod, its Job, its CronJob."""
TEMPLATE_HASH = "pod-template-hash"


class Owned(NamedTuple):
    """What makes a pod again: the object with the template, None where nobody does or where it was
    not seen, what to restart, and all of its owners.
    """

    document: JsonObject | None
    owner: Owner | None
    owners: tuple[Owner, ...] = ()

    @property
    def title(self) -> str:
        """Of the document."""
        found = self.document or {}
        return f"{str(found.get('kind')).lower()}/{member(found, 'metadata').get('name')}"


async def owner_of(reader: Reader, pod: JsonObject, namespace: str) -> Owned:
    """The uppermost owner of a pod, or of a workload, that is of a known kind."""
    document: JsonObject | None = None
    owner, owners = _controller(pod), list[Owner]()
    for _ in range(MAX_OWNERS):
        kind = BY_KIND.get(owner.kind) if owner is not None else None
        if owner is None or kind is None or not OBJECT_NAME.fullmatch(owner.name):
            break
        try:
            path = kind.path(namespace, owner.name)
            found = await reader.document(path, f"{kind.resource} in {namespace}")
        except NotFound:
            # It is gone: what it has made is made again by the next one below, for a while.
            owner = owners[-1] if owners else owner
            break
        if found is None:
            break
        owners.append(owner)
        document = {**found, "apiVersion": kind.api, "kind": kind.kind}
        above = _controller(found)
        if above is None:
            owner = living.owner(owner.kind, owner.name, found)
            break
        owner = above
    else:
        document = None
    return Owned(document, owner, tuple(dict.fromkeys((*owners, owner))) if owner else ())


def _controller(document: JsonObject) -> Owner | None:
    owners = member(document, "metadata").get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("controller") is True:
            kind, version = str(owner.get("kind", "")), str(owner.get("apiVersion", ""))
            return Owner(living.owner_kind(kind, version), str(owner.get("name", "")))
    return None


async def pods_of(
    reader: Reader, kind: Kind, document: JsonObject, namespace: str
) -> list[LivingPod] | None:
    """The pods that a workload has made; None where they were not seen. Those of a CronJob are its
    Jobs', which are not looked up.
    """
    selector = member(document, "spec").get("selector")
    if kind.kind == "CronJob" or not isinstance(selector, dict):
        return []
    # A ReplicationController has the labels alone.
    if kind.kind == "ReplicationController":
        selector = {"matchLabels": selector}
    try:
        query = {"labelSelector": str(msgspec.convert(selector, Selector))}
    except msgspec.ValidationError:
        return []
    path = BY_KIND["Pod"].path(namespace)
    found = await reader.list(path, LivingPod, f"pods in {namespace}", query)
    name = str(member(document, "metadata").get("name", ""))
    if found is None:
        return None
    return [pod for pod in found if _is_made_by(pod, kind.kind, name)]


def _is_made_by(pod: LivingPod, kind: str, name: str) -> bool:
    controller = pod.metadata.controller
    if controller is None or pod.metadata.deletion_timestamp:
        return False
    if kind == "Deployment":
        suffix = (pod.metadata.labels or {}).get(TEMPLATE_HASH, "")
        return (controller.kind, controller.name) == ("ReplicaSet", f"{name}-{suffix}")
    return (controller.kind, controller.name) == (kind, name)


def changes(titled: Iterable[tuple[str, JsonObject]]) -> tuple[Change, ...]:
    """When annotations of ours were last written on these objects."""
    found = (living.last_change(title, document) for title, document in titled)
    return tuple(change for change in found if change is not None)


def compared(target: Target, pod: LivingPod, changed: tuple[Change, ...], answer: Answer) -> Report:
    """What a pod has, beside what it would get now."""
    explained = target.explained
    as_pod = FullPod(pod.metadata, pod.spec)
    has = living.tokens_of(as_pod)
    is_known = target.namespace.annotations is not None
    would, common = _would_get(explained, as_pod) if is_known else (None, set[str]())
    differs = would is not None and living.differ(has, would, common)
    called = target.of_pods
    found: Report = {
        "name": pod.metadata.name,
        "created": pod.metadata.creation_timestamp,
        "has": _told(has, pod.started),
        "differs": differs if would is not None else None,
        "causes": [],
        "ended": pod.has_ended,
    }
    # Nobody but us says so where what it is made of does not: we were called.
    is_no_mount = pod.spec.automount_service_account_token is False
    if is_no_mount and explained.before is not None:
        template_says = explained.before["spec"].get("automountServiceAccountToken")
        if template_says is not False:
            answer = answer._replace(failed_open=False)
    if would is not None and differs:
        past = Past(
            pod.metadata.creation_timestamp,
            target.around.installed,
            changed,
            answer.failed_open,
            called.called if called is not None else None,
            target.later,
            answer.reason,
            target.has_log,
        )
        reason = explained.mutation.reason
        causes = living.causes(has, would, reason, past)
        found["causes"] = [cause._asdict() for cause in causes]
    elif would is not None and has.hash and has.hash != would.hash and would.hash:
        found["remark"] = (
            f"made under policy {has.hash}, with the same tokens as under {would.hash}"
        )
    if pod.has_ended:
        found["remark"] = f"it has ended ({pod.status.phase}): nothing is to be done"
    return found


def _would_get(explained: Explained, pod: FullPod) -> tuple[Tokens | None, set[str]]:
    """What it would get, None where that is not known, and the containers that both have."""
    if explained.pod is None:
        return None, set()
    made = msgspec.convert(explained.pod.object, FullPod)
    both = living.container_names(made) & living.container_names(pod)
    return living.tokens_of(made), both


def would_get(explained: Explained) -> Report | None:
    """What a pod would get, told."""
    found, _ = _would_get(explained, FullPod())
    return _told(found, {}) if found is not None else None


def _told(has: Tokens, started: Mapping[str, str]) -> Report:
    """Tokens as JSON, with what a running container has had in its place since it started. The
    tokens of a volume share the list of its mounts, which has thousands where somebody wants it.
    """
    of_volumes = {id(token.mounts): token.mounts for token in has.tokens}
    of_files = {id(token.frozen): token.frozen for token in has.tokens}
    mounts = {key: [list(mount) for mount in some] for key, some in of_volumes.items()}
    frozen = {key: _frozen(some, started) for key, some in of_files.items()}
    return {
        "status": has.status,
        "tokens": [
            {
                "kind": token.kind or "the pod's own",
                "volume": token.volume,
                "file": token.file,
                "audience": token.audience,
                "expirationSeconds": token.seconds,
                "mounts": mounts[id(token.mounts)],
                "neverRefreshed": frozen[id(token.frozen)],
            }
            for token in has.tokens
        ],
    }


def _frozen(frozen: living.Mounts, started: Mapping[str, str]) -> list[Report]:
    return [
        {"container": container, "path": path, "since": started[container]}
        for container, path in frozen
        if container in started
    ]
