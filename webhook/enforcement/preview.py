"""Preview what the requirements of a namespace mean for its existing pods.

Each pod is in one of three groups: it complies, it complies after a restart (created again by its
owner it would be admitted: `forecast`), or it will be refused, and by which rule. Pod Security
admission answers a change of its labels with the same kind of warnings. Nothing is denied.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from ..core import names, policy, views
from ..core.full_views import FullPod, FullSpec
from ..core.levels import LATEST, Level, LevelVersion, Mode
from ..core.limits import Limits
from ..core.policy import ClusterPolicy, NamespacePolicy, TokenPolicy
from ..core.text import quote
from ..core.views import Metadata, View, is_automounted
from . import forecast, rules, templates, validate
from .facts import Facts
from .rules import Violation

TEMPLATE_HASH = "pod-template-hash"  # apps/v1 DefaultDeploymentUniqueLabelKey
MAX_OWNERS = 3
MAX_SHAPES = 1000
"""Of pods that are evaluated once and remembered: a namespace has far fewer templates."""
RESTART = "such as by kubectl rollout restart"
"""The fix for a pod that opted out of what its namespace injects."""
CRITICAL = ("system-node-critical", "system-cluster-critical")
RELYING = (
    "complies by injection only, and is refused while boundtoken is down; where the cluster needs it to start, exclude its "
    "namespace (namespaces.excluded)"
)


class LabelledMetadata(Metadata, frozen=True):
    labels: dict[str, str] | None = None


class PodStatus(View, frozen=True):
    phase: str = ""


class ListedSpec(FullSpec, frozen=True):
    host_network: bool | None = None
    priority_class_name: str | None = None


class ListedPod(View, frozen=True):
    """A pod as it is listed."""

    metadata: LabelledMetadata = LabelledMetadata()
    spec: ListedSpec = ListedSpec()
    status: PodStatus = PodStatus()

    @property
    def owner(self) -> str:
        """The object that people would edit: its Deployment, its controller, or the pod itself."""
        controller = self.metadata.controller
        if controller is None:
            return f"pod/{self.metadata.name}"
        kind, name = owner_of(controller.kind, controller.name, self.metadata.labels)
        return f"{kind.lower()}/{name}"

    @property
    def is_of_the_cluster(self) -> bool:
        """Whether other pods may depend on it to start: network and storage drivers, meshes."""
        controller = self.metadata.controller
        return (
            bool(self.spec.host_network)
            or self.spec.priority_class_name in CRITICAL
            or (controller is not None and controller.kind == "DaemonSet")
        )

    @property
    def relies_on_injection(self) -> bool:
        """Whether its token comes from injection, so that a replacement pod would not comply if
        boundtoken were down.
        """
        return any(
            views.is_ours(volume)
            or (
                is_automounted(volume)
                and all(
                    token.expiration_seconds != names.YEAR_TRAP_SECONDS for token in volume.tokens
                )
            )
            for volume in self.spec.volumes or ()
        )


def owner_of(kind: str, name: str, labels: Mapping[str, str] | None) -> tuple[str, str]:
    """Kind and name of what people would edit where this controls a pod with these labels: the
    Deployment of a ReplicaSet, else itself.
    """
    suffix = "-" + (labels or {}).get(TEMPLATE_HASH, "")
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return "Deployment", name.removesuffix(suffix)
    return kind, name


class Requirement(NamedTuple):
    """What a mode requires of pods, and what the next pods get."""

    own: LevelVersion
    floor: Level
    limits: Limits
    given: TokenPolicy
    overrides: bool


def modes(
    before: NamespacePolicy, after: NamespacePolicy, cluster: ClusterPolicy, *, every: bool
) -> tuple[Mode, ...]:
    """Return those of the modes `enforce` and `warn` that require something of pods, and something
    else than before; with `every` also those that require the same.
    """
    found: dict[Mode, Requirement] = {}
    for mode in ("enforce", "warn"):
        requirement = _requirement(mode, after, cluster)
        # If both modes require the same, the preview for enforce says it all.
        if (
            requirement is not None
            and (every or requirement != _requirement(mode, before, cluster))
            and requirement not in found.values()
        ):
            found[mode] = requirement
    return tuple(found)


def _requirement(
    mode: Mode, namespace: NamespacePolicy, cluster: ClusterPolicy
) -> Requirement | None:
    """Return what a mode requires of pods, or None if it requires nothing."""
    own = namespace.enforcement.of(mode)
    floor = cluster.enforce_floor if mode == "enforce" else "off"
    if (own.level, floor) == ("off", "off"):
        return None
    token_limits = validate.limits_of(cluster, namespace, own.level, floor)
    given, overrides = namespace.resolution.policy, namespace.locks.pod_overrides
    return Requirement(own, floor, token_limits, given, overrides)


class _Result(NamedTuple):
    """What a mode says of pods that are alike, as they exist and created again."""

    violates: bool
    refusals: tuple[str, ...]
    """The sentences of the violations after a restart; empty if there are none."""


class _Shape(NamedTuple):
    """Pods that are alike, and so get the same results."""

    results: dict[Mode, _Result]
    relies: bool


_EXEMPT = _Shape({}, relies=False)

Owners = dict[str, int]
"""How many pods each owner has."""


class _Groups(msgspec.Struct):
    """The pods of one namespace under one mode, by what becomes of them."""

    complies: int = 0
    restart: Owners = msgspec.field(default_factory=dict)
    """They violate, and comply when they are created again."""
    refused: Owners = msgspec.field(default_factory=dict)
    """They violate, and will be refused when they are created again."""
    lost: Owners = msgspec.field(default_factory=dict)
    """They comply, and will be refused when they are created again."""
    sentences: dict[str, Owners] = msgspec.field(default_factory=dict)
    """Why pods will be refused, and of which owners."""


class Counts(NamedTuple):
    """How many pods are in each group. Those that will be refused may comply now."""

    comply: int
    comply_after_restart: int
    refused: int


def shape_of(metadata: Metadata, spec: FullSpec) -> bytes:
    """A digest of what is evaluated of a pod: the same for all pods of one template."""
    text = msgspec.json.encode(spec)
    for volume in spec.volumes or ():
        if is_automounted(volume):
            # Its name is another one in every pod.
            text = text.replace(volume.name.encode(), names.AUTOMOUNTED_PREFIX.encode())
    ours = msgspec.json.encode(policy.own_annotations(metadata.annotations))
    return hashlib.sha256(text + b"\0" + ours).digest()


class Preview:
    """Collects the pods of one namespace, page by page, and what `modes` say of them."""

    def __init__(
        self,
        name: str,
        cluster: ClusterPolicy,
        namespace: NamespacePolicy,
        modes: tuple[Mode, ...],
        legacy_tokens: frozenset[str] | None = None,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._namespace = namespace
        self._legacy_tokens = legacy_tokens
        self._groups: dict[Mode, _Groups] = {mode: _Groups() for mode in modes}
        self._shapes: dict[bytes, _Shape] = {}
        self._critical: Owners = {}
        self._relying: Owners = {}
        """How many pods of which owner comply by injection only. The first have the pods that other
        pods may depend on to start."""

    @property
    def finds_violations(self) -> bool:
        """Whether any pod violates now, or will be refused."""
        return any(
            groups.restart or groups.refused or groups.lost for groups in self._groups.values()
        )

    def counts(self, mode: Mode) -> Counts:
        """Return how many pods are in each group."""
        groups = self._groups[mode]
        refused = sum(groups.refused.values()) + sum(groups.lost.values())
        return Counts(groups.complies, sum(groups.restart.values()), refused)

    def add(self, pods: Iterable[ListedPod]) -> None:
        """Evaluate these pods. Pods that have ended use no token any more, and are skipped."""
        for pod in pods:
            if pod.status.phase in ("Succeeded", "Failed"):
                continue
            shape, owner = self._shape(pod), pod.owner
            if shape.relies:
                _count(self._critical if pod.is_of_the_cluster else self._relying, owner)
            for mode, result in shape.results.items():
                self._group(self._groups[mode], result, owner)

    def _shape(self, pod: ListedPod) -> _Shape:
        """Return the results for a pod. They are the same for all pods of one template, so each
        shape is evaluated once.
        """
        digest = shape_of(pod.metadata, pod.spec)
        shape = self._shapes.get(digest)
        if shape is None:
            shape = self._evaluate(pod)
            if len(self._shapes) < MAX_SHAPES:
                self._shapes[digest] = shape
        return shape

    def _evaluate(self, pod: ListedPod) -> _Shape:
        if validate.exempt_by_pod(pod.spec, self._name, self._cluster):
            return _EXEMPT
        full = FullPod(pod.metadata, pod.spec)
        again = forecast.created_again(full, self._name, self._cluster, self._namespace)
        facts, facts_again = Facts(full), Facts(again)
        says_no = (pod.metadata.annotations or {}).get(names.INJECT) == "disabled"
        told = _for_opted_out if says_no else unnumbered
        results = {
            mode: _Result(
                bool(self._violations(mode, facts)),
                tuple(rules.sentences(map(told, self._violations(mode, facts_again)))),
            )
            for mode in self._groups
        }
        enforced = results.get("enforce")
        complies = enforced is not None and not (enforced.violates or enforced.refusals)
        return _Shape(results, complies and pod.relies_on_injection)

    def _violations(self, mode: Mode, facts: Facts) -> tuple[Violation, ...]:
        return validate.violations_of(
            mode, facts, self._cluster, self._namespace, self._legacy_tokens
        )

    @staticmethod
    def _group(groups: _Groups, result: _Result, owner: str) -> None:
        if result.refusals:
            _count(groups.refused if result.violates else groups.lost, owner)
            for sentence in result.refusals:
                _count(groups.sentences.setdefault(sentence, {}), owner)
        elif result.violates:
            _count(groups.restart, owner)
        else:
            groups.complies += 1

    def lines(self, *, every: bool = True) -> list[str]:
        """Return one line for each group and for each reason of a refusal; none if all comply.

        With `every` a line also names all pods that comply by injection only, and otherwise only
        those that other pods may depend on to start.
        """
        lines: list[str] = []
        for mode, groups in self._groups.items():
            lines += self._summary(mode, groups)
            lines += [f"{_owners(owners)}: {text}" for text, owners in groups.sentences.items()]
            if groups.restart:
                verb = _verb("comply", sum(groups.restart.values()))
                lines.append(f"{_owners(groups.restart)}: {verb} after a restart, {RESTART}")
        for relying in (self._critical, self._relying) if every else (self._critical,):
            if relying:
                lines.append(f"{_owners(relying)}: {RELYING}")
        return lines

    def _summary(self, mode: Mode, groups: _Groups) -> list[str]:
        """Return how many pods are in the groups of pods that do not simply comply."""
        level, lines = self._level(mode), []
        refused = "will be refused" if mode == "enforce" else "will be warned of"
        if groups.restart or groups.refused:
            after, never = sum(groups.restart.values()), sum(groups.refused.values())
            parts = [f"{after} {_verb('comply', after)} after a restart"] if after else []
            parts += [f"{never} {refused} ({_owners(groups.refused)})"] if never else []
            rest = groups.complies
            more = f"; {rest} {_verb('comply', rest)}" if rest else ""
            who = self._pods("violate", after + never)
            lines.append(f"{who} {level}: {', '.join(parts)}{more}")
        if groups.lost:
            who = self._pods("comply", sum(groups.lost.values()))
            lines.append(
                f"{who} with {level} now, and {refused} when created again ({_owners(groups.lost)})"
            )
        return lines

    def _pods(self, verb: str, number: int) -> str:
        # kubectl prints a text once, however many namespaces it is about, so it has the name.
        pods = "existing pod" if number == 1 else "existing pods"
        return f"{number} {pods} in namespace {quote(self._name, 63)} {_verb(verb, number)}"

    def _level(self, mode: Mode) -> str:
        own, floor = self._namespace.enforcement.of(mode), self._cluster.enforce_floor
        level = quote(own.level if own.version == LATEST else str(own))
        if mode != "enforce":
            return f"the {mode} level {level}"
        if floor == "off":
            return level
        under = f"the cluster's enforceFloor {quote(floor)}"
        return under if own.level == "off" else f"{level} and {under}"


def _verb(verb: str, number: int) -> str:
    return {"comply": "complies", "violate": "violates"}[verb] if number == 1 else verb


def _count(owners: Owners, owner: str) -> None:
    owners[owner] = owners.get(owner, 0) + 1


def unnumbered(violation: Violation) -> Violation:
    """Return the violation as it is equal for all pods of an owner: the plugin's volume has
    another name in each.
    """
    kind, name = violation.place
    if not name.startswith(names.AUTOMOUNTED_PREFIX):
        return violation
    return msgspec.structs.replace(violation, place=(kind, templates.AUTOMOUNTED))


def _for_opted_out(violation: Violation) -> Violation:
    """The same for a pod that says `inject: disabled`: what its namespace says cannot help it."""
    violation = unnumbered(violation)
    if names.INJECT not in violation.fix:
        return violation
    return msgspec.structs.replace(violation, fix=rules.OPTED_OUT)


def _owners(owners: Owners) -> str:
    shown = [
        f"{owner} ({count} pods)" if count > 1 else owner for owner, count in sorted(owners.items())
    ]
    more = len(shown) - MAX_OWNERS
    return ", ".join(shown[:MAX_OWNERS]) + (f" and {more} more" if more > 0 else "")
