"""`boundtoken config preview FILE`: which pods of the cluster the file's enforceFloor would refuse,
and who depends on us.

It asks the API server with the rights of who runs it, page by page, and changes nothing.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from .. import __version__
from ..cluster.client import METADATA, ApiClient, decode
from ..cluster.credentials import FromKubeconfig
from ..cluster.watch import ObjectMeta, objects, pages
from ..core import names, policy
from ..core.levels import EnforcementPolicy
from ..core.policy import ClusterPolicy
from ..enforcement.preview import ListedPod, Preview
from ..errors import ApiError
from .config import parse

PAGE = 500
MAX_BYTES = 256 << 20
"""Of one page: 500 whole pods of 0.5 MB, for a person's machine has more memory than a replica."""
BINDING = (
    f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/{names.POD_POLICY}"
)


class _ListMeta(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class _Pods(msgspec.Struct):
    metadata: _ListMeta
    items: list[ListedPod] | None = None


class _Object(msgspec.Struct):
    metadata: ObjectMeta


_PODS = msgspec.json.Decoder(_Pods)
_OBJECT = msgspec.json.Decoder(_Object)


def preview(parsed: argparse.Namespace) -> int:
    """Print it; exit 1 where a pod would be refused that is there now."""
    layer = parse(parsed.file, parsed.namespace or names.NAMESPACE)
    if layer.enforce_floor == "off":
        print(f"{parsed.file}: locks.enforceFloor is off, so nothing would be refused")
        return 0
    found = asyncio.run(_look(parsed, layer))
    if parsed.output == "json":
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 1 if found["violates"] else 0


async def _look(parsed: argparse.Namespace, layer: ClusterPolicy) -> dict[str, Any]:
    async with ApiClient(
        FromKubeconfig(parsed.kubeconfig, parsed.context), f"boundtoken/{__version__}"
    ) as client:
        if not layer.api_audiences:
            layer = msgspec.structs.replace(layer, api_audiences=await _api_audiences(client))
        previews: dict[str, Preview] = {}
        async for metadata in _namespaces(client):
            if metadata.name in layer.excluded | layer.exemptions.namespaces | {
                layer.own_namespace
            }:
                continue
            own = policy.resolve_namespace(layer, policy.own_annotations(metadata.annotations))
            own = msgspec.structs.replace(
                own, demands=EnforcementPolicy()
            )  # what the floor adds, and nothing that was asked for before
            previews[metadata.name] = Preview(metadata.name, layer, own, ("enforce",))
        seen = 0
        async for pods in _pods(client):
            seen += len(pods)
            if sys.stderr.isatty():
                print(f"\r{seen} pods", end="", file=sys.stderr, flush=True)
            for pod in pods:
                if (looked := previews.get(pod.metadata.namespace)) is not None:
                    looked.add([pod])
    if sys.stderr.isatty():
        print(file=sys.stderr)
    lines = {name: looked.lines() for name, looked in previews.items()}
    return {
        "floor": layer.enforce_floor,
        "podsSeen": seen,
        "namespacesSeen": len(previews),
        "violates": any(looked.finds_violations for looked in previews.values()),
        "namespaces": {name: said for name, said in lines.items() if said},
    }


async def _api_audiences(client: ApiClient) -> tuple[str, ...]:
    """What the replicas have found out; nothing where they have not, and then any audience may be
    the API server's.
    """
    try:
        binding = decode(_OBJECT, await client.get(BINDING, accept=METADATA))
    except ApiError:
        return ()
    return tuple((binding.metadata.annotations or {}).get(names.API_AUDIENCES, "").split())


async def _namespaces(client: ApiClient) -> AsyncIterator[ObjectMeta]:
    async for page in pages(client, "/api/v1/namespaces", {"limit": str(PAGE)}, MAX_BYTES):
        async for each in objects(page):
            yield each


async def _pods(client: ApiClient) -> AsyncIterator[list[ListedPod]]:
    query = {"limit": str(PAGE)}
    while True:
        page = decode(_PODS, await client.get("/api/v1/pods", query=query, limit=MAX_BYTES))
        yield page.items or []
        if not page.metadata.continue_:
            return
        query["continue"] = page.metadata.continue_


def _print(found: dict[str, Any]) -> None:
    for name, lines in found["namespaces"].items():
        print(f"namespace/{name}")
        for line in lines:
            print(f"  {line}")
    seen = f"{found['podsSeen']} pods, {found['namespacesSeen']} namespaces that the floor is for"
    print(
        f"floor {found['floor']}: {len(found['namespaces'])} namespaces with pods to look after ({seen})"
    )
