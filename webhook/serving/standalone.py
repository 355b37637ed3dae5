"""Namespaces from YAML files, for a process without a cluster."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import documents
from ..cluster.namespaces import NameAndAnnotations, NamespaceCache
from ..core import policy
from ..core.text import quote
from ..errors import BadInput
from ..log import Log
from . import files
from .files import Contents, Unreadable
from .follow import count_namespaces
from .process import freeze_garbage_collector

MAX_BYTES = 1 << 20
"""Of one file: some thousand Namespaces, and as much as a ConfigMap can hold."""


class NamespaceFiles:
    """Fills `cache` from files and folders, at construction and whenever their content changes.

    Raises: BadInput, with every fault of every file
    """

    def __init__(self, given: Iterable[Path], cache: NamespaceCache, log: Log) -> None:
        self._given = tuple(given)
        self._cache = cache
        self._log = log
        self._contents = files.read(yaml_files(self._given), MAX_BYTES)
        cache.replace_all(namespaces(self._contents))
        count_namespaces(cache)

    async def follow(self) -> None:
        """Fill the cache again after each change, for ever; files with faults change nothing."""
        freeze_garbage_collector()
        async for contents in files.changes(
            lambda: yaml_files(self._given), self._contents, MAX_BYTES
        ):
            try:
                self._cache.replace_all(await asyncio.to_thread(namespaces, contents))
            except BadInput as problem:
                self._log.error(
                    "namespaces rejected, keeping the previous ones", faults=problem.faults
                )
                continue
            count_namespaces(self._cache)
            self._log.info("namespaces read again", namespaces=len(self._cache))


def yaml_files(given: Iterable[Path]) -> list[Path]:
    """The given files, and for a folder the YAML files directly in it, in their order.

    A folder that cannot be read is in the result itself: reading it as a file tells the reason.
    """
    paths: list[Path] = []
    for path in given:
        try:
            inside = (
                sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
                if path.is_dir()
                else [path]
            )
        except OSError:
            inside = [path]
        paths += inside
    return paths


def namespaces(contents: Contents) -> list[NameAndAnnotations]:
    """The Namespace objects in these files; objects of other kinds are ignored.

    Raises: BadInput, naming every file and document that cannot be read
    """
    found: dict[str, NameAndAnnotations] = {}
    faults: list[str] = []
    for path, content in contents.items():
        try:
            found |= {namespace[0]: namespace for namespace in _in_file(path, content)}
        except BadInput as problem:
            faults += problem.faults
    if faults:
        raise documents.refusal(faults)
    return list(found.values())


def _in_file(path: Path, content: bytes | Unreadable) -> Iterator[NameAndAnnotations]:
    if isinstance(content, Unreadable):
        raise BadInput(f"{path}: {content.reason}")
    try:
        objects = documents.load(content, MAX_BYTES)
    except BadInput as problem:
        raise BadInput(f"{path}: {problem}") from problem
    for document in objects:
        if isinstance(document, dict) and (document.get("apiVersion"), document.get("kind")) == (
            "v1",
            "Namespace",
        ):
            yield _namespace(path, document)


def _namespace(path: Path, document: dict[str, Any]) -> NameAndAnnotations:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        raise BadInput(f"{path}: Namespace: metadata.name must be a string")
    annotations = metadata.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(
        isinstance(text, str) for pair in annotations.items() for text in pair
    ):
        raise BadInput(
            f"{path}: Namespace {quote(name)}: metadata.annotations must map strings to strings (quote numbers and true)"
        )
    return name, policy.namespace_annotations(annotations)
