"""Whether one of two scans could have seen what only the other one has: by what each was told to
look at, and by what it could not read.
"""

from collections import defaultdict
from typing import Literal, NamedTuple

from .needs import CONFIGURATION, place_of
from .report import Report, Selection

When = Literal["then", "now"]


class Row(NamedTuple):
    """What is to be known of a row: its namespace, empty or `*` for the whole cluster, and what a
    scan must read to see it. `is_labelled` is whether `-l` chooses it, and `is_hidden` whether the
    living pods that a scan sees may hide it, as they do a template. `title` is of tokens: the
    object that has it. `is_judged` is whether it depends on the configuration.
    """

    namespace: str
    needs: tuple[str, ...]
    is_labelled: bool = False
    is_hidden: bool = False
    title: str = ""
    is_judged: bool = False


class Seen:
    """What a scan saw."""

    def __init__(self, report: Report, when: When) -> None:
        self.when = when
        self.selection = report.selection or Selection()
        self.is_complete = report.complete
        self._namespaces = {space.name for space in report.namespaces}
        self._unread: defaultdict[str, set[str]] = defaultdict(set)
        for one in report.unread:
            resource, namespace = place_of(one)
            # The configuration is in one namespace, and counts in all.
            self._unread[resource].add("" if resource in CONFIGURATION else namespace)
        self._cut = {(one.namespace, one.owner or one.object) for one in report.left_out}

    def lacks(self, resource: str, namespace: str) -> bool:
        """Whether it could not read these objects of a namespace."""
        return bool(self._unread[resource] & {"", namespace})

    def has_cut(self, namespace: str, title: str) -> bool:
        """Whether it tells only some of the tokens of an object, which has too many."""
        return (namespace, title) in self._cut

    def leaves_out(self, namespace: str, other: Selection) -> str:
        """The flag by which it does not look at a namespace, which the other scan looked at."""
        own = self.selection
        if own.namespaces and namespace not in own.namespaces:
            return "-n"
        is_other = own.namespace_selector != other.namespace_selector
        is_chosen = not own.namespace_selector or namespace in self._namespaces
        return "--namespace-selector" if is_other and not is_chosen else ""


def why_not_seen(row: Row, lacking: Seen, having: Seen) -> str:
    """Why the scan that lacks a row may not have seen it; empty where it would have."""
    own, other = lacking.selection, having.selection
    if not lacking.is_complete or (row.is_hidden and not having.is_complete):
        which = having if lacking.is_complete else lacking
        return f"the scan was interrupted {which.when}"
    if own.files and not other.files:
        return f"only files were looked at {lacking.when}"
    is_spread = row.namespace in ("", "*")
    if not is_spread and (flag := lacking.leaves_out(row.namespace, other)):
        return f"{flag} leaves the namespace out {lacking.when}"
    is_narrower = bool(own.selector) or row.is_hidden
    if row.is_labelled and own.selector != other.selector and is_narrower:
        which = lacking if own.selector else having
        return f"-l may leave it out {which.when}"
    if row.is_judged and (given := _other_configuration(lacking, having)):
        return f"it was another configuration, by --config or --webhook-namespace {given.when}"
    return _unread(row, lacking, having)


def _other_configuration(lacking: Seen, having: Seen) -> Seen | None:
    """The scan that was given another configuration. What was changed in the cluster itself is a
    change like any other.
    """
    hashes = {one.selection.configuration for one in (lacking, having)}
    given = [one for one in (lacking, having) if one.selection.configured]
    return given[0] if len(hashes) > 1 and "" not in hashes and given else None


def _unread(row: Row, lacking: Seen, having: Seen) -> str:
    if row.title and lacking.has_cut(row.namespace, row.title):
        return f"its object had more tokens than are told {lacking.when}"
    for resource in row.needs:
        unseen = [one for one in (lacking, having) if one.lacks(resource, row.namespace)]
        if len(unseen) == 1:
            return f"{resource} could not be read {unseen[0].when}"
    return ""
