"""A scan of the cluster of a kubeconfig: lists, page by page, of which little is kept."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec

from ... import __version__
from ...cluster.client import ApiClient
from ...cluster.credentials import FromKubeconfig
from ...cluster.legacy_tokens import SELECTOR
from ...core import names
from ...core.policy import ClusterPolicy
from ...errors import ApiError, NotFound
from ...scanning import views
from ...scanning.report import Report, Selection
from ...scanning.rights import Rights
from ...scanning.scan import Scan, Surroundings, document_of
from ...tokens.rbac.objects import GROUP_PATH, Binding, Role
from ..cluster import own_namespace, surroundings
from ..cluster.kinds import BY_KIND, Kind
from ..cluster.reader import Reader
from .progress import Progress

T = TypeVar("T")
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
"""Of Secrets: an API server that cannot leave their data out refuses, rather than send it."""
TEMPLATES = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicationController")
"""Not ReplicaSets, of which each Deployment keeps ten: their pods are worked out from
themselves."""
FORBIDDEN = 403
NO_API_SERVER = "the server of the kubeconfig does not answer as an API server does"


class Live:
    """Reads what a scan needs, in the order in which it needs it."""

    def __init__(self, parsed: argparse.Namespace, reader: Reader, progress: Progress) -> None:
        self.parsed, self.reader, self.progress = parsed, reader, progress
        self.scan = Scan(Surroundings())
        self.namespaces: frozenset[str] | None = None
        """Those that are looked at; None for all."""

    async def read(self, configuration: ClusterPolicy | None) -> None:
        """Everything. Raises: NotFound, for a namespace that is not there"""
        self.scan = Scan(await self._surroundings(configuration))
        self.scan.unread = self.reader.unread
        self.scan.is_whole = not self.parsed.selector
        self.scan.selection = Selection(
            tuple(sorted(set(self.parsed.namespace))),
            self.parsed.selector or "",
            self.parsed.namespace_selector or "",
            configured=bool(self.parsed.config or self.parsed.webhook_namespace),
        )
        await self._namespaces()
        await self._accounts()
        await self._drivers()
        for kind in TEMPLATES:
            await self._workloads(BY_KIND[kind])
        await self._pods()
        await self._rights()

    async def _surroundings(self, configuration: ClusterPolicy | None) -> Surroundings:
        found = await own_namespace.configurations(self.reader, (surroundings.MUTATING,))
        called = own_namespace.called(found)
        own = self.parsed.webhook_namespace or next(iter(called), names.NAMESPACE)
        configured = await surroundings.configuration(self.reader, own, configuration)
        return Surroundings(
            configured.cluster,
            found[surroundings.MUTATING],
            configured.source != surroundings.ASSUMED,
        )

    async def _namespaces(self) -> None:
        if self.parsed.namespace:
            self.namespaces = frozenset(self.parsed.namespace)
            for name in sorted(self.namespaces):
                what = f"namespaces/{name}"
                path = f"/api/v1/namespaces/{name}"
                found = await self.reader.get(path, views.Namespace, what)
                if found is not None:
                    self.scan.add_namespace(found)
                else:
                    unseen = views.ScannedMetadata(name=name)
                    self.scan.add_namespace(views.Namespace(unseen), is_known=False)
            return
        selector = self.parsed.namespace_selector
        query = {"labelSelector": selector} if selector else {}
        path, chosen = "/api/v1/namespaces", set[str]()
        async for namespace in self._listed(path, views.Namespace, "namespaces", query):
            self.scan.add_namespace(namespace)
            chosen.add(namespace.metadata.name)
        if selector:
            self.namespaces = frozenset(chosen)

    async def _accounts(self) -> None:
        kind = Kind("ServiceAccount", "v1", "serviceaccounts", "sa")
        async for account in self._in_namespaces(kind, views.ServiceAccount):
            if self._is_chosen(account.metadata.namespace):
                self.scan.accounts.add(account)
        kind = Kind("Secret", "v1", "secrets", "")
        query = {"fieldSelector": SELECTOR}
        async for secret in self._in_namespaces(kind, views.Secret, query, METADATA_ONLY):
            if self._is_chosen(secret.metadata.namespace):
                self.scan.accounts.add_secret(secret)
        self.scan.accounts.are_secrets_known = not self._is_unread("secrets")

    async def _drivers(self) -> None:
        path = "/apis/storage.k8s.io/v1/csidrivers"
        async for driver in self._listed(path, views.CsiDriver, "csidrivers", {}):
            self.scan.add_driver(driver)
        if self._is_unread("csidrivers"):
            self.scan.drivers = None

    async def _workloads(self, kind: Kind) -> None:
        async for workload in self._in_namespaces(kind, views.Workload, self._selector):
            namespace = workload.metadata.namespace
            if self._is_chosen(namespace):
                document = document_of(workload, kind.api, kind.kind)
                self.scan.add_workload(document, namespace)
        if self._is_unread(kind.resource):
            self.scan.is_whole = False

    async def _pods(self) -> None:
        async for pod in self._in_namespaces(BY_KIND["Pod"], views.Pod, self._selector):
            if self._is_chosen(pod.metadata.namespace):
                self.scan.add_pod(pod)
        if self._is_unread("pods"):
            self.scan.is_whole = False

    async def _rights(self) -> None:
        rights = Rights(self.namespaces)
        within = Kind("Role", GROUP_PATH.removeprefix("/apis/"), "roles", "")
        async for role in self._listed(f"{GROUP_PATH}/clusterroles", Role, "clusterroles", {}):
            rights.add_role(role)
        async for role in self._in_namespaces(within, Role):
            rights.add_role(role)
        what = "clusterrolebindings"
        async for binding in self._listed(f"{GROUP_PATH}/{what}", Binding, what, {}):
            rights.add_binding(binding)
        bindings = within._replace(kind="RoleBinding", resource="rolebindings")
        async for binding in self._in_namespaces(bindings, Binding):
            rights.add_binding(binding)
        self.scan.minters = rights.minters

    @property
    def _selector(self) -> dict[str, str]:
        return {"labelSelector": self.parsed.selector} if self.parsed.selector else {}

    def _is_chosen(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces

    def _is_unread(self, resource: str) -> bool:
        return any(what.split(" in ")[0] == resource for what in self.reader.unread)

    async def _in_namespaces(
        self,
        kind: Kind,
        view: type[T],
        query: dict[str, str] | None = None,
        accept: str = "application/json",
    ) -> AsyncIterator[T]:
        """The objects of each namespace that was named, or of all in one list."""
        for namespace in sorted(self.parsed.namespace) or [""]:
            what = f"{kind.resource} in {namespace}" if namespace else kind.resource
            path = kind.path(namespace)
            async for item in self._listed(path, view, what, query or {}, accept):
                yield item

    async def _listed(
        self,
        path: str,
        view: type[T],
        what: str,
        query: dict[str, str],
        accept: str = "application/json",
    ) -> AsyncIterator[T]:
        async for item in self.reader.stream(
            path, view, what, query, accept=accept, on_page=self.progress
        ):
            yield item


async def scan(parsed: argparse.Namespace, configuration: ClusterPolicy | None) -> Report:
    """The report; not complete where it was interrupted by Ctrl-C.

    Raises: ApiError, where the cluster cannot be reached; NotFound; Unauthenticated
    """
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    progress = Progress()
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        live = Live(parsed, Reader(client), progress)
        is_complete = False
        try:
            await _reach(client)
            await live.read(configuration)
            is_complete = True
        except NotFound as problem:
            raise NotFound(f"a namespace is not there: {problem}") from problem
        except asyncio.CancelledError:
            live.scan.interrupt()
        finally:
            progress.clear()
        time = client.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return live.scan.report(time, credentials.context, complete=is_complete)


async def _reach(client: ApiClient) -> None:
    """That /version may not be read is no matter.

    Raises: ApiError, where nobody answers, where nobody knows us, and where who answers is no API
    server; Unauthenticated
    """
    try:
        body = await client.get("/version")
    except ApiError as problem:
        if problem.status in (0, 401):
            raise
        if problem.status != FORBIDDEN:
            raise ApiError(f"GET /version: {problem}: {NO_API_SERVER}", problem.status) from problem
        return
    try:
        msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise ApiError(f"GET /version: the answer is no JSON: {NO_API_SERVER}") from problem
