"""Resolve the policy of a pod from four layers: the locks of the cluster, the pod, the namespace,
and the defaults. The result records which layer decided each field.

A fault never stops the resolution: the next weaker layer decides, and the fault is part of the
result. Everything that depends only on the namespace is resolved once for each change of it, so a
pod without annotations of ours costs nothing here.

Under `pod-overrides: denied` a pod may still change `inject` to what gives an attacker no more than
before (`_tightens_inject`).
"""

import difflib
import hashlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from . import levels, limits, names
from .annotations import (
    Inject,
    Parser,
    parse_audience,
    parse_audiences,
    parse_container_names,
    parse_inject,
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
from .text import quote


class TokenPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a pod. Kubernetes accepts every value."""

    inject: Inject = "disabled"
    automount: bool = True
    audience: str = ""
    """Empty: the API server's own."""
    expiration_seconds: int = names.DEFAULT_EXPIRATION_SECONDS
    mount_path: str = names.DEFAULT_PATH
    tokens: tuple[Token, ...] = ()
    skip_containers: tuple[str, ...] = ()


class Exemptions(msgspec.Struct, frozen=True):
    """The exemptions from enforcement, with the names of the cluster's configuration."""

    namespaces: frozenset[str] = frozenset()
    usernames: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    """As `namespace/name`."""
    runtime_classes: frozenset[str] = frozenset()


Govern = Literal["off", "warn", "enforce"]
"""What happens to a TokenRequest, or a legacy token Secret, that violates the rules."""
GOVERN_MODES: tuple[Govern, ...] = get_args(Govern)


class ClusterPolicy(msgspec.Struct, frozen=True):
    """The configuration of the cluster: defaults (the weakest layer), locks (the strongest layer),
    excluded namespaces, and enforcement.
    """

    defaults: TokenPolicy = TokenPolicy()
    locks: Locks = Locks()
    excluded: frozenset[str] = names.NEVER_TOUCHED
    own_namespace: str = names.NAMESPACE
    api_audiences: tuple[str, ...] = ()
    """The API server's own audiences; empty if unknown."""
    enforce_floor: Level = "off"
    enforce_floor_max_expiration_seconds: int | None = None
    """In seconds. None means the default of the floor's level."""
    exemptions: Exemptions = Exemptions()
    token_requests: Govern = "off"  # noqa: S105  (a mode)
    token_requests_max_expiration_seconds: int = DEFAULT_MAXIMUM["bound"]
    legacy_secrets: Govern = "off"


class Resolution(msgspec.Struct, frozen=True):
    """A resolved policy, the faults, and the layer that decided each field."""

    policy: TokenPolicy
    faults: tuple[Fault, ...]
    decided_by: Mapping[str, str]
    hash: str
    """Of the policy: 8 hex digits, the same on every replica."""
    summary: str
    """The token, who decided on it, and the hash, in one short line for the owner of a pod."""
    may_surprise: bool
    """Whether the settings may have an effect that their author should be told of."""


class NamespacePolicy(msgspec.Struct, frozen=True, weakref=True):
    """The part of the policy that does not depend on the pod."""

    annotations: Mapping[str, str]
    """Only those of our domain."""
    settings: Mapping[str, Any]
    """The namespace's own settings, by field of `TokenPolicy`."""
    locks: Locks
    resolution: Resolution
    enforcement: EnforcementPolicy
    max_expiration_seconds: int | None
    """The namespace's own maximum; None if it is missing or invalid."""
    allowed_text: str
    """The allowed audiences for messages, in the order of the annotation."""


SETTINGS: tuple[tuple[str, str, Parser], ...] = (
    # automount comes before inject: a fault in inject takes it out again, and under denied
    # overrides inject is checked against it.
    ("automount", names.AUTOMOUNT, parse_switch),
    ("inject", names.INJECT, parse_inject),
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
"""What an invalid value counts as, for annotations whose weaker layers would allow more."""
NAMESPACE_SETTINGS = tuple(row for row in SETTINGS if row[1] in names.FOR_NAMESPACES)


SUMMARIZED = ("inject", "audience", "expiration_seconds")
"""The settings of which the status of a pod says who decided: the strongest layer of them."""
LAYERS = ("pod", "workload", "namespace", "defaults")
"""What decides, the strongest first; `workload` stands for the pods of a template."""


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
    """Return the policy of a namespace with these annotations, which is that of every pod in it
    without annotations of its own.
    """
    faults = _misplaced("namespace", annotations, names.FOR_NAMESPACES)
    own_locks = _read("namespace", LOCKS, annotations, cluster.locks, faults)
    locks = cluster.locks.with_stricter(Locks(**own_locks))
    enforcement, level_faults = levels.read(annotations)
    faults += level_faults
    settings = _read("namespace", NAMESPACE_SETTINGS, annotations, locks, faults)
    decided_by = dict.fromkeys(TokenPolicy.__struct_fields__, "defaults") | dict.fromkeys(
        settings, "namespace"
    )
    defaults = cluster.defaults
    if not locks.allows(defaults.audience):
        if "audience" not in settings:
            problem = "is not one of the allowed audiences; the API server's own is used"
            faults.append(Fault("defaults", names.AUDIENCE, defaults.audience, problem))
        defaults = msgspec.structs.replace(defaults, audience="")
    merged = _merge(defaults, settings, locks)
    resolution = _resolution(merged, tuple(faults), decided_by)
    maximum = own_locks.get("max_expiration_seconds")
    return NamespacePolicy(
        annotations,
        settings,
        locks,
        resolution,
        enforcement,
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
    """Return the policy of a pod with these annotations in this namespace. `layer` names the object
    with the annotations in faults.
    """
    base = namespace.resolution
    # Most pods have no annotation of ours, and take the namespace's resolution as it is.
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
    settings = _read(layer, SETTINGS, annotations, namespace.locks, faults)
    if not namespace.locks.pod_overrides:
        settings = _keep_tightening(layer, settings, namespace, annotations, faults)
    # The namespace's settings are merged again, because tokens without a lifetime take the pod's.
    merged = _merge(base.policy, {**namespace.settings, **settings}, namespace.locks)
    decided_by = {**base.decided_by, **dict.fromkeys(settings, layer)}
    return _resolution(merged, (*base.faults, *faults), decided_by)


def ignored(resolution: Resolution, annotations: Mapping[str, str], layer: str) -> set[str]:
    """Return which of these annotations of a layer have no effect: bad values, and what they take
    with them.
    """
    return {
        annotation
        for attribute, annotation, _ in SETTINGS
        if annotation in annotations and resolution.decided_by[attribute] != layer
    }


def _read(
    layer: str,
    rows: tuple[tuple[str, str, Parser], ...],
    annotations: Mapping[str, str],
    locks: Locks,
    faults: list[Fault],
) -> dict[str, Any]:
    """Parse the annotations of these rows; append to `faults` what is wrong with them."""
    settings = {}
    for attribute, annotation, parse in rows:
        text = annotations.get(annotation)
        if text is None:
            continue
        try:
            settings[attribute], remarks = parse(text, locks)
        except ValueError as problem:
            became, more = "ignored", ""
            if annotation in COUNTS_AS:
                settings[attribute], became = COUNTS_AS[annotation]
            elif attribute == "inject" and settings.get("automount") is False:
                # Alone, automount=disabled takes the token that inject would have replaced.
                del settings["automount"]
                more = f"; {names.AUTOMOUNT} is ignored too, so that no token is lost"
            faults.append(Fault(layer, annotation, text, f"{became}, {problem}{more}"))
        else:
            faults += [Fault(layer, annotation, text, remark) for remark in remarks]
    return settings


def _keep_tightening(
    layer: str,
    settings: dict[str, Any],
    namespace: NamespacePolicy,
    annotations: Mapping[str, str],
    faults: list[Fault],
) -> dict[str, Any]:
    """Keep the settings of the pod that change nothing or are tighter. Others become faults."""
    base = namespace.resolution.policy
    kept: dict[str, Any] = {}
    for attribute, annotation, _parse in SETTINGS:
        if attribute not in settings:
            continue
        value = settings[attribute]
        # The resolved tokens have lifetimes filled in, so the pod's are compared with the
        # namespace's annotation.
        current = (
            namespace.settings.get("tokens", ())
            if attribute == "tokens"
            else getattr(base, attribute)
        )
        # The pod's own automount counts if it was kept; SETTINGS has it before inject.
        automount = kept.get("automount", base.automount)
        tighter = (
            # Without automount there is no token of a year.
            (attribute == "automount" and value is False)
            or (attribute == "inject" and _tightens_inject(value, base, automount=automount))
            or (attribute == "expiration_seconds" and value < current)
        )
        if tighter or value == current:
            kept[attribute] = value
        else:
            problem = f"ignored, this namespace does not let pods change it ({names.POD_OVERRIDES}=denied)"
            faults.append(Fault(layer, annotation, annotations[annotation], problem))
    return kept


def _tightens_inject(value: Inject, base: TokenPolicy, *, automount: bool) -> bool:
    """Whether a pod may change the namespace's `inject` to this. `automount` is that of the pod."""
    match value:
        case "disabled":
            # Only if no automounted token, valid for a year, comes back.
            return not automount
        case "replace":
            # Instead of `enabled` it gives fewer pods a token, and else it shortens a token that
            # the namespace would let the pod have.
            return base.inject == "enabled" or base.automount
        case "enabled":
            # It shortens the token too. A namespace with `replace` has shortened it already, and
            # only a pod that would have had none would get one.
            return base.inject == "disabled" and base.automount


def too_large(layer: str, ours: Mapping[str, str]) -> Fault | None:
    """Return the fault of an object with too many or too long annotations of our domain. None of
    them is read then.

    Those that we write ourselves do not count: else the status of a first call could decide what a
    second call reads.
    """
    ours = {name: value for name, value in ours.items() if name not in names.OURS_ON_PODS}
    if len(ours) > names.MAX_ANNOTATIONS:
        problem = f"there must be at most {names.MAX_ANNOTATIONS}, and there are more"
    elif sum(map(len, ours)) + sum(map(len, ours.values())) > names.MAX_ANNOTATIONS_CHARS:
        problem = f"together they must have at most {names.MAX_ANNOTATIONS_CHARS} characters, and have more"
    else:
        return None
    return Fault(layer, f"{names.DOMAIN}*", "", f"ignored, all of them: {problem}")


def _misplaced(layer: str, ours: Mapping[str, str], known: frozenset[str]) -> list[Fault]:
    """Return a fault for each annotation of our domain that is unknown or misplaced. The last fault
    says how many more there are.
    """
    good = known if layer == "namespace" else known | names.OURS_ON_PODS
    found = [(name, value) for name, value in ours.items() if name not in good]
    if not found:
        return []
    guesses = {name.removeprefix(names.DOMAIN): name for name in sorted(known)}
    faults = []
    for number, (name, value) in enumerate(found[: names.MAX_FAULTS]):
        if name in names.OURS_ON_PODS:
            problem = "ignored, it is written by boundtoken and belongs on pods"
        elif name in names.FOR_NAMESPACES or name in names.FOR_PODS:
            problem = f"ignored, it belongs on {'namespaces' if name in names.FOR_NAMESPACES else 'pods'} only"
        else:
            problem = "ignored, there is no such annotation" + (
                _suggestion(name, guesses) if number < names.MAX_GUESSES else ""
            )
        faults.append(Fault(layer, name, value, problem))
    return faults + more_faults(layer, len(found))


def _suggestion(name: str, guesses: Mapping[str, str]) -> str:
    # Cut, because the comparison takes quadratic time, and any user may write the name.
    meant = difflib.get_close_matches(name.removeprefix(names.DOMAIN)[:40].lower(), guesses, n=1)
    return f"; did you mean {guesses[meant[0]]}?" if meant else ""


def _merge(defaults: TokenPolicy, settings: Mapping[str, Any], locks: Locks) -> TokenPolicy:
    chosen: dict[str, Any] = {**settings}
    # The lifetime is capped again, because the defaults were never checked against these locks.
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


def _resolution(
    policy: TokenPolicy, faults: tuple[Fault, ...], decided_by: Mapping[str, str]
) -> Resolution:
    digest = hashlib.sha256(msgspec.json.encode(policy)).hexdigest()[:8]
    deciders = {decided_by[attribute] for attribute in SUMMARIZED}
    line = summary(policy, next(layer for layer in LAYERS if layer in deciders), digest)
    opts_out = policy.inject == "disabled" and decided_by["inject"] not in ("namespace", "defaults")
    empties = not policy.automount and (opts_out or policy.mount_path != names.DEFAULT_PATH)
    may_surprise = bool(policy.audience) or empties
    return Resolution(policy, faults, decided_by, digest, line, may_surprise)


def summary(policy: TokenPolicy, set_by: str, digest: str) -> str:
    """Return what `Resolution.summary` is, for the token of this policy."""
    audience = quote(policy.audience) if policy.audience else "(API server)"
    return (
        f"audience={audience} expires={policy.expiration_seconds} set-by={set_by} policy={digest}"
    )
