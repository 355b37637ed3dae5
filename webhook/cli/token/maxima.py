"""How long a token of each namespace may live at most: from files with Namespaces, or from the
cluster.
"""

import argparse
import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ... import __version__, documents
from ...cluster.client import ApiClient
from ...cluster.credentials import FromKubeconfig, InCluster
from ...cluster.watch import PAGE, objects, pages
from ...core import names, policy
from ...core.policy import ClusterPolicy
from ...core.text import quote
from ...errors import BadInput, BoundtokenError
from ...serving.standalone import yaml_files
from ..process import say
from .access import access
from .reading import number

MAX_FILE_BYTES = 4 << 20
"""What `kubectl get namespaces -o yaml` prints of some thousand."""
CLUSTER_SECONDS = 10.0
"""For all namespaces; then the watch begins without them."""
LISTS = ("List", "NamespaceList")


def maxima(parsed: argparse.Namespace) -> dict[str, int]:
    """Seconds, of the namespaces that say so; says on standard error where they are from.

    Raises: BadInput, for a file
    """
    if parsed.filename:
        found = dict(_own_maxima(_in_files(parsed.filename)))
        say(
            f"{number(len(found), 'namespace')} with a maximum of their own in {', '.join(parsed.filename)}"
        )
        return found
    try:
        credentials = access(parsed).credentials
        found = asyncio.run(_of_cluster(credentials))
    except (BoundtokenError, TimeoutError, OSError) as problem:
        reason = str(problem) or type(problem).__name__
        say(f"the namespaces' own maxima are not known: {reason}; -f FILE gives them")
        return {}
    say(f"{number(len(found), 'namespace')} with a maximum of their own at {credentials.server}")
    return found


async def _of_cluster(credentials: FromKubeconfig | InCluster) -> dict[str, int]:
    annotations: dict[str, Mapping[str, str]] = {}
    async with asyncio.timeout(CLUSTER_SECONDS):
        async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
            async for page in pages(client, "/api/v1/namespaces", {"limit": str(PAGE)}):
                async for metadata in objects(page):
                    annotations[metadata.name] = metadata.annotations or {}
    return dict(_own_maxima(annotations.items()))


def _own_maxima(
    namespaces: Iterable[tuple[str, Mapping[str, str]]],
) -> Iterator[tuple[str, int]]:
    for name, annotations in namespaces:
        own = policy.resolve_namespace(ClusterPolicy(), policy.namespace_annotations(annotations))
        if own.locks.max_expiration_seconds < names.MAX_EXPIRATION_SECONDS_LIMIT:
            yield name, own.locks.max_expiration_seconds


def _in_files(given: list[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    for path in yaml_files(map(Path, given)):
        try:
            loaded = documents.load(documents.read(path, MAX_FILE_BYTES), MAX_FILE_BYTES)
            for document in loaded:
                for item in _items(document):
                    yield _namespace(item)
        except BadInput as problem:
            raise BadInput(f"{path}: {problem}") from problem


def _items(document: Any) -> Iterator[dict[str, Any]]:
    """The Namespaces in a document: itself, or those of a list."""
    listed = [document]
    if isinstance(document, dict) and document.get("kind") in LISTS:
        listed = document.get("items") or []
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and item.get("kind") == "Namespace":
            yield item


def _namespace(item: dict[str, Any]) -> tuple[str, Mapping[str, str]]:
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        raise BadInput("Namespace: metadata.name must be a string")
    annotations = metadata.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(
        isinstance(text, str) for pair in annotations.items() for text in pair
    ):
        raise BadInput(f"Namespace {quote(name)}: metadata.annotations must map strings to strings")
    return name, annotations
