"""Certificates that this process makes itself: the loop that keeps them, the watches that wake it,
and what is told.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from .. import metrics
from ..cluster import watch
from ..cluster.client import ApiClient
from ..core import names
from ..log import Level, Log
from ..options import Config
from ..pki import authority
from ..pki.authority import KeyPair
from ..pki.lifecycle import Lifetimes
from ..pki.rotation import Rotation
from ..pki.store import GROUP, KINDS, SECRET, Store


class ManagedCertificates:
    """Mode `self`: no files, no cert-manager. `use` is given each new leaf."""

    def __init__(
        self, client: ApiClient, config: Config, use: Callable[[KeyPair], None], log: Log
    ) -> None:
        self._client = client
        self._log = log
        store = Store(client, config.namespace, config.webhook_configurations)
        hosts = authority.service_hosts(names.APP, config.namespace)
        self.rotation = Rotation(
            store,
            hosts,
            use,
            self._say,
            lifetimes=Lifetimes(config.ca_duration, config.leaf_duration),
        )
        metrics.CABUNDLE_IN_SYNC.set_function(lambda: self.rotation.in_sync)

    def loops(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What must run."""
        store = self.rotation.store
        watched = [
            (f"{GROUP}/{resource}", name) for resource in KINDS for name in store.configurations
        ]
        watched.append((store.secrets, SECRET))
        return [
            partial(self.rotation.run, self._client.now),
            *(partial(self._wake_on_changes, path, name) for path, name in watched),
        ]

    async def _wake_on_changes(self, path: str, name: str) -> None:
        only = f"metadata.name={name}"
        async for event in watch.stream(
            self._client, path, lambda metadata: metadata.name, field_selector=only
        ):
            if not isinstance(
                event, watch.Disconnected
            ):  # that nobody can be asked is no reason to ask
                self.rotation.wake()

    def _say(self, kind: str, result: str, reason: str) -> None:
        metrics.CERTIFICATE_ROTATIONS.labels(kind, result).inc()
        level: Level = "error" if result == "failed" else "info"
        self._log.line(level, "certificates", {"kind": kind, "did": result, "reason": reason})
        if (bundle := self.rotation.bundle) is not None:
            not_after = authority.read_certificate(bundle.current.certificate).not_valid_after_utc
            metrics.CERTIFICATE_NOT_AFTER.labels("ca").set(not_after.timestamp())
