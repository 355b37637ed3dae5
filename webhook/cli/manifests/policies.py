"""The policy of each namespace: of flags, of Namespace documents beside the workloads, of files, or
of the living cluster, in this order for each annotation; and which service accounts opt out.
"""

import argparse
import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ... import __version__
from ...cluster.client import ApiClient
from ...cluster.credentials import FromKubeconfig
from ...cluster.namespaces import from_metadata
from ...cluster.watch import objects, pages
from ...core import names, policy
from ...core.policy import ClusterPolicy
from ...core.text import quote
from ...errors import ApiError, BadInput
from ...simulation.admission import Admission
from ...yamledit.nodes import Document
from ..cluster import surroundings
from ..cluster.reader import Reader
from ..cluster.views import ServiceAccount
from ..config import parse
from . import reading
from .reading import Source

DEFAULT_NAMESPACE = "default"
FLAGS = {
    name.removeprefix(names.DOMAIN): name
    for name in (
        names.INJECT, names.AUTOMOUNT, names.AUDIENCE, names.EXPIRATION_SECONDS, names.MOUNT_PATH, names.TOKENS,
        names.MAX_EXPIRATION_SECONDS, names.ALLOWED_AUDIENCES, names.POD_OVERRIDES,
    )
}  # fmt: skip
"""The flags that stand for an annotation of every namespace."""
MAX_PAGE_BYTES = 64 << 20
ACCOUNTS = "serviceaccounts"
MAX_ACCOUNT_PAGES = 400
"""100,000 of them."""


class Policies:
    """What holds in each namespace. A namespace that nothing is known of has no policy."""

    def __init__(self, parsed: argparse.Namespace, sources: Iterable[Source] = ()) -> None:
        """Raises: BadInput; ApiError and Unauthenticated, with --from-cluster"""
        own = parsed.webhook_namespace or names.NAMESPACE
        self._known: dict[str, Mapping[str, str]] = {}
        self._opted_out: set[tuple[str, str]] = set()
        self.problems: tuple[str, ...] = ()
        self.default = parsed.namespace or DEFAULT_NAMESPACE
        if parsed.from_cluster:
            living = asyncio.run(_of_cluster(parsed, own))
            self._cluster, self._known = living.configuration, living.namespaces
            self._opted_out, self.problems = living.opted_out, living.problems
            self.default = parsed.namespace or living.namespace or DEFAULT_NAMESPACE
        else:
            self._cluster = parse(parsed.config, own) if parsed.config else ClusterPolicy()
        if own != names.NAMESPACE:
            self._cluster = msgspec.structs.replace(self._cluster, own_namespace=own)
        given = reading.sources(parsed.namespace_file or ())
        for document in (
            document for source in (*given, *sources) for document in _objects(source)
        ):
            self._learn(document)
        self._flags = _flags(parsed, self._cluster)
        self._all_known = bool(self._flags or parsed.config)
        self._admissions: dict[str, Admission | None] = {}

    def admission(self, namespace: str) -> Admission | None:
        """Admission in this namespace; None where nothing says what holds in it."""
        if namespace not in self._admissions:
            known = self._known.get(namespace, {} if self._all_known else None)
            self._admissions[namespace] = (
                None
                if known is None
                else Admission(
                    namespace,
                    self._cluster,
                    policy.resolve_namespace(self._cluster, {**known, **self._flags}),
                )
            )
        return self._admissions[namespace]

    def opts_out(self, namespace: str, account: str) -> bool:
        """Whether this service account, of the documents or of the cluster, opts out of tokens."""
        return (namespace, account) in self._opted_out

    def _learn(self, document: Mapping[str, Any]) -> None:
        metadata = document.get("metadata")
        if document.get("apiVersion") != "v1" or not isinstance(metadata, dict):
            return
        name = metadata.get("name")
        if document.get("kind") == "Namespace" and isinstance(name, str):
            annotations = metadata.get("annotations") or {}
            if not isinstance(annotations, dict) or not all(
                isinstance(value, str) for value in annotations.values()
            ):
                raise BadInput(
                    f"Namespace {quote(name)}: metadata.annotations must map strings to strings (quote numbers and true)"
                )
            # As kubectl apply does: what a manifest does not name stays as the cluster has it.
            own = policy.namespace_annotations(annotations)
            self._known[name] = {**self._known.get(name, {}), **own}
            return
        field = "automountServiceAccountToken"
        if document.get("kind") == "ServiceAccount" and field in document:
            account = str(metadata.get("namespace") or self.default), str(name)
            self._opted_out -= {account}
            self._opted_out |= {account} if document[field] is False else set()


def _objects(source: Source) -> Iterator[dict[str, Any]]:
    for document in source.documents:
        yield from members(document.value)


def members(value: Any) -> Iterator[dict[str, Any]]:
    """An object, or those of a List."""
    if isinstance(value, dict):
        items = value.get("items")
        if str(value.get("kind", "")).endswith("List") and isinstance(items, list):
            yield from (item for item in items if isinstance(item, dict))
        else:
            yield value


def placed(document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same, with the line at which it begins."""
    value = document.value
    found = list(members(value))
    lines = [document.begins] * len(found)
    # An alias or a merge key may stand for the items: then they have no lines of their own.
    if found and found[0] is not value and len(document.items) == len(value["items"]):
        pairs = zip(document.items, value["items"], strict=True)
        lines = [line for line, item in pairs if isinstance(item, dict)]
    yield from zip(lines, found, strict=True)


def put_back(value: Any, made: list[Any]) -> Any:
    """The value of a document with these objects instead of its own."""
    if not isinstance(value, dict) or not made:
        return value
    items = value.get("items")
    if not (str(value.get("kind", "")).endswith("List") and isinstance(items, list)):
        return made[0]
    rest = iter(made)
    return {**value, "items": [next(rest) if isinstance(item, dict) else item for item in items]}


def _flags(parsed: argparse.Namespace, cluster: ClusterPolicy) -> dict[str, str]:
    """Raises: BadInput, for a value that no annotation may have"""
    given = {
        name: value
        for flag, name in FLAGS.items()
        if (value := getattr(parsed, flag.replace("-", "_"))) is not None
    }
    faults = [
        fault
        for fault in policy.resolve_namespace(cluster, given).resolution.faults
        if fault.layer == "namespace"
    ]
    if faults:
        raise BadInput(
            *(
                f"--{fault.annotation.removeprefix(names.DOMAIN)}={fault.value!a}: {fault.problem}"
                for fault in faults
            )
        )
    return given


class _Living(NamedTuple):
    configuration: ClusterPolicy
    namespaces: dict[str, Mapping[str, str]]
    opted_out: set[tuple[str, str]]
    problems: tuple[str, ...]
    namespace: str
    """Of the kubeconfig's context."""


async def _of_cluster(parsed: argparse.Namespace, own: str) -> _Living:
    """The configuration of the living cluster, the annotations of its namespaces, and the service
    accounts that opt out.
    """
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        found: dict[str, Mapping[str, str]] = {}
        async for page in pages(client, "/api/v1/namespaces", {"limit": "500"}, MAX_PAGE_BYTES):
            async for metadata in objects(page):
                name, annotations = from_metadata(metadata)
                found[name] = annotations
        reader = Reader(client)
        opted_out, problems = await _opted_out(reader)
        rest = (found, opted_out, problems, credentials.namespace)
        if parsed.config:
            return _Living(parse(parsed.config, own), *rest)
        configuration = await surroundings.configuration(reader, own)
        if configuration.source == surroundings.ASSUMED:
            why = "; ".join(dict.fromkeys(reader.unread.values()))
            raise ApiError(
                f"the configuration of the cluster was not seen: {why}; --config FILE gives it"
            )
        return _Living(configuration.cluster, *rest)


async def _opted_out(reader: Reader) -> tuple[set[tuple[str, str]], tuple[str, ...]]:
    """Those that opt out, and what could not be seen of them."""
    accounts = await reader.list(
        "/api/v1/serviceaccounts", ServiceAccount, ACCOUNTS, max_pages=MAX_ACCOUNT_PAGES
    )
    unread = [reader.unread.pop(what, "") for what in (ACCOUNTS, f"more {ACCOUNTS}")]
    found = {
        (account.metadata.namespace, account.metadata.name)
        for account in accounts or ()
        if account.automount_service_account_token is False
    }
    what = f"which {ACCOUNTS} opt out of tokens is not known of all"
    return found, tuple(f"{what}: {problem}" for problem in unread if problem)
