"""The cache of the legacy token Secrets: their names by namespace, and nothing else of them is
ever asked for.
"""

from collections import defaultdict

from ..core import names
from .watch import Bookmark, Changed, Deleted, Disconnected, Event, Listed, ObjectMeta

PATH = "/api/v1/secrets"
SELECTOR = f"type={names.LEGACY_TOKEN_TYPE}"
"""A field that the API server can select by (pkg/registry/core/secret SelectableFields)."""

Name = tuple[str, str]
"""Namespace and name."""


def from_metadata(metadata: ObjectMeta) -> Name:
    """What we keep of a Secret."""
    return metadata.namespace, metadata.name


class LegacyTokens:
    """Which Secrets hold legacy tokens. `synced` is false until they have been listed once."""

    def __init__(self) -> None:
        self.synced = False
        self._names: defaultdict[str, set[str]] = defaultdict(set)

    def of(self, namespace: str) -> frozenset[str] | None:
        """Their names in a namespace; None while nobody knows."""
        return frozenset(self._names.get(namespace, ())) if self.synced else None

    def apply(self, event: Event[Name]) -> None:
        """Let one event of the stream happen to the cache."""
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
