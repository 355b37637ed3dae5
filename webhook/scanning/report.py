"""What a scan tells: the one object that every format is made of. Its JSON is described in
docs/reference.md; an earlier report is read by the same types.
"""

from typing import Literal, get_args

import msgspec

from ..core import names

Source = Literal["automounted", "boundtoken", "projected", "legacy-secret", "csi"]
Level = Literal["none", "bound", "strict"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the weakest to the strictest."""
Code = Literal[
    "year-long",
    "legacy",
    "missing",
    "stale",
    "strict",
    "unused-account",
    "automount",
    "uncovered",
    "fault",
    "unreadable",
]
"""Every finding; docs/reference.md explains each."""
CODES: tuple[Code, ...] = get_args(Code)
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
FAIL_ON: tuple[Code, ...] = ("year-long", "legacy", "missing", "stale", "strict")
VERSION = 1
NEVER, UNKNOWN = "never", "unknown"
ENVIRONMENT = "env"
"""Stands for a path where a Secret is in the environment of a container."""
_UNITS = ((names.YEAR_SECONDS, "year"), (86400, "day"), (3600, "h"), (60, "min"), (1, "s"))


def lifetime_text(seconds: int) -> str:
    """A lifetime for people, such as "1 year" or "1 h 5 min": at most its two largest units."""
    parts: list[str] = []
    for size, unit in _UNITS:
        number, seconds = divmod(seconds, size)
        if number:
            plural = "s" if number > 1 and unit in ("year", "day") else ""
            parts.append(f"{number} {unit}{plural}")
    return " ".join(parts[:2]) or "0 s"


class _Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The base of all parts: immutable, camelCase in JSON."""


class Mount(_Part, frozen=True):
    """Where a container has a token; the path is ENVIRONMENT for a Secret in its environment."""

    container: str
    path: str
    read_only: bool = True
    sub_path: bool = False


class Token(_Part, frozen=True):
    """A token of a living pod, or of a template that has no pods. `lifetime_seconds` is None where
    it never expires or is not known, which `lifetime` tells. `more_mounts` is how many mounts are
    left out, of a pod that has a great many.
    """

    namespace: str
    object: str
    owner: str
    service_account: str
    source: Source
    audience: str
    requested_seconds: int | None
    lifetime_seconds: int | None
    lifetime: str
    rotated: bool
    level: Level
    volume: str
    secret: str
    """Of a legacy token."""
    file: str
    """In the volume; empty of a CSI driver and of an environment."""
    mounts: tuple[Mount, ...]
    more_mounts: int = 0


class LeftOut(_Part, frozen=True):
    """How many tokens of a pod, or of a template, are not among the tokens: it has a great many,
    and those that live longest are told of each source. Everything that is counted or judged is of
    all of them.
    """

    namespace: str
    object: str
    owner: str
    tokens: int


class Namespace(_Part, frozen=True):
    """A namespace: what its policy says, and what its pods and templates hold. `level` is the
    lowest of its tokens, `after_restart` the lowest once all are made again; both are `strict`
    where there are none. `inject` is empty where the policy is not known.
    """

    name: str
    inject: str
    automount: str
    level: Level
    after_restart: Level
    enforce: str
    covered: bool
    why: str
    pods: int
    tokens: int
    year_long: int
    faults: tuple[str, ...]


class Finding(_Part, frozen=True):
    """Something to do about an object, or about a namespace where `object` is empty. `fix` is a
    command, or empty; `place` is the file of the object, where it is from one.
    """

    code: Code
    severity: Severity
    namespace: str
    object: str
    message: str
    fix: str = ""
    place: str = ""


class Secret(_Part, frozen=True):
    """A legacy token, which never expires. `last_used` is a date, or empty where it was not used
    since the API server tracks it.
    """

    namespace: str
    name: str
    service_account: str
    last_used: str
    mounted_by: tuple[str, ...]


class ServiceAccount(_Part, frozen=True):
    """A service account that nobody uses but that has Secrets, or that need not automount.
    `mounted_by` are objects that have one of the Secrets.
    """

    namespace: str
    name: str
    used_by: int
    secrets: tuple[str, ...]
    automount: bool
    mounted_by: tuple[str, ...] = ()


class Minter(_Part, frozen=True):
    """Who may get tokens of others: in a namespace, or in the whole cluster where it is `*`."""

    namespace: str
    subject: str
    can: tuple[str, ...]
    by: str


class Unread(_Part, frozen=True):
    """What could not be seen, and why."""

    what: str
    why: str


class Selection(_Part, frozen=True):
    """What was to be looked at, as the flags say it: nothing is everything. `files` is whether it
    was files, and no cluster. `configuration` is a hash of what everything was judged by, and
    `configured` whether flags gave any of that; the hash is empty in a report of an older release.
    """

    namespaces: tuple[str, ...] = ()
    selector: str = ""
    namespace_selector: str = ""
    files: bool = False
    configuration: str = ""
    configured: bool = False


Change = Literal["new", "gone"]


class Incomparable(_Part, frozen=True):
    """How many rows of a list are in one report alone, and might be in the other had it looked
    there. `code` is of findings; `change` is what they would be, and `why` what was not seen.
    """

    what: str
    change: Change
    code: str
    count: int
    why: str


class Gone(_Part, frozen=True):
    """What an earlier report has, and this one has not any more. `time` is of the earlier one.
    `not_comparable` is what is neither new nor gone, as far as one can know.
    """

    time: str
    tokens: tuple[Token, ...] = ()
    findings: tuple[Finding, ...] = ()
    secrets: tuple[Secret, ...] = ()
    service_accounts: tuple[ServiceAccount, ...] = ()
    minters: tuple[Minter, ...] = ()
    not_comparable: tuple[Incomparable, ...] = ()


class Report(_Part, frozen=True, kw_only=True):
    """A scan. `since` is None but for a comparison with an earlier report; then only what is new is
    in the other lists. `selection` is None in one of an older release.
    """

    kind: Literal["Scan"] = "Scan"
    version: int = VERSION
    time: str
    context: str = ""
    complete: bool = True
    selection: Selection | None = None
    namespaces: tuple[Namespace, ...] = ()
    tokens: tuple[Token, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    findings: tuple[Finding, ...] = ()
    secrets: tuple[Secret, ...] = ()
    service_accounts: tuple[ServiceAccount, ...] = ()
    minters: tuple[Minter, ...] = ()
    unread: tuple[Unread, ...] = ()
    since: Gone | None = None


def is_year_long(seconds: int | None) -> bool:
    """Whether a lifetime is a year or more; None, for ever or not known, is not."""
    return seconds is not None and seconds >= names.YEAR_SECONDS


def lowest(one: Level, other: Level) -> Level:
    """The weaker of two levels."""
    return min(one, other, key=LEVELS.index)
