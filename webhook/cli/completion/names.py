"""Names that a command line may have, as a kubeconfig and its cluster know them now."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ... import __version__
from ...cluster.client import ApiClient, decode
from ...cluster.credentials import FromKubeconfig
from ...terminal.completion import MAX_CANDIDATES
from ..cluster.kinds import BY_WORD, OBJECT_NAME

SECONDS = 1.0
"""Of all calls for one answer."""
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
"""Only what `kubectl get` shows is sent, not the objects (kubernetes.io/docs/reference/using-api/
api-concepts, "Receiving resources as Tables")."""
PAGE = 500
MAX_PAGES = 20
"""10,000 names."""
MAX_KUBECONFIG_BYTES = 1 << 20
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


def _contexts(flags: Mapping[str, str]) -> list[str]:
    """The contexts of the kubeconfig. What is no text in it is left out.

    Raises: OSError, yaml.YAMLError, and whatever a file of another shape leads to
    """
    found: dict[str, None] = {}
    for file in _kubeconfig(flags).split(os.pathsep):
        path = Path(file).expanduser()
        if not path.is_file():
            continue
        with path.open("rb") as opened:
            content = yaml.load(opened.read(MAX_KUBECONFIG_BYTES), _Loader)  # noqa: S506  (a safe one)
        names = (str(context["name"]) for context in content.get("contexts") or ())
        found |= dict.fromkeys(name for name in names if name.isprintable())
    return sorted(found)


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


async def read(flags: Mapping[str, str], kind: str, prefix: str) -> list[str]:
    """The names of a kind that begin so, at most MAX_CANDIDATES.

    Raises: ApiError, Unauthenticated, TimeoutError, and what `_contexts` does
    """
    if kind == "context":
        return _contexts(flags)
    credentials = FromKubeconfig(_kubeconfig(flags), flags.get("context") or None)
    namespace = flags.get("namespace") or credentials.namespace or DEFAULT_NAMESPACE
    path = _path(kind, namespace)
    if not path:
        return []
    found: list[str] = []
    async with (
        asyncio.timeout(SECONDS),
        ApiClient(credentials, f"boundtoken/{__version__}") as client,
    ):
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


def _kubeconfig(flags: Mapping[str, str]) -> str:
    """The files, which a shell has not expanded yet in a line that is being typed."""
    given = flags.get("kubeconfig")
    if given:
        return str(Path(given).expanduser())
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
