"""The rules of enforcement as records: what a rule restricts, what it allows, its first version,
and its checks in Python and in CEL.

Every pod is evaluated twice by these records. `evaluate` runs in the webhook, for warnings, audit
annotations, templates and previews. The API server runs the CEL of the same records
(`policies.manifests` makes its policies), and is the one that denies. A test compares the messages
of both over thousands of pods.

A pod's author cannot lower a level: the rules read no annotations of the pod, only the fields that
provide a token. (Only what a message advises depends on one.) A volume counts as automounted by
prefix and shape; under another name it is evaluated as any other token. Admission at CREATE cannot
see tokens that a CSI driver requests (CSIDriver.spec.tokenRequests), Secrets that are created after
the pod, Secrets that a container reads through the API, and anything that a PersistentVolume refers
to.
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
from .facts import CONTAINER_KINDS, VOLUMES, Facts, Place

TOKEN = "spec.volumes.projected.sources.serviceAccountToken"  # noqa: S105  (a field path)
OPTED_OUT = f"the pod says {names.INJECT}: disabled; take that off the pod template"
NOT_CHANGED = "the namespace injects, but boundtoken did not change the pod: create it again, or see boundtoken explain"
"""Instead of a fix that would annotate the namespace: what is left to do where it is annotated."""
ONE_YEAR = "3607 makes a token valid for one year, not {maximum} s"
MAX_PLACES_CHARS = 300
"""Of the places in one sentence. A message with all seven sentences stays below the 5 KiB that the
API server accepts."""

Found = tuple[str, Place, str]
"""The field as `kubectl explain` spells it, its place, and the wrong value for people, which may be
empty."""


class Violation(msgspec.Struct, frozen=True):
    """One violation of a rule: where it is, what is wrong, and how to fix it."""

    rule: str
    field: str
    place: Place
    value: str
    problem: str
    fix: str
    condition: str = ""
    """A condition that boundtoken cannot check, if the violation depends on one."""


class Check(NamedTuple):
    """One check of a rule. The texts may contain `{maximum}`, `{advised}` and `{allowed}`, which
    the limits fill in.
    """

    find: Callable[[Facts, Limits], Iterator[Found]]
    problem: str
    fix: str
    name: str = ""
    """The name of the variable in the API server's policy; empty if CEL cannot express the
    check."""
    cel: str = ""
    """The same as `find`, as CEL: one text with all places and values in the form of `_place`;
    empty if there are none."""
    is_fixed_by_injection: bool = False
    """Whether the fix is to annotate. It is another one where that has been done (`other_fix`)."""


class Rule(NamedTuple):
    """One row of the table in docs/reference.md."""

    slug: str
    level: Level
    since: str
    fields: tuple[str, ...]
    """The restricted fields, in the notation of Pod Security."""
    allowed: tuple[str, ...]
    """The allowed values of these fields."""
    checks: tuple[Check, ...]


def _lasts_a_year(pod: Facts, limits: Limits, *, automounted: bool) -> Iterator[Found]:
    # Two checks share this, because the fix differs: nobody can edit the automounted volume.
    for name, is_automounted, tokens in (
        pod.token_volumes if limits.is_too_long(names.YEAR_SECONDS) else ()
    ):
        for token in tokens if is_automounted is automounted else ():
            if limits.is_extended(token.expiration_seconds, (token.audience or "",)):
                yield f"{TOKEN}.expirationSeconds", ("volume", name), ""


def _lives_too_long(pod: Facts, limits: Limits) -> Iterator[Found]:
    maximum = limits.maximum
    for name, _, tokens in pod.token_volumes:
        for token in tokens:
            seconds = token.expiration_seconds
            if seconds is None:
                # Templates are evaluated before the API server has written its defaults.
                seconds = names.API_DEFAULT_EXPIRATION_SECONDS
            # A token of 3607 s that becomes valid for a year is _lasts_a_year's, and not told
            # twice.
            if seconds > maximum and not limits.is_extended(seconds, (token.audience or "",)):
                yield f"{TOKEN}.expirationSeconds", ("volume", name), f"{seconds} s"


def _is_for_another(pod: Facts, limits: Limits) -> Iterator[Found]:
    # An audience list that is not set allows all audiences; an empty one allows the API server's.
    for name, _, tokens in pod.token_volumes if limits.allowed_audiences is not None else ():
        for token in tokens:
            if token.audience and not limits.allows(token.audience):
                yield f"{TOKEN}.audience", ("volume", name), displayed(token.audience)


def _is_automounted(pod: Facts, _limits: Limits) -> Iterator[Found]:
    for name, is_automounted, _ in pod.token_volumes:
        if is_automounted:
            yield f"{VOLUMES}.projected", ("volume", name), ""


def _is_writable(pod: Facts, _limits: Limits) -> Iterator[Found]:
    for kind, container, mount in pod.token_mounts:
        if not mount.read_only:
            yield (
                f"spec.{kind}.volumeMounts.readOnly",
                (CONTAINER_KINDS[kind], container.name),
                f"volume {mount.name}",
            )


def _is_by_sub_path(pod: Facts, _limits: Limits) -> Iterator[Found]:
    for kind, container, mount in pod.token_mounts:
        # The kubelet updates a volume by swapping a symlink, and a subPath is resolved only once.
        if mount.sub_path or mount.sub_path_expr:
            field = "subPath" if mount.sub_path else "subPathExpr"
            yield (
                f"spec.{kind}.volumeMounts.{field}",
                (CONTAINER_KINDS[kind], container.name),
                f"volume {mount.name}",
            )


def _is_legacy(pod: Facts, limits: Limits) -> Iterator[Found]:
    # No Secrets are collected while none is known to be a legacy token, which is the usual case.
    for field, place, secret in pod.secrets if limits.legacy_tokens else ():
        if secret in (limits.legacy_tokens or ()):
            yield field, place, f"Secret {displayed(secret)}"


def _volumes_with(token: str, value: str, volume: str = "") -> str:
    """Return CEL for the volumes `v` with a matching token `t`, and the wrong value of each."""
    values = (
        f" + ' (' + v.tokens.filter(t, {token}).map(t, {value}).join(', ') + ')'" if value else ""
    )
    return f"""variables.tokenVolumes.filter(v, {volume}v.tokens.exists(t, {token}))
  .map(v, 'volume "' + v.name + '"'{values}).join(', ')"""


def _containers_with(mount: str) -> str:
    """Return CEL for the containers with a matching mount `m` of a token, and their volumes."""
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
                "the automounted token is valid for one year, not {maximum} s",
                f"annotate namespace or pod template with {names.INJECT}=replace",
                "automountedYears",
                _volumes_with(
                    f"t.oneYear && variables.maximum < {names.YEAR_SECONDS}",
                    "",
                    "v.automounted && ",
                ),
                is_fixed_by_injection=True,
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
                '"strict" forbids the automounted token',
                # The annotation first: the field alone leaves the pod without any token.
                f"annotate namespace or pod template with {names.AUTOMOUNT}=disabled, inject=replace; "
                "if it needs no API access, set automountServiceAccountToken: false",
                "automountedVolumes",
                "variables.tokenVolumes.filter(v, v.automounted).map(v, 'volume \"' + v.name + '\"').join(', ')",
                is_fixed_by_injection=True,
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
    """Return the rules of a level in a version."""
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
    pod: Facts, own: LevelVersion, limits: Limits, floor: Level = "off"
) -> tuple[Violation, ...]:
    """Return the violations of the namespace's own level and of the floor, rule by rule.

    Of one check only as many are returned as a sentence has room for.
    """
    rules = _OF[own.level, own.version]
    if floor != "off":
        # In the order of RULES, so that the webhook's message is the one of the API server.
        floor_rules = _OF[floor, LATEST]
        rules = tuple(rule for rule in RULES if rule in rules or rule in floor_rules)
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
        # Two tokens of one volume may have the same problem, and the sentence names volumes.
        if found == last and not value:
            continue
        last = found
        if texts is None:
            others = f", or use one of {limits.allowed_text}" if limits.allowed_text else ""
            fill = {"maximum": limits.maximum, "advised": limits.advised, "allowed": others}
            fix = other_fix(pod, limits) if check.is_fixed_by_injection else ""
            texts = check.problem.format(**fill), fix or check.fix.format(**fill)
        yield Violation(rule.slug, field, place, value, *texts)
        # A pod can have thousands of violations, and nobody sees more than the sentence shows.
        told += len(value) + 2
        if told > 2 * MAX_PLACES_CHARS:
            return


def other_fix(pod: Facts, limits: Limits) -> str:
    """What to do about an automounted token that is valid for a year though the namespace injects;
    empty where that is not so.
    """
    if not limits.injects or not any(_lasts_a_year(pod, limits, automounted=True)):
        return ""
    says_no = (pod.pod.metadata.annotations or {}).get(names.INJECT) == "disabled"
    return OPTED_OUT if says_no else NOT_CHANGED


def sentences(violations: Iterable[Violation]) -> list[str]:
    """Return one sentence for each group of violations that differ only in their place.

    A sentence begins with the rule and ends with the fix.
    """
    groups: dict[tuple[str, str, str, str], dict[Place, list[str]]] = {}
    for found in violations:
        places = groups.setdefault((found.rule, found.condition, found.problem, found.fix), {})
        places.setdefault(found.place, []).append(found.value)
    return [
        f"[{rule}] {truncate(', '.join(_place(*at) for at in places.items()), MAX_PLACES_CHARS)}{condition and f' ({condition})'}: "
        f"{problem}; {fix}"
        for (rule, condition, problem, fix), places in groups.items()
    ]


def _place(place: Place, values: list[str]) -> str:
    kind, name = place
    return f"{kind} {quote(name, 63)}" + (f" ({', '.join(values)})" if values[0] else "")
