"""The enforcement levels of a namespace: a level and a version for each mode, as in Pod Security
admission.

An invalid level in `enforce` counts as the strictest one: its author wanted enforcement, and a
misspelled level must not switch it off. In `warn` and `audit` it is ignored, with a warning.
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
"""The version annotation of each mode."""
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the weakest to the strictest."""
STRICTEST: Level = LEVELS[-1]
VERSIONS = ("v1",)
"""In the order of their release. The rules of a level are fixed for a version, so that an upgrade
of boundtoken never denies more pods by surprise."""
LATEST = "v1"
"""The version that `latest` means. It is set separately, so that a new version can be released
before it becomes the default."""


class LevelVersion(msgspec.Struct, frozen=True):
    """A level in a version of its rules."""

    level: Level = "off"
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


class EnforcementPolicy(msgspec.Struct, frozen=True):
    """The level of each mode."""

    enforce: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()

    def of(self, mode: Mode) -> LevelVersion:
        return {"enforce": self.enforce, "warn": self.warn, "audit": self.audit}[mode]


def read(annotations: Mapping[str, str]) -> tuple[EnforcementPolicy, list[Fault]]:
    """Return the levels in these annotations of a namespace, and the faults in them."""
    faults: list[Fault] = []
    enforce, warn, audit = (_level_version(mode, annotations, faults) for mode in MODES)
    return EnforcementPolicy(enforce=enforce, warn=warn, audit=audit), faults


def stricter(one: Level, other: Level) -> Level:
    """Return the stricter of two levels."""
    return max(one, other, key=LEVELS.index)


def _level_version(mode: Mode, annotations: Mapping[str, str], faults: list[Fault]) -> LevelVersion:
    level, version = (
        annotations.get(LEVEL_OF[mode], "off"),
        annotations.get(VERSION_OF[mode], "latest"),
    )
    if version != "latest" and version not in VERSIONS:
        right = " or ".join(f'"{known}"' for known in (*VERSIONS, "latest"))
        faults.append(
            Fault("namespace", VERSION_OF[mode], version, f"latest is used, must be {right}")
        )
        version = "latest"
    if level not in LEVELS:
        counts_as: Level = STRICTEST if mode == "enforce" else "off"
        effect = f'counts as "{counts_as}"' if mode == "enforce" else "ignored"
        faults.append(
            Fault(
                "namespace",
                LEVEL_OF[mode],
                level,
                f'{effect}, must be "off", "bound" or "strict", spelled exactly so',
            )
        )
        level = counts_as
    # From LEVELS, because mypy does not know that the text is one of them.
    known_level = next(known for known in LEVELS if known == level)
    return LevelVersion(known_level, LATEST if version == "latest" else version)
