"""The tables of the page: the columns of each, and its rows as cells that a browser shows, sorts
and filters without knowing what they mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .....core import names
from .markup import clean

Report = Mapping[str, Any]
Kind = Literal["text", "name", "number", "badge", "command", "hidden"]
Cell = str | int | tuple[str, int | str, str]
"""A text or a number; or a text, what it is sorted by, and a remark below it."""

MAX_ROWS = 50_000
"""Of one table: more make a page that a browser does not scroll; the JSON has all."""
MAX_LINES = 20
"""Of one cell."""
SEVERITIES = ("error", "warning", "note")
LEVELS = ("none", "bound", "strict")
LIVES = {
    "never": "never expires",
    "year": "1 year or longer",
    "days": "1 day to 1 year",
    "hours": "1 hour to 1 day",
    "hour": "1 hour or less",
    "unknown": "unknown",
}
"""By how long a token lives, the worst first."""
YES = {True: "yes", False: "no"}
FOREVER = 1 << 53
"""Sorts behind every lifetime."""


@dataclass(frozen=True)
class Column:
    """A column: the word that a filter names it by, and what stands above it."""

    key: str
    label: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Table:
    """A table, the noun of its rows in the plural, and how many rows there are without MAX_ROWS."""

    id: str
    title: str
    noun: str
    empty: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    total: int

    def document(self) -> dict[str, Any]:
        """What the browser gets of it."""
        return {
            "id": self.id,
            "noun": self.noun,
            "empty": self.empty,
            "columns": [
                {"key": column.key, "label": column.label, "kind": column.kind}
                for column in self.columns
            ],
            "rows": self.rows,
        }


@dataclass(frozen=True)
class _Rows:
    """How a table is made of a list of the report, whose name is `field` where it is not the id."""

    id: str
    title: str
    noun: str
    empty: str
    cells: Callable[[Mapping[str, Any]], list[Cell]]
    field: str = ""


NAMESPACE = Column("namespace", "Namespace", "name")
OBJECT = Column("object", "Object", "name")
ACCOUNT = Column("account", "Service account", "name")
LEVEL = Column("level", "Level", "badge")
COLUMNS = {
    "findings": (
        Column("severity", "Severity", "badge"),
        Column("code", "Finding", "name"),
        NAMESPACE,
        OBJECT,
        Column("message", "What it is"),
        Column("fix", "To fix it", "command"),
    ),
    "tokens": (
        NAMESPACE,
        OBJECT,
        ACCOUNT,
        Column("source", "Source"),
        Column("audience", "Audience"),
        Column("lifetime", "Lives for"),
        Column("rotated", "Rotated"),
        LEVEL,
        Column("mounts", "Mounted in", "name"),
        Column("life", "", "hidden"),
    ),
    "namespaces": (
        NAMESPACE,
        Column("inject", "Inject"),
        LEVEL,
        Column("enforce", "Enforced"),
        Column("covered", "Covered"),
        Column("pods", "Pods", "number"),
        Column("tokens", "Tokens", "number"),
        Column("long", "Year-long", "number"),
        Column("faults", "Bad annotations"),
    ),
    "secrets": (
        NAMESPACE,
        Column("secret", "Secret", "name"),
        ACCOUNT,
        Column("used", "Last used"),
        Column("mounted", "Mounted by", "name"),
    ),
    "accounts": (
        NAMESPACE,
        ACCOUNT,
        Column("uses", "Pods that use it", "number"),
        Column("secrets", "Its Secrets", "name"),
        Column("automount", "Automounts"),
    ),
    "minters": (
        NAMESPACE,
        Column("subject", "Who", "name"),
        Column("can", "May"),
        Column("by", "By", "name"),
    ),
    "unread": (Column("what", "Not seen"), Column("why", "Why")),
}


def tables(report: Report) -> dict[str, Table]:
    """Return all tables of a report, by id.

    Shape: of `report`, what `boundtoken scan -o json` prints
    """
    return {kind.id: _table(kind, report) for kind in _KINDS}


def life(token: Mapping[str, Any]) -> str:
    """Return how long a token lives, as a key of LIVES."""
    seconds = token["lifetimeSeconds"]
    if seconds is None:
        return "unknown" if token["lifetime"] == "unknown" else "never"
    steps = ((names.YEAR_SECONDS, "year"), (86_400, "days"), (3_601, "hours"))
    return next((key for least, key in steps if seconds >= least), "hour")


def _finding(one: Mapping[str, Any]) -> list[Cell]:
    place = one.get("place", "")
    return [
        _ranked(one["severity"], SEVERITIES),
        clean(one["code"]),
        clean(one["namespace"]),
        (clean(one["object"]), clean(one["object"]), clean(f"in {place}") if place else ""),
        clean(one["message"]),
        clean(one["fix"]),
    ]


def _token(one: Mapping[str, Any]) -> list[Cell]:
    owner = clean(one["owner"])
    requested = one["requestedSeconds"]
    seconds = one["lifetimeSeconds"]
    kind = life(one)
    mounts = _mounts(one["mounts"])
    lasts = {"never": FOREVER, "unknown": -1}.get(kind, seconds)
    return [
        clean(one["namespace"]),
        (clean(one["object"]), clean(one["object"]), f"of {owner}" if owner else ""),
        clean(one["serviceAccount"]),
        clean(one["source"]),
        clean(one["audience"]) or "the API server's own",
        (clean(one["lifetime"]), lasts, f"{requested} s requested" if requested else ""),
        YES[one["rotated"]],
        _ranked(one["level"], LEVELS),
        (mounts, mounts, clean(_kept(one))),
        kind,
    ]


def _kept(token: Mapping[str, Any]) -> str:
    """What a token is in."""
    parts = (("volume", "volume"), ("file", "file"), ("Secret", "secret"))
    return ", ".join(f"{word} {token[key]}" for word, key in parts if token.get(key))


def _mounts(mounts: Sequence[Mapping[str, Any]]) -> str:
    """Where a token is, each place once with the containers that have it there."""
    places: dict[str, list[str]] = {}
    for mount in mounts:
        traits = [
            *([] if mount["readOnly"] else ["writable"]),
            *(["subPath, never rotated"] if mount["subPath"] else []),
        ]
        place = mount["path"] + (f" ({', '.join(traits)})" if traits else "")
        places.setdefault(place, []).append(mount["container"])
    shown = [f"{', '.join(containers)}: {place}" for place, containers in places.items()]
    return _lines(shown) or "no container"


def _namespace(one: Mapping[str, Any]) -> list[Cell]:
    covered = YES[one["covered"]]
    later = one.get("afterRestart", one["level"])
    remark = clean(f"{later} after a restart") if later != one["level"] else ""
    return [
        clean(one["name"]),
        clean(one["inject"]),
        (clean(one["level"]), _rank(one["level"], LEVELS), remark),
        clean(one["enforce"]) or "no",
        (covered, covered, clean(one["why"])),
        one["pods"],
        one["tokens"],
        one["yearLong"],
        _lines(one["faults"]),
    ]


def _secret(one: Mapping[str, Any]) -> list[Cell]:
    return [
        clean(one["namespace"]),
        clean(one["name"]),
        clean(one["serviceAccount"]),
        clean(one["lastUsed"]) or "not recorded",
        _lines(one["mountedBy"]) or "nobody",
    ]


def _account(one: Mapping[str, Any]) -> list[Cell]:
    return [
        clean(one["namespace"]),
        clean(one["name"]),
        one["usedBy"],
        _lines(one["secrets"]),
        YES[one["automount"]],
    ]


def _minter(one: Mapping[str, Any]) -> list[Cell]:
    everywhere = one["namespace"] == "*"
    return [
        "the whole cluster" if everywhere else clean(one["namespace"]),
        clean(one["subject"]),
        _lines(one["can"]),
        clean(one["by"]),
    ]


def _unread(one: Mapping[str, Any]) -> list[Cell]:
    return [clean(one["what"]), clean(one["why"])]


def _ranked(text: str, order: Sequence[str]) -> Cell:
    return (clean(text), _rank(text, order), "")


def _rank(text: str, order: Sequence[str]) -> int:
    return order.index(text) if text in order else len(order)


def _lines(texts: Sequence[str]) -> str:
    shown = [clean(text) for text in texts[:MAX_LINES]]
    more = len(texts) - len(shown)
    return "\n".join([*shown, *([f"and {more} more"] if more else [])])


_KINDS = (
    _Rows("findings", "Findings", "findings", "Nothing was found.", _finding),
    _Rows("tokens", "Tokens", "tokens", "No pod or template has a token.", _token),
    _Rows("namespaces", "Namespaces", "namespaces", "No namespace was seen.", _namespace),
    _Rows(
        "secrets",
        "Secrets with a token that never expires",
        "Secrets",
        "No Secret with a token was seen.",
        _secret,
    ),
    _Rows(
        "accounts",
        "Service accounts to tidy up",
        "service accounts",
        "No service account stands out.",
        _account,
        "serviceAccounts",
    ),
    _Rows(
        "minters", "Who may mint tokens", "rights", "Nobody was seen who may mint tokens.", _minter
    ),
    _Rows("unread", "What was not seen", "gaps", "Nothing was left out.", _unread),
)


def _table(kind: _Rows, report: Report) -> Table:
    found = report[kind.field or kind.id]
    if kind.id == "findings":
        found = sorted(found, key=lambda one: _rank(one["severity"], SEVERITIES))
    rows = [kind.cells(one) for one in found[:MAX_ROWS]]
    columns = COLUMNS[kind.id]
    return Table(kind.id, kind.title, kind.noun, kind.empty, columns, rows, len(found))
