"""Names that a command line may have, as a cluster knows them now."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ... import __version__
from ...cluster.client import ApiClient, decode
from ...cluster.credentials import FromKubeconfig
from ...terminal.completion import MAX_CANDIDATES
from ..cluster.kinds import BY_WORD, OBJECT_NAME
from .contexts import kubeconfig

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
"""Only what `kubectl get` shows is sent, not the objects (kubernetes.io/docs/reference/using-api/
api-concepts, "Receiving resources as Tables")."""
PAGE = 500
MAX_PAGES = 20
"""10,000 names."""
CORE = "/api/v1/namespaces"
DEFAULT_NAMESPACE = "default"


class _Column(msgspec.Struct):
    format: str = ""


class _ListMeta(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class _Row(msgspec.Struct):
    cells: list[Any] = []


class _Table(msgspec.Struct, rename="camel"):
    column_definitions: list[_Column] = []
    rows: list[_Row] = []
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


_TABLES = msgspec.json.Decoder(_Table)


async def read(flags: Mapping[str, str], kind: str, prefix: str) -> list[str]:
    """The names of a kind that begin so, at most MAX_CANDIDATES.

    Raises: ApiError, Unauthenticated
    """
    credentials = FromKubeconfig(kubeconfig(flags), flags.get("context") or None)
    namespace = flags.get("namespace") or credentials.namespace or DEFAULT_NAMESPACE
    path = _path(kind, namespace)
    if not path:
        return []
    found: list[str] = []
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        query = {"limit": str(PAGE), "includeObject": "None"}
        for _ in range(MAX_PAGES):
            table = decode(_TABLES, await client.get(path, accept=TABLE, query=query))
            found += [name for name in _names(table) if name.startswith(prefix)]
            if not table.metadata.continue_ or len(found) >= MAX_CANDIDATES:
                break
            query["continue"] = table.metadata.continue_
    return found[:MAX_CANDIDATES]


def _path(kind: str, namespace: str) -> str:
    """Where the API server has the objects of a kind; empty where there is no such kind."""
    if kind == "namespace":
        return CORE
    if not OBJECT_NAME.fullmatch(namespace):
        return ""
    if kind == "account":
        return f"{CORE}/{namespace}/serviceaccounts"
    known = BY_WORD.get(kind.lower().partition(".")[0])
    return known.path(namespace) if known is not None else ""


def _names(table: _Table) -> Iterator[str]:
    """The cells of the column with names; what is no name of an object would reach a shell."""
    formats = [column.format for column in table.column_definitions]
    column = formats.index("name") if "name" in formats else 0
    for row in table.rows:
        name = row.cells[column] if column < len(row.cells) else None
        if isinstance(name, str) and OBJECT_NAME.fullmatch(name):
            yield name
