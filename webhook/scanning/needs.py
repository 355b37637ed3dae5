"""What a scan must see for each part of its report: resources, as `Report.unread` names them."""

from collections.abc import Mapping

from ..core.kinds import WORKLOADS
from .report import Code, Report, Unread

RESOURCES = {
    **{workload.kind.lower(): workload.resource for workload in WORKLOADS if not workload.is_owned},
    "job": "jobs",
    "replicationcontroller": "replicationcontrollers",
}
"""Of the templates that are looked at, by the kind of a title."""
TOKENS = ("pods", *RESOURCES.values())
CONFIGURATION = ("configmaps", "the configuration")
WOULD = ("namespaces", "serviceaccounts", *CONFIGURATION)
"""What decides what a pod would get."""
ACCOUNTS = ("serviceaccounts", "secrets", *TOKENS)
FINDINGS: Mapping[Code, tuple[str, ...]] = {
    "year-long": TOKENS,
    "missing": (*TOKENS, *WOULD),
    "stale": (*TOKENS, *WOULD),
    "strict": (*TOKENS, "secrets"),
    "legacy": (*TOKENS, "secrets"),
    "unused-account": ACCOUNTS,
    "automount": (*ACCOUNTS, *WOULD),
    "uncovered": ("namespaces", "mutatingwebhookconfigurations", *CONFIGURATION),
    "fault": ("namespaces", *TOKENS),
    "unreadable": TOKENS,
}
"""What must be seen, so that the absence of a finding says something."""
JUDGED: frozenset[Code] = frozenset(
    ("year-long", "missing", "stale", "strict", "automount", "uncovered", "fault")
)
"""Findings that another configuration may make, or take away: of what a pod would get, of what is
reached, and of the limits.
"""


def place_of(unread: Unread) -> tuple[str, str]:
    """The resource of what could not be seen, and its namespace where it was one."""
    what, _, namespace = unread.what.removeprefix("more ").partition(" in ")
    resource, _, name = what.partition("/")
    return resource, name if resource == "namespaces" else namespace


def unread_for(codes: tuple[Code, ...], report: Report) -> list[Unread]:
    """What could not be seen, and might have had such a finding."""
    needed = {what for code in codes for what in FINDINGS[code]}
    if any(token.source == "csi" and token.lifetime == "unknown" for token in report.tokens):
        needed.add("csidrivers")
    return [one for one in report.unread if place_of(one)[0] in needed]
