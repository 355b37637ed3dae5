"""A living pod beside what it would get if it were made now: what differs, and why.

What is known of the past are times: when the pod was made, when annotations of ours were last
written (`managedFields`), when our webhook configuration was made. The API server has seconds only,
so equal times say nothing.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from ..core import names, views
from ..core.full_views import FullPod, FullVolume
from ..core.views import View
from ..enforcement import forecast
from .mounts import Mounted, Shown, by_volume, part_of
from .templates import TEMPLATES

JsonObject = dict[str, Any]
OF_KUBERNETES, OF_OURS, FURTHER = "automounted", "boundtoken", "further tokens"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
"""Of an object: a DNS subdomain, which is safe in a shell."""
CHANGED = ("injected", "rewritten", "stripped")
"""Reasons of an answer that changed the pod."""
WITHOUT_DECISION = ("namespace-unknown", "internal-error", "malformed-review")
"""Reasons of an answer that let a pod through as it came."""
_HASH = re.compile(r"policy=([0-9a-f]{8})$")

Code = Literal[
    "taken-off",
    "opted-out",
    "older-policy",
    "not-called",
    "before-installation",
    "webhook-away",
    "could-not-decide",
    "before-annotation",
    "maybe-away",
    "changed",
]
"""Why a pod differs from what it would get now."""


Mounts = tuple[tuple[str, str], ...]
"""Pairs of container and path."""


class Token(NamedTuple):
    """A token that a pod has: what adds its volume, the volume, the file, the audience (empty: the
    API server's own), the seconds, and its mounts: pairs of container and path. `frozen` are those
    by subPath, which show what was there when the container started.
    """

    kind: str
    volume: str
    file: str
    audience: str
    seconds: int
    mounts: Mounts = ()
    frozen: Mounts = ()


class Tokens(NamedTuple):
    """What a pod has: the status that we wrote, and its tokens."""

    status: str
    tokens: tuple[Token, ...]

    @property
    def hash(self) -> str:
        """Of the policy under which we changed the pod; empty where we did not."""
        found = _HASH.search(self.status)
        return found[1] if found else ""


def kind_of(volume: FullVolume) -> tuple[str, str]:
    """What adds a volume, empty for its author, and the name to show of it."""
    if views.is_automounted(volume):
        # Its last characters are random.
        return OF_KUBERNETES, names.AUTOMOUNTED_PREFIX + "*"
    if views.is_our_tokens(volume):
        return FURTHER, volume.name
    return OF_OURS if views.is_ours(volume) else "", volume.name


def tokens_of(pod: FullPod) -> Tokens:
    """Every service account token in the volumes of a pod."""
    found: list[Token] = []
    mounts = by_volume(pod)
    for volume in pod.spec.volumes or ():
        found += _tokens_in(volume, mounts.get(volume.name, ()))
    annotations = pod.metadata.annotations or {}
    return Tokens(annotations.get(names.STATUS, ""), tuple(found))


def _tokens_in(volume: FullVolume, mounts: Sequence[Mounted]) -> Iterator[Token]:
    kind, name = kind_of(volume)
    paths = tuple((container, mount.mount_path) for container, mount in mounts)
    parts = ((part_of(mount), pair) for pair, (_, mount) in zip(paths, mounts, strict=True))
    # Such a file shows what was there when the container started.
    frozen = Shown((part, pair) for part, pair in parts if part)
    for token in volume.tokens:
        seconds = token.expiration_seconds or names.API_DEFAULT_EXPIRATION_SECONDS
        audience = token.audience or ""
        yield Token(kind, name, token.path, audience, seconds, paths, frozen.of(token.path))


def differ(has: Tokens, would: Tokens, containers: Iterable[str]) -> bool:
    """Whether the tokens of Kubernetes and ours differ, in these containers: those that both pods
    have. Volumes with tokens that the author wrote are not compared, and two policies with the same
    tokens are no difference.
    """
    common = frozenset(containers)
    return _comparable(has, common) != _comparable(would, common)


def _comparable(of: Tokens, common: frozenset[str]) -> Mapping[Mounts, set[Token]]:
    """The tokens by their mounts, which are compared once for all tokens of a volume."""
    sorted_mounts: dict[int, Mounts] = {}
    found: defaultdict[Mounts, set[Token]] = defaultdict(set)
    by_identity: defaultdict[int, set[Token]] = defaultdict(set)
    for token in of.tokens:
        if token.kind:
            key = id(token.mounts)
            if key not in sorted_mounts:
                pairs = (pair for pair in token.mounts if pair[0] in common)
                sorted_mounts[key] = tuple(sorted(pairs))
            by_identity[key].add(token._replace(mounts=(), frozen=()))
    for key, tokens in by_identity.items():
        found[sorted_mounts[key]] |= tokens
    return found


def container_names(pod: FullPod) -> set[str]:
    """Without those of `kubectl debug`, which are not made again."""
    groups = (pod.spec.init_containers, pod.spec.containers)
    return {container.name for group in groups for container in group or ()}


def as_created(pod: JsonObject) -> JsonObject:
    """The manifest of a living pod that nobody makes again, as far as both webhooks read it: what
    admission added is taken off (`forecast`).

    Raises: msgspec.ValidationError
    """
    labels = (pod.get("metadata") or {}).get("labels")
    return created_from(msgspec.convert(pod, FullPod), labels)


def created_from(pod: FullPod, labels: Mapping[str, str] | None) -> JsonObject:
    """The same of a pod that is decoded already."""
    before = forecast.before_mutation(pod)
    made: JsonObject = msgspec.json.decode(msgspec.json.encode(before))
    made["metadata"]["labels"] = labels  # selectors read them
    return {"apiVersion": "v1", "kind": "Pod", **made}


class Change(NamedTuple):
    """When annotations of ours on an object were last written, and by which manager."""

    object: str
    time: str
    manager: str


def last_change(title: str, document: JsonObject) -> Change | None:
    """The last write of annotations of ours on an object or in its pod template, by its
    `managedFields`; None where there is none.

    The time is that of the manager's last write of any of its fields, so it may be later.
    """
    metadata = document.get("metadata")
    managed = metadata.get("managedFields") if isinstance(metadata, dict) else None
    found = [
        Change(title, str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in (managed if isinstance(managed, list) else ())
        if isinstance(entry, dict) and _has_ours(entry.get("fieldsV1"))
    ]
    return max(found, key=lambda change: change.time, default=None)


_PATHS = (
    (),
    ("f:spec", "f:template"),
    ("f:spec", "f:jobTemplate", "f:spec", "f:template"),
)


def _has_ours(fields: Any) -> bool:
    for path in _PATHS:
        place = fields
        for step in (*path, "f:metadata", "f:annotations"):
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict) and any(f"f:{name}" in place for name in names.FOR_NAMESPACES):
            return True
        if isinstance(place, dict) and f"f:{names.SKIP_CONTAINERS}" in place:
            return True
    return False


class Past(NamedTuple):
    """What is known of the time when a pod was made. Times are those of the API server, as text;
    an empty one is not known.

    `failed_open` is whether the call to us failed when it was made, by an audit log or by what we
    left in the pod, and `answer` our reason then; `called` whether we would be called now, and
    `others` who may change it after.
    """

    created: str
    installed: str = ""
    changes: tuple[Change, ...] = ()
    failed_open: bool | None = None
    called: bool | None = None
    others: tuple[str, ...] = ()
    answer: str = ""
    has_log: bool = False
    """Whether an audit log was read."""


class Cause(NamedTuple):
    """Why a pod differs, as a code and as a sentence."""

    code: Code
    text: str


def causes(has: Tokens, would: Tokens, reason: str, past: Past) -> tuple[Cause, ...]:
    """Why a pod that has these tokens would get others now, for which admission gives `reason`."""
    return tuple(_causes(has, would, reason, past))


def _causes(has: Tokens, would: Tokens, reason: str, past: Past) -> Iterator[Cause]:
    if reason == "pod-opted-out":
        yield Cause("opted-out", "it opts out now, and did not when it was made")
    later = [change for change in past.changes if past.created and change.time > past.created]
    if has.hash and has.hash != would.hash:
        now = f"now it is {would.hash}" if would.hash else "now it would not be changed"
        yield Cause("older-policy", f"it was made under policy {has.hash}, {now}")
        yield from map(_written_later, later)
        return
    if has.hash and has.status == would.status:
        yield _taken_off(has, past)
        return
    # No other webhook writes our status: under the same policy we did something else then.
    if has.hash or not would.hash:
        yield Cause("changed", "what it is made of has changed since")
    else:
        yield from _left_then(has, past, later)


def _left_then(has: Tokens, past: Past, later: list[Change]) -> Iterator[Cause]:
    """Why we did not change a pod when it was made, which we would change now."""
    if past.called is False:
        yield Cause("not-called", "the API server does not call boundtoken about it")
    elif past.installed and past.created and past.created < past.installed:
        yield Cause(
            "before-installation",
            f"it was made at {past.created}, and the webhook configuration at {past.installed}",
        )
    elif past.failed_open:
        yield Cause(
            "webhook-away",
            "boundtoken was away when it was made: the audit log has failed-open for it",
        )
    elif past.answer in WITHOUT_DECISION:
        yield Cause(
            "could-not-decide",
            f"boundtoken could not decide when it was made: the audit log has {past.answer}",
        )
    elif later:
        yield from map(_written_later, later)
    elif past.answer and past.answer not in CHANGED:
        why = "the configuration or what it is made of has changed since"
        yield Cause("changed", f"boundtoken answered {past.answer} when it was made: {why}")
    elif past.failed_open is False:
        yield _taken_off(has, past)
    else:
        log = "the audit log does not tell" if past.has_log else "--audit-log FILE tells"
        yield Cause(
            "maybe-away",
            "it is younger than the annotations: boundtoken was away when it was made, another "
            f"webhook took it off, or the configuration has changed; {log} which" + _after(past),
        )


def _written_later(change: Change) -> Cause:
    by = f" by {change.manager}" if change.manager else ""
    text = (
        f"it was made before the last write{by} of annotations of {change.object}, or of other fields "
        f"with them, at {change.time}"
    )
    return Cause("before-annotation", text)


def _taken_off(has: Tokens, past: Past) -> Cause:
    what = (
        f"its status says {has.status.partition(':')[0]}" if has.status else "boundtoken was called"
    )
    return Cause("taken-off", f"{what}, and another webhook changed it afterwards{_after(past)}")


def _after(past: Past) -> str:
    return f"; after boundtoken come {', '.join(past.others)}" if past.others else ""


class Owner(View, frozen=True):
    """The object that makes a pod again. `is_paused` is a Deployment that rolls nothing out;
    `remark` says what else a restart needs.
    """

    kind: str = ""
    name: str = ""
    is_paused: bool = False
    remark: str = ""


def owner(kind: str, name: str, document: JsonObject | None) -> Owner:
    """The owner of this kind and name, with what its object tells, where that was read."""
    spec = (document or {}).get("spec")
    if not isinstance(spec, dict):
        return Owner(kind, name)
    return Owner(kind, name, spec.get("paused") is True, _remark(spec.get("updateStrategy")))


def _remark(strategy: Any) -> str:
    if not isinstance(strategy, dict):
        return ""
    if strategy.get("type") == "OnDelete":
        return "then delete its pods: its updateStrategy is OnDelete"
    rolling = strategy.get("rollingUpdate")
    partition = rolling.get("partition") if isinstance(rolling, dict) else None
    if isinstance(partition, int) and partition > 0:
        return (
            f"its pods below {partition} stay as they are: rollingUpdate.partition is {partition}"
        )
    return ""


def owner_kind(kind: str, api_version: str) -> str:
    """The kind of an owner, with its group where it only has the name of one of Kubernetes, as
    OpenKruise's StatefulSet and Volcano's Job have: it is neither read nor restarted as that.
    """
    group, slash, _ = api_version.rpartition("/")
    has_the_name = any(kind == known for _, known in TEMPLATES)
    is_foreign = has_the_name and bool(slash) and (group, kind) not in TEMPLATES
    return f"{kind}.{group}" if is_foreign else kind


ROLLED_OUT = ("Deployment", "StatefulSet", "DaemonSet")


def is_name(text: str) -> bool:
    """Whether it can be the name of an object, and so stand in a command."""
    return _NAME.fullmatch(text) is not None


def restart(owner: Owner | None, pod: str, namespace: str) -> tuple[str, str]:
    """What makes the pod again, as a command and as a remark. The names of pod and namespace are
    the API server's; that of an owner is any text, which whoever makes a pod may write.
    """
    where = f"-n {namespace}"
    if owner is None:
        command = f"kubectl replace --force {where} -f FILE"
        return command, "nobody makes it again: FILE is its own manifest"
    if owner.kind in (*ROLLED_OUT, "Job") and not is_name(owner.name):
        return "", f"no {owner.kind} has the name of its owner"
    if owner.kind in ROLLED_OUT:
        return _rollout(owner, f"{owner.kind.lower()}/{owner.name} {where}")
    if owner.kind in ("Job", "CronJob"):
        command = f"kubectl delete job/{owner.name} {where}" if owner.kind == "Job" else ""
        remark = "delete the Job and create it again" if command else "from its next Job on"
        return command, remark
    if owner.kind == "Node":
        return "", "a static pod: its node makes it"
    return f"kubectl delete pod/{pod} {where}", f"its {owner.kind} makes it again"


def _rollout(owner: Owner, what: str) -> tuple[str, str]:
    if owner.is_paused:
        command = f"kubectl rollout resume {what} && kubectl rollout restart {what}"
        return command, "it is paused: what was changed meanwhile is rolled out too"
    return f"kubectl rollout restart {what}", owner.remark
