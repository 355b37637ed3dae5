"""The cache of legacy token Secrets: only their names, by namespace. Nothing else of a Secret is
ever requested.
"""

from collections import defaultdict

from ..core import names
from .watch import Bookmark, Changed, Deleted, Disconnected, Event, Listed, ObjectMeta

PATH = "/api/v1/secrets"
SELECTOR = f"type={names.LEGACY_TOKEN_TYPE}"
"""The API server can select Secrets by this field (pkg/registry/core/secret,
SelectableFields)."""

Name = tuple[str, str]
"""Namespace and name."""


def from_metadata(metadata: ObjectMeta) -> Name:
    """The part of a Secret that is kept."""
    return metadata.namespace, metadata.name


class LegacyTokens:
    """The Secrets that hold legacy tokens. `synced` is False until they have been listed."""

    def __init__(self) -> None:
        self.synced = False
        self._names: defaultdict[str, set[str]] = defaultdict(set)

    def of(self, namespace: str) -> frozenset[str] | None:
        """Their names in a namespace; None before the first list."""
        return frozenset(self._names.get(namespace, ())) if self.synced else None

    def apply(self, event: Event[Name]) -> None:
        """Apply one event of the stream."""
        match event:
            case Listed(items=items):
                self._names.clear()
                for namespace, name in items:
                    self._names[namespace].add(name)
                self.synced = True
            case Changed(item=(namespace, name)):
                self._names[namespace].add(name)
            case Deleted(item=(namespace, name)):
                self._names[namespace].discard(name)
            case Bookmark() | Disconnected():
                pass
