"""What a namespace demands of its pods: a level and a version for each mode, in the manner of Pod Security admission.

A fault in `enforce` counts as the strictest level that could have been meant, because somebody wanted pods to be judged;
under `warn` and `audit` it is only noted.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from . import names

Mode = Literal["enforce", "warn", "audit"]
Level = Literal["off", "bound", "strict"]
MODES: tuple[Mode, ...] = get_args(Mode)
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the one that demands nothing to the one that demands all."""
VERSIONS = ("v1",)
"""What each level means is fixed for a version, so that a later release never denies by surprise."""
LATEST = VERSIONS[-1]


class Demand(msgspec.Struct, frozen=True):
    """A level in a version of its rules."""

    level: Level = "off"
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"


class Demands(msgspec.Struct, frozen=True):
    """One demand for each mode."""

    enforce: Demand = Demand()
    warn: Demand = Demand()
    audit: Demand = Demand()

    def of(self, mode: Mode) -> Demand:
        return {"enforce": self.enforce, "warn": self.warn, "audit": self.audit}[mode]


Problem = tuple[str, str, str]
"""Annotation, value, and what became of it and would be right."""


def read(annotations: Mapping[str, str], floor: Level = "off") -> tuple[Demands, list[Problem]]:
    """What these annotations of a namespace demand, not less than the floor, and what was wrong with them."""
    problems: list[Problem] = []
    demands = {mode: _demand(mode, annotations, problems) for mode in MODES}
    asked = demands["enforce"]
    demands["enforce"] = Demand(max(asked.level, floor, key=LEVELS.index), asked.version)
    return Demands(**demands), problems


def named(annotations: Mapping[str, str] | None) -> Level:
    """The level that a namespace's own `enforce` names, be it spelled well or not."""
    return _demand("enforce", annotations or {}, []).level


def _demand(mode: Mode, annotations: Mapping[str, str], problems: list[Problem]) -> Demand:
    level, version = annotations.get(names.DOMAIN + mode, "off"), annotations.get(names.DOMAIN + mode + "-version", "latest")
    if version != "latest" and version not in VERSIONS:
        right = " or ".join(f'"{each}"' for each in (*VERSIONS, "latest"))
        problems.append((f"{names.DOMAIN}{mode}-version", version, f"latest is used, must be {right}"))
        version = "latest"
    if level not in LEVELS:
        meant: Level = _meant(level) if mode == "enforce" else "off"
        said = f'counts as "{meant}"' if mode == "enforce" else "ignored"
        problems.append((names.DOMAIN + mode, level, f'{said}, must be "off", "bound" or "strict", spelled exactly so'))
        level = meant
    return Demand(next(each for each in LEVELS if each == level), LATEST if version == "latest" else version)


def _meant(text: str) -> Level:
    """The strictest level that the text could mean: the one it spells but for case and blanks, otherwise the strictest."""
    return next((level for level in LEVELS if level == text.strip().lower()), "strict")
