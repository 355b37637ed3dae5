"""Lets nothing fail closed any more when our own namespace is being deleted.

A webhook configuration is in no namespace, so it outlives ours. An entry that fails closed, as the
component legacy-tokens-fail-closed makes it, would then refuse every pod for ever. Each replica
watches its own namespace, and takes such entries out while it still answers.

Why not an owner reference to the namespace: where we are installed again at once, the garbage
collector would delete what was just applied. Why the entry is not made to fail open: that field
would be ours then, and a later server-side apply, such as Helm's, would meet a conflict.
"""

import asyncio
from typing import Any

import msgspec

from ..cluster import namespaces, watch
from ..cluster.client import JSON_PATCH, ApiClient, decode
from ..cluster.credentials import Credentials, InCluster
from ..cluster.watch import Changed, Listed
from ..core import names
from ..errors import NotFound, described
from ..log import Log
from ..options import Config
from ..pki.store import GROUP, KINDS, Service

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 8.0
"""Seconds between two tries, doubled each time: a replica goes on for 8 s after its SIGTERM."""


class _ClientConfig(msgspec.Struct):
    service: Service | None = None


class _Entry(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig
    failure_policy: str = ""


class _Configuration(msgspec.Struct):
    webhooks: list[_Entry] | None = None


_CONFIGURATION = msgspec.json.Decoder(_Configuration)


def closed(entries: list[_Entry], service: Service) -> list[tuple[int, str]]:
    """Place and name of each entry that calls this Service and fails closed."""
    return [
        (at, entry.name)
        for at, entry in enumerate(entries)
        if entry.failure_policy == "Fail" and entry.client_config.service == service
    ]


def removals(places: list[tuple[int, str]], service: Service) -> list[dict[str, Any]]:
    """The JSON Patch that takes out these entries; the last one first, so that the places of the
    others stay. It is refused where one is another entry meanwhile, fails open or calls somebody
    else.
    """
    patch: list[dict[str, Any]] = []
    for at, name in reversed(places):
        entry = f"/webhooks/{at}"
        patch += [
            {"op": "test", "path": f"{entry}/name", "value": name},
            {"op": "test", "path": f"{entry}/failurePolicy", "value": "Fail"},
            {
                "op": "test",
                "path": f"{entry}/clientConfig/service/namespace",
                "value": service.namespace,
            },
            {"op": "remove", "path": entry},
        ]
    return patch


class OwnNamespace:
    """Our own namespace, and the webhook configurations that call us from it."""

    def __init__(
        self, client: ApiClient, namespace: str, configurations: tuple[str, ...], log: Log
    ) -> None:
        self._client = client
        self._namespace = namespace
        # That for validation comes first: it is the one that a component of ours lets fail closed,
        # and whoever deletes everything takes our rights away right after the namespace.
        kinds = sorted(KINDS, reverse=True)
        self._paths = [f"{GROUP}/{kind}/{name}" for kind in kinds for name in configurations]
        self._log = log

    async def follow(self) -> None:
        """Wait until the namespace is being deleted, for ever, and take the entries out then."""
        async for event in watch.stream(
            self._client,
            namespaces.PATH,
            lambda metadata: bool(metadata.deletion_timestamp),
            field_selector=f"metadata.name={self._namespace}",
        ):
            match event:
                case Listed(items=[True]) | Changed(item=True):
                    await self._take_out()

    async def _take_out(self) -> None:
        pause, logged = FIRST_PAUSE, ""
        while problem := await self._problem():
            # At first mostly another replica was quicker, which the second try sees.
            if pause > FIRST_PAUSE and problem != logged:
                self._log.error("entries that fail closed may still be there", problem=problem)
                logged = problem
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _problem(self) -> str:
        """Why entries may be left, or nothing."""
        try:
            for path in self._paths:
                await self._take_out_of(path)
        except Exception as problem:  # noqa: BLE001  (an edge: whatever fails here, the process serves on)
            return described(problem)
        return ""

    async def _take_out_of(self, path: str) -> None:
        try:
            found = decode(_CONFIGURATION, await self._client.get(path))
        except NotFound:
            return
        service = Service(names.APP, self._namespace)
        if places := closed(found.webhooks or [], service):
            patch, query = removals(places, service), {"fieldManager": names.APP}
            await self._client.send("PATCH", path, patch, content_type=JSON_PATCH, query=query)
            self._log.warning(
                "boundtoken's namespace is being deleted: nothing fails closed any more",
                removed=[name for _, name in places],
            )


def own_namespace_of(
    client: ApiClient | None, credentials: Credentials | None, config: Config, log: Log
) -> OwnNamespace | None:
    """The namespace of a replica in the cluster, else None."""
    if client is None or not isinstance(credentials, InCluster):
        return None
    return OwnNamespace(client, config.namespace, config.webhook_configurations, log)
