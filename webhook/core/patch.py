"""Operations of JSON Patch (RFC 6902): add, replace and remove.

There is no `test`, because a failed one denies the pod even under `failurePolicy: Ignore`
(docs/kubernetes.md, section 5). `move` and `copy` are not needed.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec


class Operation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, cache_hash=True):
    """One operation; `value` is any JSON value and missing for `remove`."""

    op: Literal["add", "replace", "remove"]
    path: str
    value: Any = msgspec.UNSET


def add(path: str, value: Any) -> Operation:
    return Operation("add", path, value)


def replace(path: str, value: Any) -> Operation:
    return Operation("replace", path, value)


def remove(path: str) -> Operation:
    return Operation("remove", path)


@lru_cache(maxsize=256)
def member(pointer: str, key: str) -> str:
    """Return the pointer to `key` in the object at `pointer`. `~` and `/` are escaped in this order
    (RFC 6901 section 3).
    """
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"


def append(pointer: str, present: object, values: list[Any]) -> list[Operation]:
    """Return the operations that append `values` to the list at `pointer`. `present` is that list,
    or None if it does not exist yet.
    """
    if not values:
        return []
    # `-` needs an existing list (RFC 6902 section 4.1).
    if present is None:
        return [add(pointer, values)]
    return [add(f"{pointer}/-", value) for value in values]


def annotate(
    pointer: str, present: Mapping[str, str] | None, desired: Mapping[str, str | None]
) -> list[Operation]:
    """Return the operations that set the annotations `desired` on the metadata at `pointer`. The
    value None removes an annotation.

    `present` are the existing annotations, or None if the map is absent or null.
    """
    at = f"{pointer}/annotations"
    if present is None:
        new = {key: value for key, value in desired.items() if value is not None}
        return [add(at, new)] if new else []
    operations = []
    for key, value in desired.items():
        if present.get(key) == value:
            continue
        path = member(at, key)
        operations.append(
            remove(path)
            if value is None
            else replace(path, value)
            if key in present
            else add(path, value)
        )
    return operations
