"""What a namespace demands of its pods: a level and a version for each mode, in the manner of Pod
Security admission.

A fault in `enforce` counts as the strictest level, because somebody wanted pods to be judged, and a
judge that guesses is worth nothing; under `warn` and `audit` it is only noted.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from . import names
from .faults import Fault

Mode = Literal["enforce", "warn", "audit"]
Level = Literal["off", "bound", "strict"]
MODES: tuple[Mode, ...] = get_args(Mode)
LEVEL_OF: dict[Mode, str] = {"enforce": names.ENFORCE, "warn": names.WARN, "audit": names.AUDIT}
VERSION_OF: dict[Mode, str] = {
    "enforce": names.ENFORCE_VERSION,
    "warn": names.WARN_VERSION,
    "audit": names.AUDIT_VERSION,
}
"""The annotations of a mode."""
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the one that demands nothing to the one that demands all."""
STRICTEST: Level = LEVELS[-1]
VERSIONS = ("v1",)
"""In the order of their release. What a level means is fixed for a version, so that a later one
never denies by surprise."""
LATEST = "v1"
"""What `latest` means: a decision of its own, so that a version can be written, tested and shipped
before it is anybody's."""


class LevelVersion(msgspec.Struct, frozen=True):
    """A level in a version of its rules."""

    level: Level = "off"
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


class EnforcementPolicy(msgspec.Struct, frozen=True):
    """One demand for each mode."""

    enforce: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()

    def of(self, mode: Mode) -> LevelVersion:
        return {"enforce": self.enforce, "warn": self.warn, "audit": self.audit}[mode]


def read(annotations: Mapping[str, str]) -> tuple[EnforcementPolicy, list[Fault]]:
    """What these annotations of a namespace demand, and what was wrong with them."""
    faults: list[Fault] = []
    enforce, warn, audit = (_level_version(mode, annotations, faults) for mode in MODES)
    return EnforcementPolicy(enforce=enforce, warn=warn, audit=audit), faults


def stricter(one: Level, other: Level) -> Level:
    """Of two levels the one that demands more."""
    return max(one, other, key=LEVELS.index)


def _level_version(mode: Mode, annotations: Mapping[str, str], faults: list[Fault]) -> LevelVersion:
    level, version = (
        annotations.get(LEVEL_OF[mode], "off"),
        annotations.get(VERSION_OF[mode], "latest"),
    )
    if version != "latest" and version not in VERSIONS:
        right = " or ".join(f'"{each}"' for each in (*VERSIONS, "latest"))
        faults.append(
            Fault("namespace", VERSION_OF[mode], version, f"latest is used, must be {right}")
        )
        version = "latest"
    if level not in LEVELS:
        counts_as: Level = STRICTEST if mode == "enforce" else "off"
        said = f'counts as "{counts_as}"' if mode == "enforce" else "ignored"
        faults.append(
            Fault(
                "namespace",
                LEVEL_OF[mode],
                level,
                f'{said}, must be "off", "bound" or "strict", spelled exactly so',
            )
        )
        level = counts_as
    return LevelVersion(
        next(each for each in LEVELS if each == level), LATEST if version == "latest" else version
    )
