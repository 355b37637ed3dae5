"""Settling what holds for a pod: locks of the cluster, then pod, then namespace, then defaults; and
saying who decided.

A fault never stops anything: the next weaker layer decides, and the fault travels on as a value.
What depends on the namespace alone is resolved once for each change of it; a pod without
annotations of ours costs nothing here.

Why a pod under `pod-overrides: denied` may ask for `inject: enabled` where the *namespace's*
automount is enabled, and for `inject: disabled` where the automount that holds *for the pod* is
disabled: the first replaces a token that would be there without the pod's wish, the second leaves
no token at all. Both can only shorten what an attacker finds.
"""

import difflib
import hashlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from . import levels, limits, names
from .annotations import (
    Parser,
    parse_audience,
    parse_audiences,
    parse_container_names,
    parse_max_seconds,
    parse_mount_path,
    parse_overrides,
    parse_seconds,
    parse_switch,
    parse_tokens,
    split_list,
)
from .faults import Fault, more_faults
from .levels import EnforcementPolicy, Level
from .limits import DEFAULT_MAXIMUM, Locks, Token


class TokenPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod gets. Every value is one that Kubernetes accepts."""

    inject: bool = False
    automount: bool = True
    audience: str = ""
    """Empty: the API server's own."""
    expiration_seconds: int = names.DEFAULT_EXPIRATION_SECONDS
    mount_path: str = names.DEFAULT_PATH
    tokens: tuple[Token, ...] = ()
    skip_containers: tuple[str, ...] = ()


class Exemptions(msgspec.Struct, frozen=True):
    """Who is not judged, by the words of the cluster's configuration."""

    namespaces: frozenset[str] = frozenset()
    usernames: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    """As `namespace/name`."""
    runtime_classes: frozenset[str] = frozenset()


Govern = Literal["off", "warn", "enforce"]
"""What becomes of a TokenRequest, or a legacy token Secret, that is against the rules."""
GOVERN_MODES: tuple[Govern, ...] = get_args(Govern)


class ClusterPolicy(msgspec.Struct, frozen=True):
    """What holds for the whole cluster: the weakest layer and the strongest, and where we never
    look.
    """

    defaults: TokenPolicy = TokenPolicy()
    locks: Locks = Locks()
    excluded: frozenset[str] = names.NEVER_TOUCHED
    own_namespace: str = names.NAMESPACE
    api_audiences: tuple[str, ...] = ()
    """What the API server calls itself; empty while nobody has told us."""
    enforce_floor: Level = "off"
    enforce_floor_max_expiration_seconds: int | None = None
    """None: the default of the floor's level."""
    exemptions: Exemptions = Exemptions()
    token_requests: Govern = "off"  # noqa: S105  (a mode)
    token_requests_max_expiration_seconds: int = DEFAULT_MAXIMUM["bound"]
    legacy_secrets: Govern = "off"


class Resolution(msgspec.Struct, frozen=True):
    """A settled policy, what was wrong on the way, and which layer decided each field."""

    policy: TokenPolicy
    faults: tuple[Fault, ...]
    decided_by: Mapping[str, str]
    hash: str
    """8 hex digits that are the same for the same policy on every replica."""


class NamespacePolicy(msgspec.Struct, frozen=True, weakref=True):
    """Everything about a namespace that does not depend on the pod, resolved once."""

    annotations: Mapping[str, str]
    """Only those of our domain."""
    settings: Mapping[str, Any]
    """What the namespace itself sets, by field of `TokenPolicy`."""
    locks: Locks
    resolution: Resolution
    enforcement: EnforcementPolicy
    max_expiration_seconds: int | None
    """What the namespace itself has set; None where it has not, or not well."""
    allowed_text: str
    """The allowed audiences for people, in the order in which they are written."""


SETTINGS: tuple[tuple[str, str, Parser], ...] = (
    (
        "automount",
        names.AUTOMOUNT,
        parse_switch,
    ),  # before inject, which is judged by it under denied overrides
    ("inject", names.INJECT, parse_switch),
    ("audience", names.AUDIENCE, parse_audience),
    ("expiration_seconds", names.EXPIRATION_SECONDS, parse_seconds),
    ("mount_path", names.MOUNT_PATH, parse_mount_path),
    ("tokens", names.TOKENS, parse_tokens),
    ("skip_containers", names.SKIP_CONTAINERS, parse_container_names),
)
LOCKS: tuple[tuple[str, str, Parser], ...] = (
    ("max_expiration_seconds", names.MAX_EXPIRATION_SECONDS, parse_max_seconds),
    ("allowed_audiences", names.ALLOWED_AUDIENCES, parse_audiences),
    ("pod_overrides", names.POD_OVERRIDES, parse_overrides),
)
COUNTS_AS: dict[str, tuple[Any, str]] = {
    names.ALLOWED_AUDIENCES: (
        frozenset(),
        "counts as an empty list, which allows the API server's own audience only",
    )
}
"""What a bad value counts as where the next weaker layer would open what somebody wanted closed."""
NAMESPACE_SETTINGS = tuple(row for row in SETTINGS if row[1] in names.FOR_NAMESPACES)


def own_annotations(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """Only the annotations of our domain, sorted by name so that equal ones compare and hash
    alike.
    """
    return (
        {key: annotations[key] for key in sorted(annotations or ()) if key.startswith(names.DOMAIN)}
        if annotations
        else {}
    )


_LONGEST = {names.ALLOWED_AUDIENCES: names.MAX_AUDIENCE_LIST_CHARS, names.TOKENS: 1 << 16}
"""Characters of a value that can be valid; each of 64 tokens has a file name and an audience."""
_LONGEST_OTHER = names.MAX_PATH_BYTES
MAX_UNKNOWN = 2 * names.MAX_FAULTS
"""Annotations of a namespace in our domain that are none of ours: more than faults are told."""


def namespace_annotations(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """What is kept of a namespace's annotations: those of our domain, sorted by name. Of unknown
    ones only some, and of each value no more than can be valid: there may be thousands of
    namespaces, and each may have 256 KiB.
    """
    kept: dict[str, str] = {}
    unknown = 0
    for name, value in own_annotations(annotations).items():
        limit = _LONGEST.get(name, _LONGEST_OTHER)
        if name not in names.FOR_NAMESPACES:
            unknown += 1
            if unknown > MAX_UNKNOWN:
                continue
            limit = names.MAX_WARNING_CHARS
        # A value that is cut stays one that no parser takes.
        kept[name] = value if len(value) <= limit else value[:limit] + "\0"
    return kept


def resolve_namespace(cluster: ClusterPolicy, annotations: Mapping[str, str]) -> NamespacePolicy:
    """What holds in a namespace with these annotations, for every pod that asks for nothing
    itself.
    """
    faults = _misplaced("namespace", annotations, names.FOR_NAMESPACES)
    own_locks = _read("namespace", LOCKS, annotations, cluster.locks, faults)
    locks = cluster.locks.with_stricter(Locks(**own_locks))
    demanded, level_faults = levels.read(annotations)
    faults += level_faults
    asked = _read("namespace", NAMESPACE_SETTINGS, annotations, locks, faults)
    decided_by = dict.fromkeys(TokenPolicy.__struct_fields__, "defaults") | dict.fromkeys(
        asked, "namespace"
    )
    defaults = cluster.defaults
    if not locks.allows(defaults.audience):
        if "audience" not in asked:
            problem = "is not one of the allowed audiences; the API server's own is used"
            faults.append(Fault("defaults", names.AUDIENCE, defaults.audience, problem))
        defaults = msgspec.structs.replace(defaults, audience="")
    settled = _merge(defaults, asked, locks)
    resolution = Resolution(settled, tuple(faults), decided_by, _hash(settled))
    maximum = own_locks.get("max_expiration_seconds")
    return NamespacePolicy(
        annotations,
        asked,
        locks,
        resolution,
        demanded,
        maximum,
        _allowed_text(annotations, own_locks, locks),
    )


def _allowed_text(
    annotations: Mapping[str, str], own_locks: Mapping[str, Any], locks: Locks
) -> str:
    if "allowed_audiences" not in own_locks:
        return limits.allowed(sorted(locks.allowed_audiences or ()))
    listed = (
        split_list(annotations[names.ALLOWED_AUDIENCES]) if own_locks["allowed_audiences"] else ()
    )
    return limits.allowed(audience for audience in listed if locks.allows(audience))


def resolve(
    namespace: NamespacePolicy, annotations: Mapping[str, str] | None, layer: str = "pod"
) -> Resolution:
    """What holds for a pod with these annotations in this namespace; `layer` names their author in
    faults.
    """
    base = namespace.resolution
    for key in annotations or ():
        if key.startswith(names.DOMAIN) and key not in names.OURS_ON_PODS:
            break
    else:
        return base
    assert annotations is not None  # noqa: S101
    ours = {name: value for name, value in annotations.items() if name.startswith(names.DOMAIN)}
    if (too_much := too_large(layer, ours)) is not None:
        return msgspec.structs.replace(base, faults=(*base.faults, too_much))
    faults = _misplaced(layer, ours, names.FOR_PODS)
    asked = _read(layer, SETTINGS, annotations, namespace.locks, faults)
    if not namespace.locks.pod_overrides:
        asked = _keep_tightening(layer, asked, namespace, annotations, faults)
    settled = _merge(base.policy, {**namespace.settings, **asked}, namespace.locks)
    decided_by = {**base.decided_by, **dict.fromkeys(asked, layer)}
    return Resolution(settled, (*base.faults, *faults), decided_by, _hash(settled))


def _read(
    layer: str,
    rows: tuple[tuple[str, str, Parser], ...],
    annotations: Mapping[str, str],
    locks: Locks,
    faults: list[Fault],
) -> dict[str, Any]:
    asked = {}
    for attribute, annotation, parse in rows:
        text = annotations.get(annotation)
        if text is None:
            continue
        try:
            asked[attribute], remarks = parse(text, locks)
        except ValueError as problem:
            became = "ignored"
            if annotation in COUNTS_AS:
                asked[attribute], became = COUNTS_AS[annotation]
            faults.append(Fault(layer, annotation, text, f"{became}, {problem}"))
        else:
            faults += [Fault(layer, annotation, text, remark) for remark in remarks]
    return asked


def _keep_tightening(
    layer: str,
    asked: dict[str, Any],
    namespace: NamespacePolicy,
    annotations: Mapping[str, str],
    faults: list[Fault],
) -> dict[str, Any]:
    """Of what the pod asked, only what holds anyway or is tighter; all else becomes a fault."""
    base = namespace.resolution.policy
    kept: dict[str, Any] = {}
    for attribute, annotation, _parse in SETTINGS:
        if attribute not in asked:
            continue
        value = asked[attribute]
        held = (
            namespace.settings.get("tokens", ())
            if attribute == "tokens"
            else getattr(base, attribute)
        )
        automount = kept.get("automount", base.automount)
        tighter = (
            (attribute == "automount" and value is False)
            or (attribute == "inject" and (base.automount if value else not automount))
            or (attribute == "expiration_seconds" and value < held)
        )
        if tighter or value == held:
            kept[attribute] = value
        else:
            problem = f"ignored, pods may only tighten here, {names.POD_OVERRIDES} is denied"
            faults.append(Fault(layer, annotation, annotations[annotation], problem))
    return kept


def too_large(layer: str, ours: Mapping[str, str]) -> Fault | None:
    """The one fault of an object with more or longer annotations of our domain than can be meant;
    nothing is read then.
    """
    if len(ours) > names.MAX_ANNOTATIONS:
        problem = f"there must be at most {names.MAX_ANNOTATIONS}, and there are more"
    elif sum(map(len, ours)) + sum(map(len, ours.values())) > names.MAX_ANNOTATIONS_CHARS:
        problem = f"together they must have at most {names.MAX_ANNOTATIONS_CHARS} characters, and have more"
    else:
        return None
    return Fault(layer, f"{names.DOMAIN}*", "", f"ignored, all of them: {problem}")


def _misplaced(layer: str, ours: Mapping[str, str], known: frozenset[str]) -> list[Fault]:
    """A fault for each annotation of our domain that is none, or does not belong there; the last
    says how many more.
    """
    good = known if layer == "namespace" else known | names.OURS_ON_PODS
    found = [(name, value) for name, value in ours.items() if name not in good]
    if not found:
        return []
    guesses = {each.removeprefix(names.DOMAIN): each for each in sorted(known)}
    faults = []
    for number, (name, value) in enumerate(found[: names.MAX_FAULTS]):
        if name in names.OURS_ON_PODS:
            problem = "ignored, it is written by boundtoken and belongs on pods"
        elif name in names.FOR_NAMESPACES or name in names.FOR_PODS:
            problem = f"ignored, it belongs on {'namespaces' if name in names.FOR_NAMESPACES else 'pods'} only"
        else:
            problem = "ignored, there is no such annotation" + (
                _meant(name, guesses) if number < names.MAX_GUESSES else ""
            )
        faults.append(Fault(layer, name, value, problem))
    return faults + more_faults(layer, len(found))


def _meant(name: str, guesses: Mapping[str, str]) -> str:
    meant = difflib.get_close_matches(name.removeprefix(names.DOMAIN)[:40].lower(), guesses, n=1)
    return f"; did you mean {guesses[meant[0]]}?" if meant else ""


def _merge(defaults: TokenPolicy, asked: Mapping[str, Any], locks: Locks) -> TokenPolicy:
    chosen: dict[str, Any] = {**asked}
    lifetime = locks.capped(chosen.get("expiration_seconds", defaults.expiration_seconds))
    tokens: tuple[Token, ...] = chosen.get("tokens", ())
    chosen["expiration_seconds"] = lifetime
    chosen["tokens"] = tuple(
        token
        if token.expiration_seconds is not None
        else msgspec.structs.replace(token, expiration_seconds=lifetime)
        for token in tokens
    )
    return msgspec.structs.replace(defaults, **chosen)


def _hash(policy: TokenPolicy) -> str:
    return hashlib.sha256(msgspec.json.encode(policy)).hexdigest()[:8]
