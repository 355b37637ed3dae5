"""A check, and what it finds. What could not be seen is never guessed: the check is unknown."""

import re
from collections.abc import Callable, Iterable
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from ..core.text import truncate

Status = Literal["passed", "warning", "failed", "unknown"]
APPLY = "kubectl apply -k OVERLAY"
"""OVERLAY stands for the folder that boundtoken was installed from, which the person knows: the
plain manifests would take away its image, its namespace and its configuration.
"""
AGAIN = "Apply the installation again: your overlay, or helm upgrade with the same values."
"""The cure of what an installation has and somebody took away or changed, whatever has made it. A
single manifest would take away what an overlay or values say in it.
"""
NOT_INSTALLED = "boundtoken is not installed"
"""Why nothing else is looked at where nothing of it is there."""
MAX_LISTED = 5
"""Of the things that are wrong in one sentence; the number of the others follows."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
MAX_TEXT_CHARS = 16_000
"""Of one finding: fifty faults of namespaces, or five denials of 5 KiB less their ends."""
T = TypeVar("T")
Seen = TypeVar("Seen")


class Finding(NamedTuple):
    """What a check found: a sentence, and the commands that mend it. `cure` stands instead of the
    check's own where that does not fit.
    """

    status: Status
    text: str = ""
    commands: tuple[str, ...] = ()
    cure: str = ""


class Unseen(msgspec.Struct, frozen=True):
    """Something that could not be seen, and why. It is no tuple, as some of what is seen are."""

    why: str


class NotSeen(Exception):
    """A check needs something that could not be seen, or that is missing; the text says what."""


class Check(NamedTuple, Generic[Seen]):
    """One thing that must hold. `id` is the anchor in docs/checks.md."""

    id: str
    group: str
    sentence: str
    cure: str
    judge: Callable[[Seen], Finding]


class Result(NamedTuple):
    """What one check found."""

    id: str
    group: str
    sentence: str
    cure: str
    finding: Finding

    @property
    def status(self) -> Status:
        return self.finding.status


def run(checks: Iterable[Check[Seen]], seen: Seen) -> tuple[Result, ...]:
    """The result of each check, in their order."""
    found = ((check, _judged(check, seen)) for check in checks)
    return tuple(
        Result(check.id, check.group, check.sentence, finding.cure or check.cure, finding)
        for check, finding in found
    )


def _judged(check: Check[Seen], seen: Seen) -> Finding:
    try:
        finding = check.judge(seen)
    except NotSeen as problem:
        finding = Finding("unknown", str(problem))
    return finding._replace(text=truncate(finding.text, MAX_TEXT_CHARS))


def there(part: T | Unseen | None, title: str = "") -> T:
    """The part, where it was seen and is there.

    Raises: NotSeen
    """
    if isinstance(part, Unseen):
        raise NotSeen(part.why)
    if part is None:
        raise NotSeen(f"{title} is missing")
    return part


def passed(text: str = "") -> Finding:
    return Finding("passed", text)


def warning(text: str, *commands: str, cure: str = "") -> Finding:
    return Finding("warning", text, commands, cure)


def failed(text: str, *commands: str, cure: str = "") -> Finding:
    return Finding("failed", text, commands, cure)


def all_of(
    problems: Iterable[str], *commands: str, text: str = "", status: Status = "failed"
) -> Finding:
    """Passed where there are no problems; else all of them in one sentence."""
    found = list(problems)
    return Finding(status, listed(found), commands) if found else passed(text)


def worst(*findings: Finding, text: str = "") -> Finding:
    """The findings that are worst, as one, with their cure where all have the same."""
    order: tuple[Status, ...] = ("failed", "unknown", "warning")
    for status in order:
        if some := [finding for finding in findings if finding.status == status]:
            commands = dict.fromkeys(one for finding in some for one in finding.commands)
            texts = dict.fromkeys(finding.text for finding in some)
            cures = {finding.cure for finding in some}
            cure = cures.pop() if len(cures) == 1 else ""
            return Finding(status, listed(list(texts)), tuple(commands), cure)
    return passed(text)


def is_name(text: str) -> bool:
    """Whether it is the name of an object, which is safe in a command."""
    return _NAME.fullmatch(text) is not None


def listed(texts: list[str], separator: str = "; ") -> str:
    """The texts in one, at most MAX_LISTED of them and how many more there are."""
    more = len(texts) - MAX_LISTED
    return separator.join(texts[:MAX_LISTED]) + (f"{separator}and {more} more" if more > 0 else "")


def status_of(results: Iterable[Result]) -> Status:
    """The worst of all, where what failed counts more than what is unknown."""
    statuses = {result.status for result in results}
    order: tuple[Status, ...] = ("failed", "unknown", "warning")
    return next((status for status in order if status in statuses), "passed")
