"""The tokens of one pod: what each is for, how long it lives, whether it is rotated, and which
level it reaches by the rules of enforcement.

Lifetimes are those that the API server gives a kubelet: 3607 seconds with its own audience become a
year (`Limits.is_extended`), and a legacy token in a Secret never expires. What a PersistentVolume
refers to, and what a container reads through the API, is not seen.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from ..core import names, views
from ..core.full_views import FullContainer, FullPod, FullProjected, FullSource, FullVolume
from ..core.levels import LATEST, LevelVersion
from ..core.limits import Limits
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.views import TokenSource
from ..enforcement import rules, validate
from ..enforcement.facts import Facts
from ..enforcement.preview import unnumbered
from ..simulation import living
from .legacy import legacy_tokens
from .report import LEVELS, NEVER, UNKNOWN, Level, Mount, Source, lifetime_text
from .views import CsiDriver, Pod


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
    limits = judge.limits("none")
    for volume in pod.spec.volumes or ():
        kind, shown = living.kind_of(volume)
        for token in volume.tokens:
            alone = _with_one(pod, volume, token)
            mounts = tuple(_mounts(alone.spec.all_containers()))
            requested = token.expiration_seconds or names.API_DEFAULT_EXPIRATION_SECONDS
            lifetime = _lifetime(requested, token.audience or "", limits)
            yield TokenFacts(
                _source(pod, kind, token),
                token.audience or "",
                token.expiration_seconds,
                lifetime,
                lifetime_text(lifetime),
                not any(mount.sub_path for mount in mounts),
                level_of(alone, judge),
                shown,
                "",
                token.path,
                mounts,
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


def _with_one(pod: Pod, volume: FullVolume, token: TokenSource) -> FullPod:
    """The pod with no other token than this one; what else is in its volume stays, which tells
    whether it was automounted.
    """
    others = tuple(one for one in volume.full_sources if one.service_account_token is None)
    alone = FullVolume(volume.name, FullProjected((FullSource(token), *others)))
    spec = msgspec.structs.replace(
        pod.spec,
        volumes=(alone,),
        init_containers=_mounting(pod.spec.init_containers, volume.name),
        containers=_mounting(pod.spec.containers, volume.name),
        ephemeral_containers=_mounting(pod.spec.ephemeral_containers, volume.name),
    )
    return FullPod(pod.metadata, spec)


def _mounting(
    containers: Iterable[FullContainer] | None, volume: str
) -> tuple[FullContainer, ...] | None:
    found = []
    for container in containers or ():
        mounts = tuple(one for one in container.volume_mounts or () if one.name == volume)
        if mounts:
            found.append(FullContainer(container.name, mounts))
    return tuple(found) or None


def _mounts(containers: Iterable[tuple[str, FullContainer]]) -> Iterator[Mount]:
    for _, container in containers:
        for mount in container.volume_mounts or ():
            is_part = bool(mount.sub_path or mount.sub_path_expr)
            yield Mount(container.name, mount.mount_path, bool(mount.read_only), is_part)


def _legacy(pod: Pod, judge: Judge) -> Iterator[TokenFacts]:
    for one in legacy_tokens(pod, judge.legacy or ()) if judge.legacy else ():
        yield TokenFacts(
            *("legacy-secret", "", None, None, NEVER, False, "none"),
            *(one.volume, one.secret, one.file, one.mounts),
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
            yield TokenFacts("csi", "", None, None, UNKNOWN, False, "none", volume.name, "", "", ())
            continue
        driver = judge.drivers.get(volume.csi.driver)
        for token in (driver.spec.token_requests or ()) if driver is not None else ():
            requested = token.expiration_seconds or names.API_DEFAULT_EXPIRATION_SECONDS
            lifetime = _lifetime(requested, token.audience, limits)
            projected = FullSource(TokenSource("", token.audience or None, requested))
            alone = FullVolume(volume.name, FullProjected((projected,)))
            spec = msgspec.structs.replace(
                pod.spec,
                volumes=(alone,),
                init_containers=None,
                containers=None,
                ephemeral_containers=None,
            )
            yield TokenFacts(
                "csi",
                token.audience,
                token.expiration_seconds,
                lifetime,
                lifetime_text(lifetime),
                driver is not None and bool(driver.spec.requires_republish),
                level_of(FullPod(pod.metadata, spec), judge),
                volume.name,
                "",
                "",
                (),
            )


def automounts(volume: FullVolume) -> bool:
    """Whether Kubernetes or we gave the pod this volume because it automounts."""
    return views.is_automounted(volume) or views.is_ours(volume)
