"""The variables of the policy for pods, in the order of their evaluation. Each is CEL with a
comment.
"""

from ...core import names
from ...core.levels import LATEST, LEVELS, STRICTEST, VERSIONS, Level
from ...core.limits import BAD_MAXIMUM, DEFAULT_MAXIMUM
from .. import cel, rules, validate
from .variables import ANNOTATIONS, MEASURES, TEXTS, USERNAME, Variable, advised

CREATED = "request.operation == 'CREATE'"

RULES_OF_LEVELS = """
@own[variables.level + ':' + variables.version]
  + @floor_rules[variables.floor]
"""
MAXIMUM = """
[
  variables.lock,
  // own level: what the namespace has set, or the level's default
  variables.level == 'off' ? @limit
    : variables.namespaceMaximum != 0 ? variables.namespaceMaximum
    : int(@default),
  // floor: what the namespace has set may lower it, and never raises it
  variables.floor == 'off' || variables.namespaceMaximum == 0 ? @limit : variables.namespaceMaximum,
  variables.floor == 'off' ? @limit : variables.floorMaximum,
  @limit
].min()
"""
NEW_EPHEMERAL_CONTAINERS = """
object.spec.?ephemeralContainers.orValue([]).filter(c, @created
  || !oldObject.spec.?ephemeralContainers.orValue([]).exists(old, old.name == c.name))
"""
MOUNTS_OF = """
(@containers).map(c, {
    'place': dyn('@kind "' + c.name + '"'),
    'mounts': dyn(c.?volumeMounts.orValue([]))
  })
"""
VOLUMES = """
object.spec.?volumes.orValue([])
  .filter(v, has(v.projected) && has(v.projected.sources) && v.projected.sources != null
    && v.projected.sources.exists(s, has(s.serviceAccountToken))
    && (@created || variables.mountsByContainer.exists(c, c.mounts.exists(m, m.name == v.name))))
  .map(v, {
    'name': dyn(v.name),
    'tokens': dyn(v.projected.sources.filter(s, has(s.serviceAccountToken)).map(s, {
      'seconds': dyn(s.serviceAccountToken.?expirationSeconds.orValue(@default)),
      'audience': dyn(s.serviceAccountToken.?audience.orValue(''))
    }).map(t, {
      'seconds': dyn(t.seconds),
      'audience': dyn(t.audience),
      'oneYear': dyn(t.seconds == @trap
        && (t.audience == '' || variables.apiAudiences == [] || t.audience in variables.apiAudiences)),
      'allowed': dyn(t.audience == '' || variables.anyAudience
        || t.audience in variables.allowedAudiences || t.audience in variables.apiAudiences)
    })),
    'automounted': dyn(v.name.startsWith('@prefix')
      && v.projected.sources.exists(s, has(s.serviceAccountToken) && s.serviceAccountToken.path == '@file')
      && v.projected.sources.exists(s, s.?configMap.?name.orValue('') == '@root_ca')
      && v.projected.sources.exists(s, s.?downwardAPI.?items.orValue([]).exists(i,
        i.path == 'namespace' && i.?fieldRef.?fieldPath.orValue('') == 'metadata.namespace')))
  })
"""
SENTENCE = """
('@slug' in variables.rules && variables.@name != '' ? ['[@slug] '
    + @places
    + @text] : [])
"""
OTHER_FIX = """
variables.automountedYears == '' || !(@inject in ['enabled', 'replace']) ? ''
  : object.metadata.?annotations[?'@name'].orValue('') == 'disabled' ? @opted_out
  : @not_changed
"""
MESSAGE = """
'namespace "' + request.namespace + '"'
  + (variables.level == 'off' ? ' is' + @under
    : @enforces + (variables.floor == 'off' ? '' : @under))
  + ': ' + variables.violations.join('. ')
"""


def variables() -> list[Variable]:
    """Return all variables. The last two are `violations`, one sentence for each, and `message`."""
    checks = [(rule, check) for rule in rules.RULES for check in rule.checks if check.cel]
    found = "\n  + ".join(_sentence(rule, check) for rule, check in checks)
    return [
        *ANNOTATIONS,
        *_levels(),
        *MEASURES,
        *_maximum(),
        *_parts(),
        *(
            (check.name, f"{rule.slug}: {check.problem.format(maximum='the maximum')}.", check.cel)
            for rule, check in checks
        ),
        (
            "otherFix",
            "What to do about an automounted token where the namespace is annotated already.",
            _other_fix(),
        ),
        ("violations", "One sentence for each violation.", found),
        ("message", "Who enforces which level, and all violations.", _message()),
    ]


def _levels() -> list[Variable]:
    level = cel.choice("namespaceAnnotations", names.ENFORCE, LEVELS, missing="off", bad=STRICTEST)
    version = cel.choice(
        "namespaceAnnotations", names.ENFORCE_VERSION, VERSIONS, missing=LATEST, bad=LATEST
    )
    floor = cel.choice(
        "bindingAnnotations", names.ENFORCE_FLOOR, LEVELS, missing="off", bad=STRICTEST
    )
    own = _table(
        {f"{level}:{version}": _slugs(level, version) for level in LEVELS for version in VERSIONS}
    )
    floor_rules = _table({str(level): _slugs(level, LATEST) for level in LEVELS})
    exempt = "\n  || ".join(
        (
            cel.is_in("request.namespace", names.EXCLUDED_NAMESPACES),
            cel.is_in("request.namespace", names.EXEMPT_NAMESPACES),
            cel.is_in(USERNAME, names.EXEMPT_USERNAMES),
            cel.is_in("variables.account", names.EXEMPT_SERVICE_ACCOUNTS),
            cel.is_in("object.spec.?runtimeClassName.orValue('')", names.EXEMPT_RUNTIME_CLASSES),
        )
    )
    account = "request.namespace + '/' + object.spec.?serviceAccountName.orValue('default')"
    return [
        ("level", "The namespace's own level. An invalid one counts as the strictest.", level),
        ("version", "The version of the level's rules.", version),
        ("floor", "The lowest level of any namespace.", floor),
        (
            "rules",
            "The rules of both levels.",
            cel.fill(RULES_OF_LEVELS, own=own, floor_rules=floor_rules),
        ),
        ("account", "The pod's service account.", account),
        ("exempt", "Whether the configuration excludes or exempts the pod.", exempt),
    ]


def _maximum() -> list[Variable]:
    floor = cel.seconds(
        "bindingAnnotations",
        names.ENFORCE_FLOOR_MAX_EXPIRATION_SECONDS,
        missing=_default("variables.floor"),
        bad=BAD_MAXIMUM,
    )
    own = cel.fill(
        MAXIMUM, limit=names.MAX_EXPIRATION_SECONDS_LIMIT, default=_default("variables.level")
    )
    return [
        (
            "floorMaximum",
            "The floor's maximum in seconds: the configuration's, or the default of its level.",
            floor,
        ),
        (
            "maximum",
            "Tokens must comply with own level and floor, so the smallest maximum applies.",
            own,
        ),
        advised(),
    ]


def _default(level: str) -> str:
    """Return CEL for the default maximum of a level, as text."""
    return f"({level} == 'bound' ? '{DEFAULT_MAXIMUM['bound']}' : '{DEFAULT_MAXIMUM['strict']}')"


def _parts() -> list[Variable]:
    containers = {
        "init container": f"{CREATED} ? object.spec.?initContainers.orValue([]) : []",
        "container": f"{CREATED} ? object.spec.containers : []",
        "ephemeral container": "variables.newEphemeralContainers",
    }
    mounts = "\n  + ".join(
        cel.fill(MOUNTS_OF, kind=kind, containers=code) for kind, code in containers.items()
    )
    volumes = cel.fill(
        VOLUMES,
        created=CREATED,
        default=names.API_DEFAULT_EXPIRATION_SECONDS,
        trap=names.YEAR_TRAP_SECONDS,
        prefix=names.AUTOMOUNTED_PREFIX,
        file=names.TOKEN_FILE,
        root_ca=names.ROOT_CA_CONFIGMAP,
    )
    return [
        (
            "newEphemeralContainers",
            "Of an update only what it adds is validated, so that kubectl debug works on older pods.",
            cel.fill(NEW_EPHEMERAL_CONTAINERS, created=CREATED),
        ),
        (
            "mountsByContainer",
            "The mounts of all containers of a new pod, or of those that an update adds.",
            mounts,
        ),
        (
            "tokenVolumes",
            "The volumes with tokens of a new pod, or those that new containers mount.",
            volumes,
        ),
        ("tokenVolumeNames", "Their names.", "variables.tokenVolumes.map(v, v.name)"),
    ]


def _slugs(level: Level, version: str) -> tuple[str, ...]:
    return tuple(
        rule.slug for rule in rules.of(level, version) if any(check.cel for check in rule.checks)
    )


def _table(rows: dict[str, tuple[str, ...]]) -> str:
    return (
        "{\n"
        + ",\n".join(f"    {cel.text(key)}: {cel.listed(slugs)}" for key, slugs in rows.items())
        + "\n  }"
    )


def _sentence(rule: rules.Rule, check: rules.Check) -> str:
    places = cel.truncate(f"variables.{check.name}", rules.MAX_PLACES_CHARS)
    text = cel.concat(f": {check.problem}; {check.fix}", **TEXTS)
    if check.is_fixed_by_injection:
        problem, fix = cel.concat(f": {check.problem}; ", **TEXTS), cel.concat(check.fix, **TEXTS)
        text = f"{problem} + (variables.otherFix == '' ? {fix} : variables.otherFix)"
    return cel.fill(SENTENCE, slug=rule.slug, name=check.name, places=places, text=text)


def _other_fix() -> str:
    return cel.fill(
        OTHER_FIX,
        inject=cel.value("namespaceAnnotations", names.INJECT),
        name=names.INJECT,
        opted_out=cel.text(rules.OPTED_OUT),
        not_changed=cel.text(rules.NOT_CHANGED),
    )


def _message() -> str:
    under = cel.concat(validate.UNDER_FLOOR, floor="variables.floor")
    return cel.fill(
        MESSAGE,
        under=under,
        enforces=cel.concat(validate.ENFORCES, level="variables.level + ':' + variables.version"),
    )
