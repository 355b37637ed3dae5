"""The objects that are to be explained: names on the command line, or documents of files."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ... import options
from ...core.text import quote
from ...errors import BadInput
from ...simulation.admission import as_decoded
from ...yamledit.nodes import Values
from ..cluster.kinds import BY_WORD, KINDS, OBJECT_NAME, Kind
from ..input import STANDARD_INPUT
from ..manifests import reading

JsonObject = dict[str, Any]
MAX_LIST_DEPTH = 4
"""Of a List in a List."""


class Named(NamedTuple):
    kind: Kind
    name: str


class Document(NamedTuple):
    """An object of a file; `source` is its place."""

    source: str
    object: JsonObject


def named(parsed: argparse.Namespace) -> list[Named]:
    """The objects on the command line: `TYPE/NAME…` or `TYPE NAME…`.

    Raises: BadInput, with every fault
    """
    words: list[str] = parsed.objects
    if len(words) > 1 and not any("/" in word for word in words):
        words = [f"{words[0]}/{name}" for name in words[1:]]
    faults, found = [], []
    for word in words:
        kind, slash, name = word.partition("/")
        known = _known(kind)
        if not slash or not name:
            faults.append(f"{quote(word)}: must be TYPE/NAME, such as deployment/cart")
        elif known is None:
            types = ", ".join(kind.kind.lower() for kind in KINDS)
            faults.append(f"{quote(kind)}: must be one of {types}; -f FILE takes any kind")
        elif not OBJECT_NAME.fullmatch(name):
            faults.append(f"{quote(name)}: must be the name of an object")
        else:
            found.append(Named(known, name))
    if faults:
        raise BadInput(*faults)
    return found


def _known(word: str) -> Kind | None:
    """The kind of a word, such as `deployment`, `deployments.apps` and `deployments.v1.apps`."""
    name, _, api = word.lower().partition(".")
    kind = BY_WORD.get(name)
    if kind is None:
        return None
    group, _, version = kind.api.rpartition("/")
    return kind if api in ("", group, f"{version}.{group}") else None


def check(parsed: argparse.Namespace) -> None:
    """Raises: BadInput, for flags that do not go together"""
    faults = []
    if bool(parsed.objects) == bool(parsed.filename):
        faults.append("give either TYPE/NAME or -f FILE, such as deployment/cart")
    if parsed.namespace_file and not parsed.filename:
        faults.append("--namespace-file is for -f FILE: the cluster has its own namespaces")
    if parsed.from_cluster and not parsed.filename:
        faults.append("--from-cluster is for -f FILE: a name is looked up in the cluster anyway")
    if parsed.from_cluster and parsed.namespace_file:
        faults.append("--namespace-file and --from-cluster exclude each other")
    if parsed.filename and not parsed.from_cluster and (parsed.kubeconfig or parsed.context):
        faults.append("--kubeconfig and --context go with --from-cluster, or with TYPE/NAME")
    faults += _audit_faults(parsed)
    streams = [*parsed.filename, *parsed.namespace_file, parsed.config, parsed.audit_log]
    if streams.count(STANDARD_INPUT) > 1:
        faults.append("only one file can come from standard input")
    if parsed.webhook_namespace is not None:
        try:
            options.namespace(parsed.webhook_namespace)
        except ValueError as problem:
            faults.append(f"--webhook-namespace={parsed.webhook_namespace!a}: {problem}")
    if faults:
        raise BadInput(*faults)


def _audit_faults(parsed: argparse.Namespace) -> Iterator[str]:
    if parsed.filename and parsed.audit_log:
        yield "--audit-log is for objects of a cluster, by TYPE/NAME: a manifest was not created yet"
    if not parsed.filename and _is_stream(parsed.audit_log) and len(named(parsed)) > 1:
        yield "--audit-log from a stream is for one object: it is read again for each"


def _is_stream(file: str | None) -> bool:
    """Whether it can be read once only. What is not there is told by whoever opens it."""
    if file is None or file == STANDARD_INPUT:
        return file is not None
    path = Path(file)
    return path.exists() and not path.is_file()


class Manifests(NamedTuple):
    """The objects in files, and where there is something that is none."""

    documents: list[Document]
    left: list[str]


def manifests(files: Iterable[str]) -> Manifests:
    """The objects in files and folders: of YAML streams, of JSON, and of Lists.

    Raises: BadInput, with the fault of every file
    """
    found = [one for several in reading.read_all(files, _found_in) for one in several]
    documents, left = [], []
    for place, value in found:
        if isinstance(value, dict) and isinstance(value.get("kind"), str):
            documents.append(Document(place, as_decoded(value)))
        else:
            left.append(f"{place}: no object of Kubernetes, which has a kind")
    return Manifests(documents, left)


def _found_in(name: str, _: Path | None, content: bytes, counted: Values) -> list[tuple[str, Any]]:
    """What is in a file, each part with its place. Raises: BadInput"""
    loaded = [one.value for one in reading.values_of(content, counted)]
    found = []
    for number, document in enumerate(loaded, 1):
        if document is not None:
            place = f"{name}, document {number}" if len(loaded) > 1 else name
            found += list(_items(place, document, 0))
    return found


def _items(place: str, document: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """The document, or the items of a List."""
    items = document.get("items") if isinstance(document, dict) else None
    is_list = isinstance(items, list) and str(document.get("kind", "")).endswith("List")
    if not is_list or depth >= MAX_LIST_DEPTH:
        yield place, document
        return
    for number, item in enumerate(items or (), 1):
        yield from _items(f"{place}, item {number}", item, depth + 1)
