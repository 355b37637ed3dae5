"""The cluster's configuration file, as a serving process reads it: at its start, and again when the
content changes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from .. import cluster_config, metrics
from ..cluster_config import ClusterConfiguration
from ..core.policy import ClusterPolicy
from ..errors import BadInput
from ..log import Log
from . import files
from .files import Contents, Unreadable


class ConfigurationFile:
    """The file at `path`. `policy` is the one that was read at construction.

    Raises: BadInput, with every fault of the file
    """

    def __init__(
        self, path: Path, log: Log, *, own_namespace: str, api_audiences: tuple[str, ...]
    ) -> None:
        self._path = path
        self._log = log
        self._own_namespace = own_namespace
        self._api_audiences = api_audiences
        self._contents = files.read([path], cluster_config.MAX_BYTES)
        configuration = self._parse(self._contents)
        self.policy = configuration.layer
        self._log_applied(configuration)

    async def follow(self, apply: Callable[[ClusterPolicy], Awaitable[None]]) -> None:
        """Await `apply` with each new policy, for ever; a file with faults changes nothing."""
        async for contents in files.changes(
            lambda: [self._path], self._contents, cluster_config.MAX_BYTES
        ):
            try:
                configuration = await asyncio.to_thread(self._parse, contents)
            except BadInput as problem:
                metrics.CONFIG_RELOAD_OK.set(0)
                self._log.error(
                    "configuration rejected, keeping the previous one", faults=problem.faults
                )
                continue
            await apply(configuration.layer)
            self._log_applied(configuration)

    def _parse(self, contents: Contents) -> ClusterConfiguration:
        content = contents[self._path]
        if isinstance(content, Unreadable):
            raise BadInput(f"{self._path}: {content.reason}")
        try:
            return cluster_config.parse(
                content, own_namespace=self._own_namespace, api_audiences=self._api_audiences
            )
        except BadInput as problem:
            raise BadInput(*(f"{self._path}: {fault}" for fault in problem.faults)) from problem

    def _log_applied(self, configuration: ClusterConfiguration) -> None:
        metrics.CONFIG_RELOAD_OK.set(1)
        metrics.CONFIG_INFO.clear()
        metrics.CONFIG_INFO.labels(configuration.hash).set(1)
        self._log.info("configuration applied", hash=configuration.hash)
