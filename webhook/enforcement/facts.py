"""What several rules look at in one pod, found once: its tokens, their mounts, the Secrets that it
takes something from.
"""

from collections.abc import Iterator
from functools import cached_property

from ..core import views
from ..core.full_views import FullContainer, FullMount, FullPod

VOLUMES = "spec.volumes"
KINDS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}

Place = tuple[str, str]
"""A kind and a name: `("volume", "data")`, `("container", "app")`."""


class Facts:
    """A pod with what several checks look at, found once."""

    def __init__(self, pod: FullPod) -> None:
        self.pod = pod
        self.holding: list[tuple[str, bool, list[views.TokenSource]]] = []
        """The volumes that hold tokens: their names, whether they are automounted ones, their
        tokens."""
        for volume in pod.spec.volumes or ():
            if volume.projected is not None and (tokens := list(volume.tokens)):
                self.holding.append((volume.name, views.is_automounted(volume), tokens))

    @cached_property
    def token_mounts(self) -> list[tuple[str, FullContainer, FullMount]]:
        """Every mount of such a volume, with its container and the field that one stands in."""
        holding = {name for name, _, _ in self.holding}
        return [
            (kind, container, mount)
            for kind, container in (self.pod.spec.all_containers() if holding else ())
            for mount in container.volume_mounts or ()
            if mount.name in holding
        ]

    @cached_property
    def secrets(self) -> list[tuple[str, Place, str]]:
        """Every place from which it takes a Secret that may hold a token: field, place, name."""
        return list(_secrets(self.pod))


def _secrets(pod: FullPod) -> Iterator[tuple[str, Place, str]]:
    for volume in pod.spec.volumes or ():
        for field, secret in volume.secrets:
            yield field, ("volume", volume.name), secret
    for kind, container in pod.spec.all_containers():
        if not container.env and not container.env_from:
            continue
        place = KINDS[kind], container.name
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
