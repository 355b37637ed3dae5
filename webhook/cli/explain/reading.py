"""Reads of a cluster, each of which may be forbidden: what could not be seen is noted, with the
right that it needs, and the rest goes on.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ... import documents
from ...cluster.client import JSON, ApiClient, decode
from ...cluster.watch import ListMeta, read_pages
from ...core.full_views import FullSpec
from ...core.text import truncate
from ...core.views import Metadata, View
from ...errors import ApiError, NotFound
from ...simulation.calling import Configuration

T = TypeVar("T")
FORBIDDEN = (401, 403)
PAGE = 250
MAX_PAGES = 8
"""2,000 objects: the pods of a workload, or the webhook configurations of a cluster."""
MAX_BYTES = 64 << 20
"""Of one page. A person's machine has more memory than a replica."""


class PodMetadata(Metadata, frozen=True):
    labels: dict[str, str] | None = None
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class PodStatus(View, frozen=True):
    phase: str = ""


class LivingPod(View, frozen=True):
    """A pod as it is listed."""

    metadata: PodMetadata = PodMetadata()
    spec: FullSpec = FullSpec()
    status: PodStatus = PodStatus()

    @property
    def has_ended(self) -> bool:
        """Whether it never runs again, so that nothing needs to be done about its tokens."""
        return self.status.phase in ("Succeeded", "Failed")


class ConfigurationData(View, frozen=True):
    text: str | None = msgspec.field(name="config.yaml", default=None)


class ConfigMap(View, frozen=True):
    metadata: Metadata = Metadata()
    data: ConfigurationData | None = None


class Port(View, frozen=True):
    port: int = 0


class ServiceSpec(View, frozen=True):
    ports: tuple[Port, ...] | None = None


class Service(View, frozen=True):
    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(View, frozen=True):
    ready: bool | None = None


class Endpoint(View, frozen=True):
    conditions: EndpointConditions = EndpointConditions()


class EndpointSlice(View, frozen=True):
    endpoints: tuple[Endpoint, ...] | None = None


class ServiceAccount(View, frozen=True):
    automount_service_account_token: bool | None = None


class Annotated(View, frozen=True):
    """An object of which only the metadata are read."""

    metadata: Metadata = Metadata()


class InvolvedObject(View, frozen=True):
    kind: str = ""
    name: str = ""


class Event(View, frozen=True):
    reason: str = ""
    message: str = ""
    last_timestamp: str | None = None
    involved_object: InvolvedObject = InvolvedObject()


class _Page(msgspec.Struct):
    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


_PAGES = msgspec.json.Decoder(_Page)
OBJECTS: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        *(LivingPod, ConfigMap, Service, EndpointSlice, ServiceAccount, Annotated, Event),
        Configuration,
    )
}


def _whole(body: bytes) -> dict[str, Any]:
    found = decode(OBJECTS, body)
    if fault := documents.fault_in(found, documents.MAX_MANIFEST_DEPTH):
        raise ApiError(f"the answer cannot be read: {fault}")
    return found


class Reader:
    """Reads objects, and notes in `unread` what could not be seen, and why."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.unread: dict[str, str] = {}

    async def get(self, path: str, kind: type[T], what: str, *, accept: str = JSON) -> T | None:
        """An object; None where it could not be seen. Raises: NotFound"""
        try:
            decoder: msgspec.json.Decoder[T] = _DECODERS[kind]
            return decode(decoder, await self.client.get(path, accept=accept))
        except NotFound:
            raise
        except ApiError as problem:
            self._note(what, "get", problem)
            return None

    async def document(self, path: str, what: str) -> dict[str, Any] | None:
        """The whole object; None where it could not be seen. Raises: NotFound"""
        try:
            return _whole(await self.client.get(path))
        except NotFound:
            raise
        except ApiError as problem:
            self._note(what, "get", problem)
            return None

    async def list(
        self, path: str, kind: type[T], what: str, query: Mapping[str, str] | None = None
    ) -> "list[T] | None":
        """All objects at a path; None where they could not be seen."""

        async def decode_page(body: bytes) -> _Page:
            return decode(_PAGES, body)

        found: list[T] = []
        more = ""
        try:
            async for page in read_pages(
                self.client,
                path,
                {"limit": str(PAGE), **(query or {})},
                decode_page,
                byte_limit=MAX_BYTES,
                page_limit=MAX_PAGES,
            ):
                found += [decode(_DECODERS[kind], item) for item in page.items or ()]
                more = page.metadata.continue_
        except ApiError as problem:
            self._note(what, "list", problem)
            return None
        if more:
            self.unread[f"more {what}"] = f"only the first {PAGE * MAX_PAGES} were looked at"
        return found

    def _note(self, what: str, verb: str, problem: ApiError) -> None:
        if problem.status in FORBIDDEN:
            self.unread[what] = f"needs {verb} on {what}"
        else:
            self.unread[what] = truncate(str(problem))
