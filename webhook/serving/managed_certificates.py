"""Certificates that the replicas make themselves: the loop that keeps them valid, the watches that
wake this loop, and what is logged.
"""

from collections.abc import Callable
from functools import partial

from .. import metrics
from ..cluster import watch
from ..cluster.client import ApiClient
from ..core import names
from ..log import Log, LogLevel
from ..options import Config
from ..pki import authority
from ..pki.lifecycle import Lifetimes
from ..pki.pem import KeyPair
from ..pki.rotation import Rotation
from ..pki.store import GROUP, KINDS, SECRET, Store
from .process import Loop


class ManagedCertificates:
    """Self-managed certificates, without files and without cert-manager. `use` is given each new
    leaf.
    """

    def __init__(
        self, client: ApiClient, config: Config, use: Callable[[KeyPair], None], log: Log
    ) -> None:
        self._client = client
        self._log = log
        store = Store(client, config.namespace, config.webhook_configurations)
        hosts = authority.service_hosts(names.APP, config.namespace)
        self._rotation = Rotation(
            store,
            hosts,
            use,
            self._log_event,
            lifetimes=Lifetimes(config.ca_duration, config.leaf_duration),
        )
        metrics.CABUNDLE_IN_SYNC.set_function(lambda: self._rotation.in_sync)

    @property
    def is_trusted(self) -> bool:
        return self._rotation.verified

    def loops(self) -> list[Loop]:
        store = self._rotation.store
        watched = [
            (f"{GROUP}/{resource}", name)
            for resource in KINDS
            for name in store.configuration_names
        ]
        watched.append((store.secrets, SECRET))
        return [
            partial(self._rotation.run, self._client.now),
            *(partial(self._wake_on_changes, path, name) for path, name in watched),
        ]

    async def _wake_on_changes(self, path: str, name: str) -> None:
        selector = f"metadata.name={name}"
        async for event in watch.stream(
            self._client, path, lambda metadata: metadata.name, field_selector=selector
        ):
            # While the API server is away there is nothing to reconcile with.
            if not isinstance(event, watch.Disconnected):
                self._rotation.wake()

    def _log_event(self, kind: str, action: str, reason: str, configuration: str = "") -> None:
        metrics.CERTIFICATE_ROTATIONS.labels(kind, action).inc()
        level: LogLevel = "error" if action == "failed" else "info"
        if configuration:
            fields = {"configuration": configuration, "reason": reason}
            self._log.line(level, "caBundle updated", fields)
        else:
            fields = {"kind": kind, "action": action, "reason": reason}
            self._log.line(level, "certificate rotation", fields)
        if (authorities := self._rotation.authorities) is not None:
            current = authorities.current.certificate
            metrics.CERTIFICATE_NOT_BEFORE.labels("ca").set(current.not_before.timestamp())
            metrics.CERTIFICATE_NOT_AFTER.labels("ca").set(current.not_after.timestamp())
