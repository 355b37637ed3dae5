"""Legacy tokens that a pod has of Secrets: which key is where. Such a Secret has three keys, of
which one is the token (core/v1, ServiceAccountTokenKey): who mounts its ca.crt has no token.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..core import names
from ..simulation.mounts import Mounted, Shown, by_volume, part_of
from .mounts import NOWHERE, Mounts, mount_of, told
from .report import ENVIRONMENT, Mount
from .views import Container, Item, Pod, Volume

KEY = names.TOKEN_FILE


class LegacyToken(NamedTuple):
    """A token that a pod has. `volume` and `file` are empty of an environment, and `file` of a
    Secret that is given to the driver of a volume, which is no mount.
    """

    secret: str
    volume: str
    file: str
    mounts: Mounts


def legacy_tokens(pod: Pod, secrets: Iterable[str]) -> Iterator[LegacyToken]:
    """The tokens of these Secrets, once for each file and for each container that has one in its
    environment.
    """
    known = frozenset(secrets)
    mounts = by_volume(pod.as_full)
    for volume in pod.spec.volumes or ():
        yield from dict.fromkeys(_of_volume(volume, mounts.get(volume.name, ()), known))
    for container in _containers(pod):
        for secret in dict.fromkeys(_environment(container)):
            if secret in known:
                here = Mount(container.name, ENVIRONMENT)
                yield LegacyToken(secret, "", "", Mounts((here,)))


def _containers(pod: Pod) -> Iterator[Container]:
    spec = pod.spec
    for group in (spec.init_containers, spec.containers, spec.ephemeral_containers):
        yield from group or ()


def _environment(container: Container) -> Iterator[str]:
    for variable in container.env or ():
        source = variable.value_from.secret_key_ref if variable.value_from is not None else None
        if source is not None and source.key == KEY:
            yield source.name
    for source_of_all in container.env_from or ():
        if source_of_all.secret_ref is not None:
            yield source_of_all.secret_ref.name


def _of_volume(
    volume: Volume, mounts: Sequence[Mounted], known: frozenset[str]
) -> Iterator[LegacyToken]:
    files = [pair for pair in _files(volume) if pair[0] in known]
    shown = Shown((part_of(mount), (name, mount)) for name, mount in mounts)
    by_places: dict[int, Mounts] = {}
    for secret, file in files:
        places = shown.of(file)
        # The kubelet writes what nobody mounts, and a container of kubectl debug may mount it.
        if places or not mounts:
            if id(places) not in by_places:
                by_places[id(places)] = told([mount_of(*one) for one in places])
            yield LegacyToken(secret, volume.name, file, by_places[id(places)])
    mounted = {"spec.volumes.secret.secretName", "spec.volumes.projected.sources.secret.name"}
    for field, secret in volume.secrets:
        if secret in known and field not in mounted:
            yield LegacyToken(secret, volume.name, "", NOWHERE)


def _files(volume: Volume) -> Iterator[tuple[str, str]]:
    """The files with the key of a token that would be in a volume, with the Secret of each."""
    if volume.secret is not None:
        yield from _written(volume.secret.secret_name, volume.secret.items)
    for source in volume.projected.sources or () if volume.projected is not None else ():
        if source.secret is not None:
            yield from _written(source.secret.name, source.secret.items)


def _written(secret: str, items: tuple[Item, ...] | None) -> Iterator[tuple[str, str]]:
    if not items:
        yield secret, KEY
    for item in items or ():
        if item.key == KEY:
            yield secret, item.path
