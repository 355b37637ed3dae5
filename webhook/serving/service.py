"""Wiring: constructs every part with all it needs, runs the loops, listens and drains. Config is
read here and in what is constructed for it: `certificate_sources` and `in_cluster`.

All loops run in one TaskGroup: a loop that fails ends the process, because a webhook of which a
part has stopped, and which does not say so, is the worst outcome.
"""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from .. import __version__, metrics
from ..cluster.client import ApiClient
from ..cluster.credentials import SERVICE_ACCOUNT, credentials_for, own_audiences
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache, fetch_from
from ..core.policy import ClusterPolicy
from ..log import Log
from ..options import Config
from .app import AdmissionHandler, health_and_metrics
from .certificate_sources import certificate_source
from .certificates import ServedCertificate
from .configuration_file import ConfigurationFile
from .connection import MAX_METRICS_CONNECTIONS, Connections
from .expiry import warn_before_expiry
from .follow import follow_namespaces, log_lookup_problem
from .in_cluster import loops_in_cluster
from .policy_bindings import binding_reconciler
from .ports import drain, open_ports
from .previews import Previews
from .process import Loop, accept_deep_objects, measure_lag
from .reporting import Reporter
from .standalone import NamespaceFiles
from .worker import Worker


class Service:
    """One serving process. Construct it in a running event loop, then await `run`. `last_good` is
    the configuration to start with if the file has faults.

    Raises: BadInput, where a given file cannot be used; Unauthenticated
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        log: Log,
        account: Path = SERVICE_ACCOUNT,
        last_good: str = "",
    ) -> None:
        self._config, self._log = config, log
        accept_deep_objects()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._credentials = (
            None
            if config.standalone
            else credentials_for(config.kubeconfig, config.context, environ, account)
        )
        audiences = own_audiences(self._credentials, log)
        policy = ClusterPolicy(own_namespace=config.namespace, api_audiences=audiences)
        self._configuration: ConfigurationFile | None = None
        if config.config is not None:
            self._configuration = ConfigurationFile(
                config.config, log, policy.own_namespace, audiences, last_good
            )
            policy = self._configuration.policy
        agent = f"boundtoken/{__version__}"
        self._client = client = ApiClient(self._credentials, agent) if self._credentials else None
        self.namespaces = NamespaceCache(
            policy, fetch_from(client, partial(log_lookup_problem, log)) if client else None
        )
        self._bindings = binding_reconciler(
            client, self._credentials, self._configuration, self.namespaces, log
        )
        self._legacy_tokens = LegacyTokens()
        now = client.now if client and config.tls_cert is None else partial(datetime.now, UTC)
        self._served = ServedCertificate(now, log)
        self._source = certificate_source(client, config, self._served, log)
        worker = Worker()
        reporter = Reporter(log, asyncio.get_running_loop().call_later, config.namespace_metrics)
        handler = AdmissionHandler(
            self.namespaces,
            self._legacy_tokens,
            Previews(client, self.namespaces, self._legacy_tokens, worker),
            log,
            reporter,
            worker=worker,
            certificate=lambda: self._served.live.pem,
        )
        self.connections = Connections(handler, log)
        self._metrics_connections = Connections(
            health_and_metrics(self.unready_reasons, self._remarks, reporter),
            log,
            port="plain",
            limit=MAX_METRICS_CONNECTIONS,
        )
        self._loops = self._all_loops()
        metrics.READY.set_function(lambda: not self.unready_reasons())

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises: BadInput, where a given address cannot be used
        """
        config = self._config
        async with AsyncExitStack() as stack:
            if self._client is not None:
                await stack.enter_async_context(self._client)
            listener = await stack.enter_async_context(
                open_ports(
                    (config.listen, self.connections, self._served.live.context),
                    (config.plain_listen, self._metrics_connections),
                    self._log,
                )
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(loop()) for loop in self._loops]
                self._log.info("serving", listen=str(config.listen), version=__version__)
                await self._stop.wait()
                self._log.info("draining", seconds=config.drain_seconds)
                await drain(listener, self.connections, config.drain_seconds, self._hurry)
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
        loaded = self._served.live.loaded
        untrusted = loaded and not self._source.is_trusted
        unlisted = self._config.legacy_tokens and not self._legacy_tokens.synced
        reasons = {
            "draining": self.connections.draining,
            "no certificate is loaded": not loaded,
            "the webhook configuration does not trust our certificate yet": untrusted,
            "the namespaces are not listed": not self.namespaces.synced,
            "the legacy token Secrets are not listed": unlisted,
        }
        return [reason for reason, holds in reasons.items() if holds]

    def _remarks(self) -> list[str]:
        """What /readyz says of a ready replica. Full connections are no reason to be unready: else
        whoever fills the port would take this replica out of service.
        """
        full = ["connections are full, the longest idle goes"] if self.connections.is_full else []
        return [*full, *(self._configuration.remarks() if self._configuration else ())]

    def _all_loops(self) -> list[Loop]:
        live, now = self._served.live, self._served.now
        loops: list[Loop] = [
            measure_lag,
            self.connections.sweep,
            self._metrics_connections.sweep,
            partial(warn_before_expiry, live, now, self._log),
            *self._source.loops(),
        ]
        if self._configuration is not None:
            loops.append(partial(self._configuration.follow, self._reconfigure))
        if self._client is None:
            namespaces = NamespaceFiles(self._config.standalone, self.namespaces, self._log)
            return [*loops, namespaces.follow]
        loops += loops_in_cluster(
            self._client,
            self._credentials,
            self._config,
            self._legacy_tokens,
            self._log,
            unready=self.unready_reasons,
            draining=lambda: self.connections.draining,
        )
        loops.append(partial(follow_namespaces, self._client, self.namespaces, self._log))
        if self._bindings is not None:
            loops += self._bindings.loops()
        return loops

    async def _reconfigure(self, policy: ClusterPolicy) -> None:
        await self.namespaces.prepare(cluster=policy)
        self.namespaces.reconfigure(policy)
        if self._bindings is not None:
            self._bindings.configuration_changed()
