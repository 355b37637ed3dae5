"""The rules of enforcement as records: what each restricts, what it allows, since when, and how
both judges look.

Two judges read these records. `evaluate` judges values here, for warnings, audit annotations,
templates and previews. The API server judges by the CEL of the same records (`policies.manifests`
makes policies of them), and is the one that denies. A test holds the two to the same sentences over
thousands of pods.

Nothing that a pod's author writes lowers a level: no annotation is looked at, only what gives a
token. (A volume is the automounted one by prefix and shape; under another name it is judged as any
other token.) What admission at CREATE cannot see: tokens that a CSI driver asks for by itself
(CSIDriver.spec.tokenRequests), Secrets that are made after the pod, a Secret that a container reads
through the API, whatever a PersistentVolume refers to.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec

from ..core import full_views, names
from ..core.levels import LATEST, LEVELS, VERSIONS, Level, LevelVersion
from ..core.limits import Limits
from ..core.text import displayed, quote, truncate
from . import cel
from .facts import KINDS, VOLUMES, Facts, Place

TOKEN = "spec.volumes.projected.sources.serviceAccountToken"  # noqa: S105  (a field path)
ONE_YEAR = "3607 makes a token valid for one year, not {maximum} s"
MAX_PLACES_CHARS = 300
"""Of the places in one sentence: with seven sentences a message stays below the 5 KiB that the API
server takes."""

Found = tuple[str, Place, str]
"""The field as `kubectl explain` spells it, where it is, and the value that is wrong there, for
people; may be empty."""


class Violation(msgspec.Struct, frozen=True):
    """One thing that is wrong: which rule says so, where, what, and what to do."""

    rule: str
    field: str
    place: Place
    value: str
    problem: str
    fix: str
    condition: str = ""
    """What it depends on, where that is not known."""


class Check(NamedTuple):
    """One thing that a rule looks for. The texts may name `{maximum}`, `{advised}` and `{allowed}`
    of the limits.
    """

    find: Callable[[Facts, Limits], Iterator[Found]]
    problem: str
    fix: str
    name: str = ""
    """Of the variable in the API server's policy; empty where CEL cannot say it."""
    cel: str = ""
    """The same as `find`: the places with their values, each as `_place` spells it, in one text;
    empty where there are none."""


class Rule(NamedTuple):
    """One row of the table in docs/reference.md."""

    slug: str
    level: Level
    since: str
    fields: tuple[str, ...]
    """What is restricted, as Pod Security names fields."""
    allowed: tuple[str, ...]
    """The values that are allowed there."""
    checks: tuple[Check, ...]


def _lasts_a_year(pod: Facts, limits: Limits, *, automounted: bool) -> Iterator[Found]:
    for name, is_automounted, tokens in (
        pod.holding if limits.is_too_long(names.YEAR_SECONDS) else ()
    ):
        for token in tokens if is_automounted is automounted else ():
            if limits.is_extended(token.expiration_seconds, (token.audience or "",)):
                yield f"{TOKEN}.expirationSeconds", ("volume", name), ""


def _lives_too_long(pod: Facts, limits: Limits) -> Iterator[Found]:
    maximum = limits.maximum
    for name, _, tokens in pod.holding:
        for token in tokens:
            seconds = token.expiration_seconds
            if seconds is None:
                seconds = names.API_DEFAULT_EXPIRATION_SECONDS
            if seconds > maximum and not limits.is_extended(seconds, (token.audience or "",)):
                yield f"{TOKEN}.expirationSeconds", ("volume", name), f"{seconds} s"


def _is_for_another(pod: Facts, limits: Limits) -> Iterator[Found]:
    for name, _, tokens in pod.holding if limits.allowed_audiences is not None else ():
        for token in tokens:
            if token.audience and not limits.allows(token.audience):
                yield f"{TOKEN}.audience", ("volume", name), displayed(token.audience)


def _is_automounted(pod: Facts, _limits: Limits) -> Iterator[Found]:
    for name, is_automounted, _ in pod.holding:
        if is_automounted:
            yield f"{VOLUMES}.projected", ("volume", name), ""


def _is_writable(pod: Facts, _limits: Limits) -> Iterator[Found]:
    for kind, container, mount in pod.token_mounts:
        if not mount.read_only:
            yield (
                f"spec.{kind}.volumeMounts.readOnly",
                (KINDS[kind], container.name),
                f"volume {mount.name}",
            )


def _is_by_sub_path(pod: Facts, _limits: Limits) -> Iterator[Found]:
    for kind, container, mount in pod.token_mounts:
        if mount.sub_path or mount.sub_path_expr:
            field = "subPath" if mount.sub_path else "subPathExpr"
            yield (
                f"spec.{kind}.volumeMounts.{field}",
                (KINDS[kind], container.name),
                f"volume {mount.name}",
            )


def _is_legacy(pod: Facts, limits: Limits) -> Iterator[Found]:
    for field, place, secret in pod.secrets if limits.legacy_tokens else ():
        if secret in (limits.legacy_tokens or ()):
            yield field, place, f"Secret {displayed(secret)}"


def _volumes_with(token: str, value: str, volume: str = "") -> str:
    """CEL: every such volume `v` with such a token `t`, and what is wrong with each."""
    values = (
        f" + ' (' + v.tokens.filter(t, {token}).map(t, {value}).join(', ') + ')'" if value else ""
    )
    return f"""variables.tokenVolumes.filter(v, {volume}v.tokens.exists(t, {token}))
  .map(v, 'volume "' + v.name + '"'{values}).join(', ')"""


def _containers_with(mount: str) -> str:
    """CEL: every container with such a mount `m` of a token, and the volumes of these."""
    return f"""variables.mountsByContainer.map(c, {{
    'place': dyn(c.place),
    'volumes': dyn(c.mounts.filter(m, {mount} && m.name in variables.tokenVolumeNames).map(m, 'volume ' + m.name))
  }}).filter(c, c.volumes.size() > 0).map(c, c.place + ' (' + c.volumes.join(', ') + ')').join(', ')"""


RULES = (
    Rule(
        "token-lifetime",
        "bound",
        "v1",
        ("spec.volumes[*].projected.sources[*].serviceAccountToken.expirationSeconds",),
        (
            "at most the maximum, 86400 by default (`strict`: 3600)",
            "3607 with the API server's audience counts as one year",
        ),
        (
            Check(
                partial(_lasts_a_year, automounted=True),
                ONE_YEAR,
                f"annotate namespace or pod with {names.INJECT}=enabled",
                "automountedYears",
                _volumes_with(
                    f"t.oneYear && variables.maximum < {names.YEAR_SECONDS}",
                    "",
                    "v.automounted && ",
                ),
            ),
            Check(
                partial(_lasts_a_year, automounted=False),
                ONE_YEAR,
                "set expirationSeconds to {advised} or less",
                "oneYearTokens",
                _volumes_with(
                    f"t.oneYear && variables.maximum < {names.YEAR_SECONDS}",
                    "",
                    "!v.automounted && ",
                ),
            ),
            Check(
                _lives_too_long,
                "expirationSeconds must be at most {maximum}",
                "set it to {advised} or less",
                "longTokens",
                _volumes_with(
                    "!t.oneYear && t.seconds > variables.maximum", "string(t.seconds) + ' s'"
                ),
            ),
        ),
    ),
    Rule(
        "token-audience",
        "bound",
        "v1",
        ("spec.volumes[*].projected.sources[*].serviceAccountToken.audience",),
        ("undefined", "the API server's own", "one of `allowed-audiences`, where that is set"),
        (
            Check(
                _is_for_another,
                "this audience is not allowed",
                "leave audience out{allowed}",
                "foreignAudiences",
                _volumes_with("!t.allowed", cel.displayed("t.audience")),
            ),
        ),
    ),
    Rule(
        "legacy-token",
        "bound",
        "v1",
        (
            "spec.volumes[*].secret.secretName",
            "spec.volumes[*].projected.sources[*].secret.name",
            "spec.volumes[*].azureFile.secretName",
            "spec.volumes[*].csi.nodePublishSecretRef.name",
            "spec.volumes[*].{" + ",".join(full_views.WITH_SECRET_REF) + "}.secretRef.name",
            "spec.{containers,initContainers,ephemeralContainers}[*].env[*].valueFrom.secretKeyRef.name",
            "spec.{containers,initContainers,ephemeralContainers}[*].envFrom[*].secretRef.name",
        ),
        (
            "no Secret of type `kubernetes.io/service-account-token` (webhook only, with `--legacy-tokens on`)",
        ),
        (
            Check(
                _is_legacy,
                "this Secret holds a legacy token, which never expires",
                "use a projected serviceAccountToken instead",
            ),
        ),
    ),
    Rule(
        "automounted-volume",
        "strict",
        "v1",
        ("spec.volumes[*].projected",),
        (
            "no automounted volume: `kube-api-access-…` with token, `kube-root-ca.crt` and namespace",
        ),
        (
            Check(
                _is_automounted,
                "the automounted token is not allowed",
                f"annotate namespace or pod with {names.AUTOMOUNT}=disabled (and {names.INJECT}=enabled for a token of ours)",
                "automountedVolumes",
                "variables.tokenVolumes.filter(v, v.automounted).map(v, 'volume \"' + v.name + '\"').join(', ')",
            ),
        ),
    ),
    Rule(
        "token-mount",
        "strict",
        "v1",
        tuple(
            f"spec.{{containers,initContainers,ephemeralContainers}}[*].volumeMounts[*].{field}"
            for field in ("readOnly", "subPath", "subPathExpr")
        ),
        (
            "of a token's volume: `readOnly: true`",
            "no subPath, because such a file is never refreshed",
        ),
        (
            Check(
                _is_writable,
                "a token must be mounted read-only",
                "set readOnly: true",
                "writableMounts",
                _containers_with("!m.?readOnly.orValue(false)"),
            ),
            Check(
                _is_by_sub_path,
                "a file mounted by subPath is never refreshed",
                "mount the whole volume",
                "subPathMounts",
                _containers_with(
                    "(m.?subPath.orValue('') != '' || m.?subPathExpr.orValue('') != '')"
                ),
            ),
        ),
    ),
)


def of(level: Level, version: str) -> tuple[Rule, ...]:
    """The rules of a level in a version."""
    known = VERSIONS[: VERSIONS.index(version) + 1]
    return tuple(
        rule
        for rule in RULES
        if LEVELS.index(rule.level) <= LEVELS.index(level) and rule.since in known
    )


_OF: dict[tuple[Level, str], tuple[Rule, ...]] = {
    (level, version): of(level, version) for level in LEVELS for version in VERSIONS
}


def evaluate(
    pod: Facts, demand: LevelVersion, limits: Limits, floor: Level = "off"
) -> tuple[Violation, ...]:
    """What about this pod violates the demand or the floor, rule by rule; of each thing as much as
    a sentence shows.
    """
    asked, least = _OF[demand.level, demand.version], _OF[floor, LATEST]
    rules = asked if floor == "off" else [rule for rule in RULES if rule in asked or rule in least]
    return tuple(
        violation
        for rule in rules
        for check in rule.checks
        for violation in _violations(rule, check, pod, limits)
    )


def _violations(rule: Rule, check: Check, pod: Facts, limits: Limits) -> Iterator[Violation]:
    texts: tuple[str, str] | None = None
    last, told = None, 0
    for found in check.find(pod, limits):
        field, place, value = found
        if found == last and not value:
            continue
        last = found
        if texts is None:
            others = f", or use one of {limits.allowed_text}" if limits.allowed_text else ""
            fill = {"maximum": limits.maximum, "advised": limits.advised, "allowed": others}
            texts = check.problem.format(**fill), check.fix.format(**fill)
        yield Violation(rule.slug, field, place, value, *texts)
        told += len(value) + 2
        if told > 2 * MAX_PLACES_CHARS:
            return


def sentences(violations: Iterable[Violation]) -> list[str]:
    """One sentence for each group of violations that differ in their place only: the rule first,
    the fix last.
    """
    groups: dict[tuple[str, str, str, str], dict[Place, list[str]]] = {}
    for each in violations:
        places = groups.setdefault((each.rule, each.condition, each.problem, each.fix), {})
        places.setdefault(each.place, []).append(each.value)
    return [
        f"[{rule}] {truncate(', '.join(_place(*at) for at in places.items()), MAX_PLACES_CHARS)}{condition and f' ({condition})'}: "
        f"{problem}; {fix}"
        for (rule, condition, problem, fix), places in groups.items()
    ]


def _place(place: Place, values: list[str]) -> str:
    kind, name = place
    return f"{kind} {quote(name, 63)}" + (f" ({', '.join(values)})" if values[0] else "")
