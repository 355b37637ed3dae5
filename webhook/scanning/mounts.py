"""The mounts that are told of a token: a pod may have thousands for each of a thousand tokens."""

from collections.abc import Sequence
from typing import NamedTuple

from ..core.full_views import FullMount
from ..simulation.mounts import part_of
from .report import Mount

MAX_MOUNTS = 100
"""Told of one token: three for each of thirty containers."""


class Mounts(NamedTuple):
    """What is told, and how many more there are."""

    shown: tuple[Mount, ...]
    more: int = 0


NOWHERE = Mounts(())


def mount_of(container: str, mount: FullMount) -> Mount:
    """A mount as it is told."""
    return Mount(container, mount.mount_path, bool(mount.read_only), bool(part_of(mount)))


def told(mounts: Sequence[Mount], limit: int = MAX_MOUNTS) -> Mounts:
    """All of them; where they are too many, those that keep a token from `strict` before others."""
    if len(mounts) <= limit:
        return Mounts(tuple(mounts))
    worst_first = sorted(mounts, key=lambda one: one.read_only and not one.sub_path)
    return Mounts(tuple(worst_first[:limit]), len(mounts) - limit)
