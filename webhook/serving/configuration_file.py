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
    """The file at `path`. `policy` is the one that was read at construction, or where that has
    faults, the one in `last_good`; `text` is the configuration that is applied.

    Raises: BadInput, with every fault of the file, where no last good one is given
    """

    def __init__(
        self,
        path: Path,
        log: Log,
        own_namespace: str,
        api_audiences: tuple[str, ...],
        last_good: str = "",
    ) -> None:
        self._path = path
        self._log = log
        self._own_namespace = own_namespace
        self._api_audiences = api_audiences
        self._contents = files.read([path], cluster_config.MAX_BYTES)
        self._remark = ""
        try:
            configuration = self._parse(self._contents)
            self._applied(configuration)
        except BadInput as problem:
            if not last_good:
                raise
            configuration = self._parsed(last_good)
            self._applied(configuration)
            self._rejected(problem, "the last good one", hash=configuration.hash)
        self.policy = configuration.policy

    def remarks(self) -> list[str]:
        """What /readyz says of the file."""
        return [self._remark] if self._remark else []

    async def follow(self, apply: Callable[[ClusterPolicy], Awaitable[None]]) -> None:
        """Await `apply` with each new policy, for ever; a file with faults changes nothing."""
        async for contents in files.changes(
            lambda: [self._path], self._contents, cluster_config.MAX_BYTES
        ):
            try:
                configuration = await asyncio.to_thread(self._parse, contents)
            except BadInput as problem:
                self._rejected(problem, "the previous one")
                continue
            await apply(configuration.policy)
            # Without a pause after `apply`: whoever it woke sees policy and text of one file.
            self._applied(configuration)

    def _parse(self, contents: Contents) -> ClusterConfiguration:
        content = contents[self._path]
        if isinstance(content, Unreadable):
            raise BadInput(f"{self._path}: {content.reason}")
        try:
            return self._parsed(content)
        except BadInput as problem:
            raise BadInput(*(f"{self._path}: {fault}" for fault in problem.faults)) from problem

    def _parsed(self, content: str | bytes) -> ClusterConfiguration:
        return cluster_config.parse(
            content, own_namespace=self._own_namespace, api_audiences=self._api_audiences
        )

    def _rejected(self, problem: BadInput, kept: str, **more: str) -> None:
        self._remark = f"the configuration file is rejected, {kept} is used"
        metrics.CONFIG_RELOAD_OK.set(0)
        self._log.error(f"configuration rejected, keeping {kept}", faults=problem.faults, **more)

    def _applied(self, configuration: ClusterConfiguration) -> None:
        self.text, self._remark = configuration.text, ""
        metrics.CONFIG_RELOAD_OK.set(1)
        metrics.CONFIG_INFO.clear()
        metrics.CONFIG_INFO.labels(configuration.hash).set(1)
        self._log.info("configuration applied", hash=configuration.hash)
