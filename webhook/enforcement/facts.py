"""Facts about one pod that several rules need, collected once: its tokens, their mounts, and the
Secrets that it uses.
"""

from collections.abc import Iterator
from functools import cached_property

from ..core import views
from ..core.full_views import FullContainer, FullMount, FullPod

VOLUMES = "spec.volumes"
CONTAINER_KINDS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}

Place = tuple[str, str]
"""A kind and a name: `("volume", "data")`, `("container", "app")`."""


class Facts:
    """A pod, with the facts that several checks need."""

    def __init__(self, pod: FullPod) -> None:
        self.pod = pod
        self.token_volumes: list[tuple[str, bool, list[views.TokenSource]]] = []
        """The volumes with tokens: name, whether it is automounted, tokens."""
        for volume in pod.spec.volumes or ():
            if volume.projected is not None and (tokens := list(volume.tokens)):
                self.token_volumes.append((volume.name, views.is_automounted(volume), tokens))

    @cached_property
    def token_mounts(self) -> list[tuple[str, FullContainer, FullMount]]:
        """Every mount of such a volume, with the field of its container, and the container."""
        with_token = {name for name, _, _ in self.token_volumes}
        return [
            (kind, container, mount)
            for kind, container in (self.pod.spec.all_containers() if with_token else ())
            for mount in container.volume_mounts or ()
            if mount.name in with_token
        ]

    @cached_property
    def secrets(self) -> list[tuple[str, Place, str]]:
        """Every use of a Secret that may contain a token: field, place, name of the Secret."""
        return list(_secrets(self.pod))


def _secrets(pod: FullPod) -> Iterator[tuple[str, Place, str]]:
    for volume in pod.spec.volumes or ():
        for field, secret in volume.secrets:
            yield field, ("volume", volume.name), secret
    for kind, container in pod.spec.all_containers():
        if not container.env and not container.env_from:
            continue
        place = CONTAINER_KINDS[kind], container.name
        for env in container.env or ():
            if env.value_from is not None and env.value_from.secret_key_ref is not None:
                yield (
                    f"spec.{kind}.env.valueFrom.secretKeyRef.name",
                    place,
                    env.value_from.secret_key_ref.name,
                )
        for env_from in container.env_from or ():
            if env_from.secret_ref is not None:
                yield f"spec.{kind}.envFrom.secretRef.name", place, env_from.secret_ref.name
