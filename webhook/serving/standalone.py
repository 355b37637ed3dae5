"""Namespaces from YAML files, where there is no cluster."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import documents
from ..cluster.namespaces import Namespace
from ..core import policy
from ..core.text import quote
from ..errors import BadInput
from .files import Contents, Unreadable

MAX_BYTES = 1 << 20
"""Of one file: some thousand Namespaces; what a ConfigMap could hold as well."""


def files(given: Iterable[Path]) -> list[Path]:
    """The YAML files among the given files and in the given folders, in their order; a folder is
    read flat.

    A folder that cannot be read stands for itself: who reads it as a file is told why.
    """
    found: list[Path] = []
    for path in given:
        try:
            inside = (
                sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml"))
                if path.is_dir()
                else [path]
            )
        except OSError:
            inside = [path]
        found += inside
    return found


def namespaces(contents: Contents) -> list[Namespace]:
    """The Namespace objects in these files; objects of other kinds are left out.

    Raises: BadInput, naming every file and document that cannot be read
    """
    found: dict[str, Namespace] = {}
    faults: list[str] = []
    for path, content in contents.items():
        try:
            found |= {each[0]: each for each in _in_file(path, content)}
        except BadInput as problem:
            faults += problem.faults
    if faults:
        raise documents.refusal(faults)
    return list(found.values())


def _in_file(path: Path, content: bytes | Unreadable) -> Iterator[Namespace]:
    if isinstance(content, Unreadable):
        raise BadInput(f"{path}: {content.reason}")
    try:
        held = documents.load(content, MAX_BYTES)
    except BadInput as problem:
        raise BadInput(f"{path}: {problem}") from problem
    for document in held:
        if isinstance(document, dict) and (document.get("apiVersion"), document.get("kind")) == (
            "v1",
            "Namespace",
        ):
            yield _namespace(path, document)


def _namespace(path: Path, document: dict[str, Any]) -> Namespace:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        raise BadInput(f"{path}: Namespace: metadata.name must be a string")
    annotations = metadata.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(
        isinstance(each, str) for pair in annotations.items() for each in pair
    ):
        raise BadInput(
            f"{path}: Namespace {quote(name)}: metadata.annotations must map strings to strings (quote numbers and true)"
        )
    return name, policy.own_annotations(annotations)
