"""`boundtoken config preview FILE`: which pods of the cluster the file's enforceFloor would refuse,
and which comply only by injection.

It reads from the API server page by page, with the rights of the person who runs it, and changes
nothing.
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
"""Of one page: 500 whole pods of 0.5 MB. A person's machine has more memory than a replica."""
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
    """Print the preview; exit 1 if a pod that exists now would be refused."""
    layer = parse(parsed.file, parsed.namespace or names.NAMESPACE)
    if layer.enforce_floor == "off":
        print(f"{parsed.file}: locks.enforceFloor is off, so no pod would be refused")
        return 0
    report = asyncio.run(_report(parsed, layer))
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 1 if report["violates"] else 0


async def _report(parsed: argparse.Namespace, layer: ClusterPolicy) -> dict[str, Any]:
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
            # Without the namespace's own levels: the preview is of what the floor adds.
            own = msgspec.structs.replace(own, enforcement=EnforcementPolicy())
            previews[metadata.name] = Preview(metadata.name, layer, own, ("enforce",))
        seen = 0
        async for pods in _pods(client):
            seen += len(pods)
            if sys.stderr.isatty():
                print(f"\r{seen} pods", end="", file=sys.stderr, flush=True)
            for pod in pods:
                if (preview := previews.get(pod.metadata.namespace)) is not None:
                    preview.add([pod])
    if sys.stderr.isatty():
        print(file=sys.stderr)
    lines = {name: preview.lines() for name, preview in previews.items()}
    return {
        "floor": layer.enforce_floor,
        "podsSeen": seen,
        "namespacesSeen": len(previews),
        "violates": any(preview.finds_violations for preview in previews.values()),
        "namespaces": {name: texts for name, texts in lines.items() if texts},
    }


async def _api_audiences(client: ApiClient) -> tuple[str, ...]:
    """The API server's audiences, as the replicas noted them on the binding; empty if they have
    not, and then any audience may be one of them.
    """
    try:
        binding = decode(_OBJECT, await client.get(BINDING, accept=METADATA))
    except ApiError:
        return ()
    return tuple((binding.metadata.annotations or {}).get(names.API_AUDIENCES, "").split())


async def _namespaces(client: ApiClient) -> AsyncIterator[ObjectMeta]:
    async for page in pages(client, "/api/v1/namespaces", {"limit": str(PAGE)}, MAX_BYTES):
        async for metadata in objects(page):
            yield metadata


async def _pods(client: ApiClient) -> AsyncIterator[list[ListedPod]]:
    query = {"limit": str(PAGE)}
    while True:
        page = decode(_PODS, await client.get("/api/v1/pods", query=query, limit=MAX_BYTES))
        yield page.items or []
        if not page.metadata.continue_:
            return
        query["continue"] = page.metadata.continue_


def _print(report: dict[str, Any]) -> None:
    for name, lines in report["namespaces"].items():
        print(f"namespace/{name}")
        for line in lines:
            print(f"  {line}")
    scope = (
        f"{report['podsSeen']} pods, {report['namespacesSeen']} namespaces that the floor is for"
    )
    print(
        f"floor {report['floor']}: {len(report['namespaces'])} namespaces with affected pods ({scope})"
    )
