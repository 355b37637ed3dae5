"""The tokens of one pod: what each is for, how long it lives, whether it is rotated, and which
level it reaches by the rules of enforcement.

Lifetimes are those that the API server gives a kubelet: 3607 seconds with its own audience become a
year (`Limits.is_extended`), and a legacy token in a Secret never expires. What a PersistentVolume
refers to, and what a container reads through the API, is not seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..core import names, views
from ..core.full_views import (
    FullContainer,
    FullPod,
    FullProjected,
    FullSource,
    FullSpec,
    FullVolume,
)
from ..core.levels import LATEST, LevelVersion
from ..core.limits import Limits
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.views import TokenSource
from ..enforcement import rules, validate
from ..enforcement.facts import Facts
from ..enforcement.preview import unnumbered
from ..simulation import living
from ..simulation.mounts import Mounted, by_volume
from .legacy import legacy_tokens
from .mounts import NOWHERE, mount_of, told
from .report import LEVELS, NEVER, UNKNOWN, Level, Mount, Source, lifetime_text, lowest
from .views import CsiDriver, Pod

COMPLYING = TokenSource(expiration_seconds=names.MIN_EXPIRATION_SECONDS)
"""A token that no rule is about: the shortest, for the API server."""


class Judge(NamedTuple):
    """What the tokens of a namespace are judged by. `legacy` are the names of its Secrets with
    legacy tokens, `drivers` the CSI drivers by name; None where they could not be seen.
    """

    cluster: ClusterPolicy
    namespace: NamespacePolicy
    legacy: frozenset[str] | None
    drivers: Mapping[str, CsiDriver] | None

    def limits(self, level: Level) -> Limits:
        of = "off" if level == "none" else level
        return validate.limits_of(self.cluster, self.namespace, of, "off", self.legacy)


class TokenFacts(NamedTuple):
    """What is told of a token, whichever pod of a template has it: the fields of `report.Token`
    from `source` on.
    """

    source: Source
    audience: str
    requested_seconds: int | None
    lifetime_seconds: int | None
    lifetime: str
    rotated: bool
    level: Level
    volume: str
    secret: str
    file: str
    mounts: tuple[Mount, ...]
    more_mounts: int


class Tokens(NamedTuple):
    """The tokens of a pod, and sentences of the rules that keep any of them from `strict`.

    `secrets` are the legacy tokens' Secrets that it refers to, also where it has no token of them.
    The rules refuse such a pod all the same, so `level` may be below that of each token.
    """

    tokens: tuple[TokenFacts, ...]
    sentences: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    level: Level = "strict"


def tokens_of(pod: Pod, judge: Judge) -> Tokens:
    """Every token that a pod has."""
    facts = Facts(pod.as_full)
    found = (*_projected(pod, judge), *_legacy(pod, judge), *_of_drivers(pod, judge))
    strict = LevelVersion("strict", LATEST)
    violations = rules.evaluate(facts, strict, judge.limits("strict"))
    sentences = tuple(rules.sentences(map(unnumbered, violations)))
    used = dict.fromkeys(secret for _, _, secret in facts.secrets) if judge.legacy else {}
    secrets = tuple(secret for secret in used if secret in (judge.legacy or ()))
    level: Level = min((one.level for one in found), key=LEVELS.index, default="strict")
    return Tokens(found, sentences, secrets, level_of(pod.as_full, judge) if secrets else level)


def _projected(pod: Pod, judge: Judge) -> Iterator[TokenFacts]:
    mounts = by_volume(pod.as_full)
    for volume in pod.spec.volumes or ():
        yield from _in_volume(pod, volume, mounts.get(volume.name, ()), judge)


def _in_volume(
    pod: Pod, volume: FullVolume, mounts: Sequence[Mounted], judge: Judge
) -> Iterator[TokenFacts]:
    limits = judge.limits("none")
    kind, shown = living.kind_of(volume)
    places = [mount_of(*one) for one in mounts]
    mounted, of_mounts = told(places), _level_of_mounts(mounts, judge)
    is_rotated = not any(mount.sub_path for mount in places)
    # What else is in it tells whether a token of this name was automounted.
    is_automounted = views.is_automounted(volume)
    rest = tuple(one for one in volume.full_sources if one.service_account_token is None)
    for token in volume.tokens:
        requested = token.expiration_seconds or names.API_DEFAULT_EXPIRATION_SECONDS
        lifetime = _lifetime(requested, token.audience or "", limits)
        is_as_plugins = is_automounted and token.path == names.TOKEN_FILE
        sources = (FullSource(token), *(rest if is_as_plugins else ()))
        yield TokenFacts(
            _source(pod, kind, token),
            token.audience or "",
            token.expiration_seconds,
            lifetime,
            lifetime_text(lifetime),
            is_rotated,
            lowest(of_mounts, _level_of_one(volume.name, sources, judge)),
            shown,
            "",
            token.path,
            *mounted,
        )


def _source(pod: Pod, kind: str, token: TokenSource) -> Source:
    if not kind:
        return "projected"
    # The plugin writes 3607 seconds; other ones in its volume are written by us.
    is_rewritten = token.expiration_seconds != names.YEAR_TRAP_SECONDS and (
        names.STATUS in (pod.metadata.annotations or ())
    )
    return "automounted" if kind == living.OF_KUBERNETES and not is_rewritten else "boundtoken"


def _lifetime(requested: int, audience: str, limits: Limits) -> int:
    return names.YEAR_SECONDS if limits.is_extended(requested, (audience,)) else requested


def level_of(pod: FullPod, judge: Judge) -> Level:
    """The strictest level that a pod complies with, in the limits of its namespace."""
    facts = Facts(pod)
    for level in ("strict", "bound"):
        if not rules.evaluate(facts, LevelVersion(level, LATEST), judge.limits(level)):
            return level
    return "none"


def _level_of_one(volume: str, sources: tuple[FullSource, ...], judge: Judge) -> Level:
    """The level that a token reaches which is in this volume, and mounted nowhere."""
    alone = FullVolume(volume, FullProjected(sources))
    return level_of(FullPod(spec=FullSpec(volumes=(alone,))), judge)


def _level_of_mounts(mounts: Sequence[Mounted], judge: Judge) -> Level:
    """The level that a token reaches which complies with it but for these mounts."""
    if not mounts:
        return "strict"
    containers = tuple(FullContainer(name, (mount,)) for name, mount in mounts)
    volume = FullVolume(mounts[0][1].name, FullProjected((FullSource(COMPLYING),)))
    spec = FullSpec(volumes=(volume,), containers=containers)
    return level_of(FullPod(spec=spec), judge)


def _legacy(pod: Pod, judge: Judge) -> Iterator[TokenFacts]:
    for one in legacy_tokens(pod, judge.legacy or ()) if judge.legacy else ():
        yield TokenFacts(
            *("legacy-secret", "", None, None, NEVER, False, "none"),
            *(one.volume, one.secret, one.file, *one.mounts),
        )


def _of_drivers(pod: Pod, judge: Judge) -> Iterator[TokenFacts]:
    """Tokens that the kubelet requests for a CSI driver, which gets them instead of the containers.

    Source: kubernetes/pkg/volume/csi/csi_mounter.go (podServiceAccountTokenAttrs).
    """
    limits = judge.limits("none")
    for volume in pod.spec.volumes or ():
        if volume.csi is None:
            continue
        if judge.drivers is None:
            yield TokenFacts(
                "csi", "", None, None, UNKNOWN, False, "none", volume.name, "", "", *NOWHERE
            )
            continue
        driver = judge.drivers.get(volume.csi.driver)
        for token in (driver.spec.token_requests or ()) if driver is not None else ():
            requested = token.expiration_seconds or names.API_DEFAULT_EXPIRATION_SECONDS
            lifetime = _lifetime(requested, token.audience, limits)
            projected = FullSource(TokenSource("", token.audience or None, requested))
            yield TokenFacts(
                "csi",
                token.audience,
                token.expiration_seconds,
                lifetime,
                lifetime_text(lifetime),
                driver is not None and bool(driver.spec.requires_republish),
                _level_of_one(volume.name, (projected,), judge),
                volume.name,
                "",
                "",
                *NOWHERE,
            )


def automounts(volume: FullVolume) -> bool:
    """Whether Kubernetes or we gave the pod this volume because it automounts."""
    return views.is_automounted(volume) or views.is_ours(volume)
