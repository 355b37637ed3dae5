"""Which mounts a volume of a pod has, and which of them show a file of it: worked out in one pass,
since a pod of a megabyte may have thousands of both.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from ..core.full_views import FullMount, FullPod

T = TypeVar("T")
Mounted = tuple[str, FullMount]
"""The name of a container, and its mount."""


def by_volume(pod: FullPod) -> Mapping[str, list[Mounted]]:
    """The mounts of each volume by its name, in the order of the containers."""
    found: defaultdict[str, list[Mounted]] = defaultdict(list)
    for _, container in pod.spec.all_containers():
        for mount in container.volume_mounts or ():
            found[mount.name].append((container.name, mount))
    return found


def part_of(mount: FullMount) -> str:
    """The part of a volume that is mounted; empty for all of it."""
    return mount.sub_path or mount.sub_path_expr or ""


class _Folder:
    __slots__ = ("folders", "indexes")

    def __init__(self) -> None:
        self.folders: dict[str, _Folder] = {}
        self.indexes: list[int] = []


class Shown(Generic[T]):
    """What is mounted of a volume: pairs of a part of it and what that is mounted as. What an
    expression makes of variables is not known, and such a part may show any file.
    """

    def __init__(self, parts: Iterable[tuple[str, T]]) -> None:
        self._mounted: list[T] = []
        self._root = _Folder()
        self._by_folders: dict[tuple[int, ...], tuple[T, ...]] = {}
        for index, (part, one) in enumerate(parts):
            self._mounted.append(one)
            folder = self._root
            for step in () if "$(" in part else _steps(part):
                folder = folder.folders.setdefault(step, _Folder())
            folder.indexes.append(index)

    def of(self, file: str) -> tuple[T, ...]:
        """What shows this file, in the order that was given; one object for files that the same
        parts show.
        """
        on_the_way = [self._root]
        for step in _steps(file):
            folder = on_the_way[-1].folders.get(step)
            if folder is None:
                break
            on_the_way.append(folder)
        having = [folder for folder in on_the_way if folder.indexes]
        key = tuple(map(id, having))
        if key not in self._by_folders:
            indexes = sorted(index for folder in having for index in folder.indexes)
            self._by_folders[key] = tuple(self._mounted[index] for index in indexes)
        return self._by_folders[key]


def _steps(path: str) -> list[str]:
    """Of a path in a volume, in which the API server lets no `..` in."""
    return [step for step in path.split("/") if step not in ("", ".")]
