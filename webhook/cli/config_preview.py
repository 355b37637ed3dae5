"""`boundtoken config preview FILE`: which pods of the cluster the file's enforceFloor would refuse
when they are created again, which comply after a restart, and which comply only by injection.

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
from ..cluster.watch import ListMeta, ObjectMeta, objects, pages, read_pages
from ..core import names, policy
from ..core.levels import EnforcementPolicy
from ..core.policy import ClusterPolicy
from ..enforcement.preview import ListedPod, Preview
from ..errors import ApiError
from .cluster import own_namespace
from .config import parse

PAGE = 500
MAX_PAGES = 1000
"""500,000 pods: more than three times what Kubernetes supports. It ends a list without an end."""
MAX_BYTES = 256 << 20
"""Of one page: 500 whole pods of 0.5 MB. A person's machine has more memory than a replica."""
BINDING = (
    f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/{names.POD_POLICY}"
)


class _Pods(msgspec.Struct):
    metadata: ListMeta
    items: list[ListedPod] | None = None


class _Object(msgspec.Struct):
    metadata: ObjectMeta


_PODS = msgspec.json.Decoder(_Pods)
_OBJECT = msgspec.json.Decoder(_Object)


def preview(parsed: argparse.Namespace) -> int:
    """Print the preview; exit 1 if a pod that exists now would be refused when it is created
    again.
    """
    cluster = parse(parsed.file)
    if cluster.enforce_floor == "off":
        print(f"{parsed.file}: locks.enforceFloor is off, so no pod would be refused")
        return 0
    report = asyncio.run(_report(parsed, cluster))
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 1 if report["pods"]["refused"] else 0


async def _report(parsed: argparse.Namespace, cluster: ClusterPolicy) -> dict[str, Any]:
    async with ApiClient(
        FromKubeconfig(parsed.kubeconfig, parsed.context), f"boundtoken/{__version__}"
    ) as client:
        where = await own_namespace.find(client, parsed.namespace, default=names.NAMESPACE)
        cluster = msgspec.structs.replace(cluster, own_namespace=where)
        if not cluster.api_audiences:
            cluster = msgspec.structs.replace(cluster, api_audiences=await _api_audiences(client))
        previews: dict[str, Preview] = {}
        left_out: dict[str, list[str]] = {"excluded": [], "exempt": []}
        async for metadata in _namespaces(client):
            if (why := _left_out(metadata.name, cluster)) is not None:
                left_out[why].append(metadata.name)
                continue
            own = policy.resolve_namespace(
                cluster, policy.namespace_annotations(metadata.annotations)
            )
            # Without the namespace's own levels: the preview is of what the floor adds.
            own = msgspec.structs.replace(own, enforcement=EnforcementPolicy())
            previews[metadata.name] = Preview(metadata.name, cluster, own, ("enforce",))
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
    counts = [preview.counts("enforce") for preview in previews.values()]
    return {
        "floor": cluster.enforce_floor,
        "podsSeen": seen,
        "namespacesSeen": len(previews),
        "namespacesLeftOut": left_out,
        "pods": {
            "comply": sum(count.comply for count in counts),
            "complyAfterRestart": sum(count.comply_after_restart for count in counts),
            "refused": sum(count.refused for count in counts),
        },
        "violates": any(preview.finds_violations for preview in previews.values()),
        "namespaces": {name: texts for name, texts in lines.items() if texts},
    }


def _left_out(namespace: str, cluster: ClusterPolicy) -> str | None:
    """Return why the floor does not apply to a namespace, or None if it does."""
    if namespace in cluster.excluded or namespace == cluster.own_namespace:
        return "excluded"
    return "exempt" if namespace in cluster.exemptions.namespaces else None


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
    async def decode_page(body: bytes) -> _Pods:
        return decode(_PODS, body)

    more = ""
    async for page in read_pages(
        client,
        "/api/v1/pods",
        {"limit": str(PAGE)},
        decode_page,
        byte_limit=MAX_BYTES,
        page_limit=MAX_PAGES,
    ):
        yield page.items or []
        more = page.metadata.continue_
    if more:
        raise ApiError(f"the list of pods has no end: more than {MAX_PAGES * PAGE} pods")


def _print(report: dict[str, Any]) -> None:
    for name, lines in report["namespaces"].items():
        print(f"namespace/{name}")
        for line in lines:
            print(f"  {line}")
    for why, left_out in report["namespacesLeftOut"].items():
        if left_out:
            print(f"not for {why} namespaces: {', '.join(left_out)}")
    pods = report["pods"]
    print(
        f"floor {report['floor']}: {pods['comply']} pods comply, {pods['complyAfterRestart']} comply after a restart, "
        f"{pods['refused']} will be refused ({report['podsSeen']} pods, {report['namespacesSeen']} namespaces that the floor "
        "is for)"
    )
