"""What several formats say in the same words, and texts that fit into columns."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ....core.text import one_line
from ....scanning.report import CODES, LEVELS, Code, Finding, Mount, Report, Token
from ....scanning.told import MAX_TOKENS
from ...explain.tree import columns

GAP = "  "
MAX_CHARACTERS_OF_COLUMN = 4
MEANINGS: dict[Code, str] = {
    "year-long": "tokens that live a year or more",
    "legacy": "tokens in Secrets, which never expire",
    "missing": "a token of boundtoken is requested, and there is none",
    "stale": "made under an older policy, with other tokens than now",
    "strict": 'tokens that do not reach "strict"',
    "unused-account": "service accounts that nobody uses, with Secrets",
    "automount": "service accounts that need not automount",
    "uncovered": "namespaces that boundtoken does not reach",
    "fault": "annotations with a bad value",
    "unreadable": "objects that the webhook cannot read",
}
"""Of every code, for people."""


def mount_text(mount: Mount) -> str:
    """Where a token is: the container, the path, and what is wrong with it."""
    remarks = "" if mount.read_only else ",writable"
    return f"{mount.container}:{mount.path}{remarks}{',subPath' if mount.sub_path else ''}"


def mounts_text(token: Token) -> str:
    """Where a token is, and how many more mounts there are than are told."""
    more = f" and {token.more_mounts:,} more" if token.more_mounts else ""
    return " ".join(map(mount_text, token.mounts)) + more


def left_out(report: Report) -> str:
    """How many tokens are not told; empty where all are."""
    count = sum(one.tokens for one in report.left_out)
    if not count:
        return ""
    objects = number(len(report.left_out), "object")
    return f"{number(count, 'more token')} of {objects} with more than {MAX_TOKENS}"


def lifetimes(tokens: Iterable[Token]) -> list[tuple[str, int, str]]:
    """For each lifetime, the longest first: how many tokens, and of which sources."""
    by_life: dict[str, Counter[str]] = {}
    for token in tokens:  # which are in this order
        by_life.setdefault(token.lifetime, Counter())[token.source] += 1
    return [
        (life, sources.total(), ", ".join(f"{name} {n:,}" for name, n in sources.most_common()))
        for life, sources in by_life.items()
    ]


def alike(tokens: Iterable[Token]) -> Counter[tuple[str, ...]]:
    """How many tokens there are of each namespace, owner, source, lifetime and level."""
    return Counter(
        (one.namespace, one.owner or one.object, one.source, one.lifetime, one.level)
        for one in tokens
    )


def levels(report: Report) -> str:
    """How many namespaces reach which level."""
    found = Counter(space.level for space in report.namespaces if space.tokens)
    return ", ".join(f"{found[level]:,} {level}" for level in LEVELS if found[level])


def by_code(findings: Iterable[Finding]) -> dict[Code, list[Finding]]:
    """The findings of each code, in the order of the codes."""
    found: dict[Code, list[Finding]] = {code: [] for code in CODES}
    for finding in findings:
        found[finding.code].append(finding)
    return {code: rows for code, rows in found.items() if rows}


def incomparable(report: Report) -> list[tuple[str, str]]:
    """Of a comparison what is neither new nor gone: how many of what, and why."""
    found = report.since.not_comparable if report.since is not None else ()
    return [
        (" ".join(filter(None, (f"{one.count:,}", one.code, one.what, f"({one.change})"))), one.why)
        for one in found
    ]


def title(finding: Finding) -> str:
    """The object of a finding, with its namespace."""
    return "/".join(filter(None, (finding.namespace, finding.object)))


def number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def fit(text: str, width: int) -> str:
    """The text on one line, in at most so many columns, with an ellipsis where it is cut."""
    # A character may have no column at all, and a text a million of them.
    line = one_line(text[: width * MAX_CHARACTERS_OF_COLUMN]) or "-"
    is_whole = len(text) <= width * MAX_CHARACTERS_OF_COLUMN
    if is_whole and columns(line) <= width:
        return line
    kept, used = "", 1
    for char in line:
        used += columns(char)
        if used > width:
            break
        kept += char
    return kept + "…"


def rows(header: Sequence[str], cells: Iterable[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Lines of aligned columns; `widths` are the most that each may take."""
    shown = [
        [fit(cell, width) for cell, width in zip(row, widths, strict=True)]
        for row in (header, *cells)
    ]
    longest = [max(map(columns, column)) for column in zip(*shown, strict=True)]
    return [
        GAP.join(
            cell + " " * (width - columns(cell)) for cell, width in zip(row, longest, strict=True)
        ).rstrip()
        for row in shown
    ]
