"""The rules of enforcement: each a pure function from a final pod to what it violates; a level is a tuple of rules.

Nothing that a pod's author writes lowers a level: no annotation is looked at, only what gives a token. (A volume is the
automounted one by prefix and shape; under another name it is judged as any other token.)
What admission at CREATE cannot see: tokens that a CSI driver asks for by itself (CSIDriver.spec.tokenRequests), Secrets
that are made after the pod, a Secret that a container reads through the API, whatever a PersistentVolume refers to.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from . import names, pods
from .demands import Demand, Level
from .finals import FinalContainer, FinalPod, FinalVolume
from .pods import TokenSource
from .text import quoted
from .wishes import Locks

YEAR_SECONDS = 31_536_000
"""pkg/serviceaccount/claims.go ExpirationExtensionSeconds: what the API server makes of 3607; seen on 1.37."""
DEFAULT_MAXIMUM: dict[Level, int] = {"off": names.MAX_EXPIRATION_SECONDS_LIMIT, "bound": 86400, "strict": 3600}
"""Seconds, where nobody has set a maximum (contract.md section 4)."""

VOLUMES = "spec.volumes"
TOKEN = "spec.volumes.projected.sources.serviceAccountToken"  # noqa: S105  (a field path)


class Finding(msgspec.Struct, frozen=True):
    """One violation: the rule's slug, the field as `kubectl explain` spells it, where it is, what is wrong, what to do."""

    rule: str
    field: str
    place: tuple[str, str]
    """A kind and a name: `("volume", "data")`, `("container", "app")`."""
    problem: str
    cure: str


class Bounds(msgspec.Struct, frozen=True):
    """What a pod is measured by."""

    locks: Locks = Locks()
    api_audiences: tuple[str, ...] = ()
    legacy_tokens: frozenset[str] | None = None
    """Names of the legacy token Secrets of the namespace; None where nobody may list them."""

    def maximum(self, level: Level) -> int:
        """The seconds that a token may live: what was set for the namespace or the cluster, otherwise the level's own."""
        set_here = self.locks.max_expiration_seconds
        return set_here if set_here < names.MAX_EXPIRATION_SECONDS_LIMIT else DEFAULT_MAXIMUM[level]

    def advised(self, level: Level) -> int:
        """The longest life to ask for: the maximum, but never 3607."""
        return self.locks.capped(self.maximum(level))

    def is_api_audience(self, audience: str) -> bool:
        """Whether the API server calls itself so; where nobody has told us its names, any may be one."""
        return not audience or not self.api_audiences or audience in self.api_audiences

    def allows(self, audience: str) -> bool:
        return self.locks.allows(audience) or audience in self.api_audiences


Rule = Callable[[FinalPod, Bounds, Level], Iterator[Finding]]


def lifetime(token: TokenSource, bounds: Bounds) -> int:
    """The seconds that a token of this source really lives.

    Source: pkg/registry/core/serviceaccount/storage/token.go; kubernetes.md section 2.
    """
    if token.expiration_seconds is None:
        return names.DEFAULT_EXPIRATION_SECONDS
    if token.expiration_seconds == names.YEAR_TRAP_SECONDS and bounds.is_api_audience(token.audience or ""):
        return YEAR_SECONDS
    return token.expiration_seconds


def token_lifetime(pod: FinalPod, bounds: Bounds, level: Level) -> Iterator[Finding]:
    """Every token lives at most the maximum."""
    maximum = bounds.maximum(level)
    for volume, token in _tokens(pod):
        lives = lifetime(token, bounds)
        if lives <= maximum:
            continue
        asked, near = token.expiration_seconds, bounds.advised(level)
        problem, cure = f"must be at most {maximum}, not {asked}", f"ask for {near} or less"
        if lives != asked:
            problem = f"{asked} becomes a year"
            cure = f"set {names.INJECT}: enabled, or ask for {near}"
        yield Finding("token-lifetime", f"{TOKEN}.expirationSeconds", ("volume", volume.name), problem, cure)


def token_audience(pod: FinalPod, bounds: Bounds, _level: Level) -> Iterator[Finding]:
    """Every token is for an audience that is allowed."""
    for volume, token in _tokens(pod):
        if not bounds.allows(token.audience or ""):
            allowed = ", ".join(map(quoted, sorted(bounds.locks.allowed_audiences or ())))
            cure = f"use the API server's own{' or one of ' + allowed if allowed else ''}"
            problem = f"{quoted(token.audience or '')} is not allowed here"
            yield Finding("token-audience", f"{TOKEN}.audience", ("volume", volume.name), problem, cure)


def legacy_token(pod: FinalPod, bounds: Bounds, _level: Level) -> Iterator[Finding]:
    """No legacy token Secret comes in by volume, projected source or environment, in any kind of container."""
    if not bounds.legacy_tokens:
        return
    for field, place, secret in _secrets(pod):
        if secret in bounds.legacy_tokens:
            problem = f"Secret {quoted(secret)} holds a token that never ends"
            cure = "use a projected serviceAccountToken instead"
            yield Finding("legacy-token", field, place, problem, cure)


def automounted_volume(pod: FinalPod, _bounds: Bounds, _level: Level) -> Iterator[Finding]:
    """No automounted volume is left."""
    for volume in pod.spec.volumes or ():
        if pods.is_automounted(volume):
            cure = f"set automountServiceAccountToken: false, or {names.AUTOMOUNT}: disabled"
            place = ("volume", volume.name)
            yield Finding("automounted-volume", f"{VOLUMES}.projected", place, "is the automounted token", cure)


def token_mount(pod: FinalPod, _bounds: Bounds, _level: Level) -> Iterator[Finding]:
    """Every token sits in a read-only mount without subPath, which would never be refreshed."""
    holding = {volume.name for volume in pod.spec.volumes or () if volume.holds_a_token}
    for kind, container in pod.spec.everyone():
        place = _place(kind, container)
        for mount in container.volume_mounts or ():
            if mount.name not in holding:
                continue
            said = f"volume {quoted(mount.name)} holds a token"
            if not mount.read_only:
                field = f"spec.{kind}.volumeMounts.readOnly"
                yield Finding("token-mount", field, place, f"{said} and is mounted writable", "set readOnly: true")
            if mount.sub_path or mount.sub_path_expr:
                field = f"spec.{kind}.volumeMounts.{'subPath' if mount.sub_path else 'subPathExpr'}"
                problem = f"{said}, and a file mounted by subPath is never refreshed"
                yield Finding("token-mount", field, place, problem, "mount the whole volume")


BOUND: tuple[Rule, ...] = (token_lifetime, token_audience, legacy_token)
RULES: dict[tuple[Level, str], tuple[Rule, ...]] = {
    ("off", "v1"): (),
    ("bound", "v1"): BOUND,
    ("strict", "v1"): (*BOUND, automounted_volume, token_mount),
}


def evaluate(pod: FinalPod, demand: Demand, bounds: Bounds) -> tuple[Finding, ...]:
    """Everything about this pod that violates the demand, rule by rule, each finding once."""
    found = (finding for rule in RULES[demand.level, demand.version] for finding in rule(pod, bounds, demand.level))
    return tuple(dict.fromkeys(found))


def sentences(findings: Iterable[Finding]) -> list[str]:
    """One sentence for each group of findings that differ in their place only: the field first, the cure last."""
    groups: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for finding in findings:
        kind, name = finding.place
        places = groups.setdefault((finding.field, finding.problem, finding.cure), {})
        places.setdefault(kind, []).append(name)
    return [f"{field}: {_places(places)}: {problem}; {cure}" for (field, problem, cure), places in groups.items()]


def _places(places: dict[str, list[str]]) -> str:
    return ", ".join(
        f"{kind}{'s' * (len(held) > 1)} " + ", ".join(map(quoted, dict.fromkeys(held))) for kind, held in places.items()
    )


def _tokens(pod: FinalPod) -> Iterator[tuple[FinalVolume, TokenSource]]:
    for volume in pod.spec.volumes or ():
        for source in volume.final_sources:
            if source.service_account_token is not None:
                yield volume, source.service_account_token


def _secrets(pod: FinalPod) -> Iterator[tuple[str, tuple[str, str], str]]:
    """Every place from which a pod takes a Secret that may hold a token: field, place, name."""
    for volume in pod.spec.volumes or ():
        if volume.secret is not None:
            yield f"{VOLUMES}.secret.secretName", ("volume", volume.name), volume.secret.secret_name
        for source in volume.final_sources:
            if source.secret is not None:
                yield f"{VOLUMES}.projected.sources.secret.name", ("volume", volume.name), source.secret.name
    for kind, container in pod.spec.everyone():
        for env in container.env or ():
            if env.value_from is not None and env.value_from.secret_key_ref is not None:
                field = f"spec.{kind}.env.valueFrom.secretKeyRef.name"
                yield field, _place(kind, container), env.value_from.secret_key_ref.name
        for env_from in container.env_from or ():
            if env_from.secret_ref is not None:
                yield f"spec.{kind}.envFrom.secretRef.name", _place(kind, container), env_from.secret_ref.name


def _place(kind: str, container: FinalContainer) -> tuple[str, str]:
    return {"initContainers": "init container", "containers": "container"}.get(kind, "ephemeral container"), container.name
