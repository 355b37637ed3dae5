"""Operations of RFC 6902 and the pointers they name; only add, replace and remove are ever made.

No `test`, because a failed one refuses the pod even under `failurePolicy: Ignore`
(docs/kubernetes.md, section 5). `move` and `copy` are not needed.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec


class Operation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
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
    """The pointer to `key` of the object at `pointer` (RFC 6901 section 3: `~` and `/` are escaped,
    in this order).
    """
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"


def append(pointer: str, held: object, values: list[Any]) -> list[Operation]:
    """The operations that put `values` last in the list at `pointer`; `held` is None where there is
    no list yet.
    """
    if not values:
        return []
    if held is None:
        return [add(pointer, values)]
    return [add(f"{pointer}/-", value) for value in values]


def annotate(
    pointer: str, held: Mapping[str, str] | None, wanted: Mapping[str, str | None]
) -> list[Operation]:
    """The operations that give the metadata at `pointer` the annotations `wanted`; None takes one
    away.

    `held` are the annotations that are there, None where there is no map (it may be absent or
    null).
    """
    at = f"{pointer}/annotations"
    if held is None:
        new = {key: value for key, value in wanted.items() if value is not None}
        return [add(at, new)] if new else []
    operations = []
    for key, value in wanted.items():
        if held.get(key) == value:
            continue
        path = member(at, key)
        operations.append(
            remove(path)
            if value is None
            else replace(path, value)
            if key in held
            else add(path, value)
        )
    return operations
