"""Builds every part, starts the loops, serves, drains; the only constructor of everything and the
only reader of Config.

All loops live in one TaskGroup: a dead loop ends the process, because a quiet half-dead webhook is
the worst outcome.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__, cluster_config, metrics
from ..cluster import namespaces as namespace_cache
from ..cluster import watch
from ..cluster.client import ApiClient
from ..cluster.credentials import SERVICE_ACCOUNT, Credentials, FromKubeconfig, InCluster
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache
from ..cluster_config import ClusterConfiguration
from ..core.policy import ClusterPolicy
from ..errors import BadInput, Unauthenticated
from ..log import Log
from ..options import Config
from ..pki import authority
from . import files, follow, standalone
from .app import AdmissionHandler, health_and_metrics
from .certificates import Certificates
from .connection import MAX_PLAIN_CONNECTIONS, Connections
from .listener import Listener
from .managed_certificates import ManagedCertificates
from .policy_bindings import BindingReconciler, tell_leftover_labels
from .previews import Previews
from .process import fit_descriptors, freeze_garbage_collector, measure_lag
from .reporting import Reporter
from .worker import Worker

STANDALONE_HOSTS = ("localhost", "127.0.0.1", "::1")
STANDALONE_LIFE = timedelta(days=30)
FLIGHT_SECONDS = 5.0
"""How long requests in flight may take when the listener is closed: more than the API server waits
(timeoutSeconds: 3)."""

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Called once everything that can be refused has been read."""


class Service:
    """One serving process."""

    def __init__(
        self, config: Config, environ: dict[str, str], log: Log, account: Path = SERVICE_ACCOUNT
    ) -> None:
        self._config = config
        self._log = log
        self._certificates = Certificates(log)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._draining = False
        self._credentials = self._find_credentials(environ, account)
        self._api_audiences = self._own_audiences()
        self.namespaces = NamespaceCache(
            ClusterPolicy(own_namespace=config.namespace, api_audiences=self._api_audiences)
        )
        self._managed: ManagedCertificates | None = None
        self._policies: BindingReconciler | None = None
        self._legacy_tokens = LegacyTokens()
        self._reporter = Reporter(log, asyncio.get_running_loop().call_later)
        worker = Worker()
        self._previews = Previews(None, self.namespaces, self._legacy_tokens, worker)
        handler = AdmissionHandler(
            self.namespaces,
            self._legacy_tokens,
            self._previews,
            log,
            self._reporter,
            worker=worker,
            certificate=lambda: self._certificates.live.pem,
        )
        self.connections = Connections(handler, log)
        front = health_and_metrics(self.unready_reasons, self._remarks, self._reporter)
        self._plain_connections = Connections(front, log, port="plain", most=MAX_PLAIN_CONNECTIONS)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises: BadInput, where a file or an address that was given cannot be used
        """
        async with AsyncExitStack() as stack:
            loops = await self._prepare(stack)
            listeners = await self._listen(stack)
            self._on_signals()
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(loop()) for loop in loops]
                self._log.info("serving", listen=str(self._config.listen), version=__version__)
                await self._stop.wait()
                await self._drain(listeners)
                for task in running:
                    task.cancel()
        self._log.info("stopped")

    def stop(self) -> None:
        """Begin to drain; a second call cuts the drain short."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def unready_reasons(self) -> list[str]:
        """What readiness still waits for, in words."""
        waiting = []
        if self._draining:
            waiting.append("draining")
        if not self._certificates.live.loaded:
            waiting.append("no certificate is loaded")
        elif self._managed is not None and not self._managed.rotation.verified:
            waiting.append("the webhook configuration does not trust our certificate yet")
        if not self.namespaces.synced:
            waiting.append("the namespaces are not listed")
        if self._config.legacy_tokens and not self._legacy_tokens.synced:
            waiting.append("the legacy token Secrets are not listed")
        return waiting

    def _remarks(self) -> list[str]:
        """What readiness does not wait for: whoever fills the port shall not take this replica
        away.
        """
        return ["connections are full, the longest idle goes"] if self.connections.is_full else []

    def _find_credentials(self, environ: dict[str, str], account: Path) -> Credentials | None:
        config = self._config
        if config.standalone:
            return None
        if config.kubeconfig:
            return FromKubeconfig(str(config.kubeconfig), config.context)
        return InCluster(environ, account)

    def _own_audiences(self) -> tuple[str, ...]:
        try:
            return self._credentials.audiences() if isinstance(self._credentials, InCluster) else ()
        except Unauthenticated as problem:
            self._log.warning("cannot read own service account token", problem=str(problem))
            return ()

    async def _prepare(self, stack: AsyncExitStack) -> list[Loop]:
        """Everything that can be refused is read here; gives the loops to run."""
        loops: list[Loop] = [
            measure_lag,
            self.connections.sweep,
            self._plain_connections.sweep,
            self._certificates.warn_before_expiry,
        ]
        if (path := self._config.config) is not None:
            contents = files.read([path], cluster_config.MAX_BYTES)
            self._settle(self._parse_configuration(path, contents))
            loops.append(partial(self._follow_configuration, path, contents))
        if self._config.standalone:
            contents = files.read(standalone.files(self._config.standalone), standalone.MAX_BYTES)
            self.namespaces.replace_all(standalone.namespaces(contents))
            self._count_namespaces()
            self._ephemeral_certificate()
            freeze_garbage_collector()
            loops.append(partial(self._follow_files, contents))
        else:
            client = await self._client(stack)
            if self._config.config is not None and isinstance(self._credentials, InCluster):
                self._policies = BindingReconciler(
                    client, lambda: self.namespaces.cluster, self._log
                )
                loops += self._policies.loops()
            loops.append(partial(tell_leftover_labels, client, self._log))
            loops.append(partial(self._follow_namespaces, client))
            if self._config.legacy_tokens:
                loops.append(partial(follow.follow, client, self._legacy_tokens, self._log))
            else:
                self._log.info("legacy token detection is off", hint="--legacy-tokens on")
            if (cert := self._config.tls_cert) and (key := self._config.tls_key):
                loops.append(partial(self._certificates.follow, cert, key))
            else:
                loops += self._manage_certificates(client)
        return loops

    def _parse_configuration(self, path: Path, contents: files.Contents) -> ClusterConfiguration:
        content = contents[path]
        if isinstance(content, files.Unreadable):
            raise BadInput(f"{path}: {content.reason}")
        try:
            return cluster_config.parse(
                content, own_namespace=self._config.namespace, api_audiences=self._api_audiences
            )
        except BadInput as problem:
            raise BadInput(*(f"{path}: {fault}" for fault in problem.faults)) from problem

    def _settle(self, settled: ClusterConfiguration) -> None:
        self.namespaces.reconfigure(settled.layer)
        if self._policies is not None:
            self._policies.configuration_changed()
        metrics.CONFIG_RELOAD_OK.set(1)
        metrics.CONFIG_INFO.clear()
        metrics.CONFIG_INFO.labels(settled.hash).set(1)
        self._log.info("configuration applied", hash=settled.hash)

    async def _follow_configuration(self, path: Path, first: files.Contents) -> None:
        async for contents in files.changes(lambda: [path], first, cluster_config.MAX_BYTES):
            try:
                self._settle(await asyncio.to_thread(self._parse_configuration, path, contents))
            except BadInput as problem:
                metrics.CONFIG_RELOAD_OK.set(0)
                self._log.error(
                    "configuration rejected, keeping the previous one", faults=problem.faults
                )

    async def _client(self, stack: AsyncExitStack) -> ApiClient:
        assert self._credentials is not None  # noqa: S101
        client = await stack.enter_async_context(
            ApiClient(self._credentials, f"boundtoken/{__version__}")
        )
        self._previews.client = client
        self.namespaces.fetch = namespace_cache.fetch_from(client, self._say_lookup_problem)
        return client

    def _manage_certificates(self, client: ApiClient) -> list[Loop]:
        self._certificates.now = client.now
        self._managed = ManagedCertificates(client, self._config, self._certificates.use, self._log)
        return self._managed.loops()

    def _say_lookup_problem(self, name: str, problem: str) -> None:
        self._log.warning("namespace lookup failed", namespace=name, problem=problem)

    async def _follow_namespaces(self, client: ApiClient) -> None:
        lost = False
        async for event in watch.stream(
            client, namespace_cache.PATH, namespace_cache.from_metadata
        ):
            if isinstance(event, watch.Disconnected):
                if not lost:
                    self._log.warning(
                        "namespace watch interrupted, serving from cache", problem=event.problem
                    )
                lost = True
                continue
            if lost:
                self._log.info("namespace watch resumed")
                lost = False
            first = not self.namespaces.synced
            self.namespaces.apply(event)
            self._count_namespaces()
            if isinstance(event, watch.Listed):
                metrics.NAMESPACE_RELISTS.labels(event.reason).inc()
                self._log.info(
                    "namespaces listed", namespaces=len(self.namespaces), reason=event.reason
                )
            if first:
                freeze_garbage_collector()

    def _count_namespaces(self) -> None:
        metrics.NAMESPACES.set(len(self.namespaces))
        metrics.NAMESPACE_CACHE_SYNCED.set(self.namespaces.synced)
        metrics.NAMESPACE_LAST_EVENT.set(time.time())

    async def _follow_files(self, first: files.Contents) -> None:
        async for contents in files.changes(
            lambda: standalone.files(self._config.standalone), first, standalone.MAX_BYTES
        ):
            try:
                self.namespaces.replace_all(
                    await asyncio.to_thread(standalone.namespaces, contents)
                )
                self._count_namespaces()
                self._log.info("namespaces read again", namespaces=len(self.namespaces))
            except BadInput as problem:
                self._log.error("namespaces refused, the old ones stay", faults=problem.faults)

    def _ephemeral_certificate(self) -> None:
        now = datetime.now(UTC)
        root = authority.make_authority("boundtoken standalone", now, STANDALONE_LIFE)
        hosts = [*dict.fromkeys([*STANDALONE_HOSTS, self._config.listen.host])]
        self._certificates.use(authority.issue(root, hosts, now, STANDALONE_LIFE))
        if (path := self._config.ca_out) is not None:
            try:
                path.write_bytes(root.certificate)
            except OSError as problem:
                raise BadInput(f"--ca-out {path}: {problem.strerror}") from problem

    async def _listen(self, stack: AsyncExitStack) -> list[Listener]:
        stack.push_async_callback(self._plain_connections.server.shutdown, 1)
        stack.push_async_callback(self.connections.server.shutdown, 1)
        fit_descriptors(self.connections, self._plain_connections, self._log)
        listeners = []
        for what, where, connections, tls in (
            ("--listen", self._config.listen, self.connections, self._certificates.live.context),
            ("--plain-listen", self._config.plain_listen, self._plain_connections, None),
        ):
            try:
                listener = Listener(where, connections, tls, self._log)
            except OSError as problem:
                raise BadInput(
                    f"{what} {where}: {problem.strerror or problem}; choose another address"
                ) from problem
            stack.callback(listener.close)
            listeners.append(listener)
        return listeners

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    async def _drain(self, listeners: list[Listener]) -> None:
        """Go on serving while endpoints follow, then close what is idle, then wait for what is in
        flight.

        Why not close at once: the API server and the endpoints learn of it seconds later, and every
        connection that we close first makes one call fail.
        """
        self._draining = True
        self.connections.draining = True
        self._log.info("draining", seconds=self._config.drain_seconds)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._config.drain_seconds)
        listeners[0].close()
        self.connections.close_idle()
        deadline = asyncio.get_running_loop().time() + FLIGHT_SECONDS
        while self.connections.busy and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  (twice a process)
            await asyncio.sleep(0.05)
