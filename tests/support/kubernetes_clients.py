"""The Kubernetes clients that have an adapter, as one interface for tests."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import kubernetes.aio.client
import kubernetes.aio.watch
import kubernetes.client
import kubernetes.watch
import kubernetes_asyncio.client
import kubernetes_asyncio.watch

from webhook.tokens import TokenSource
from webhook.tokens.adapters import (
    kubernetes_aio_client,
    kubernetes_asyncio_client,
    kubernetes_client,
)


class Kubernetes:
    """kubernetes"""

    gets = "get"
    tells_of_redirects = True
    adapter: Any = kubernetes_client
    package: Any = kubernetes

    def __init__(self, source: TokenSource, url: str, ca: str | None = None) -> None:
        self.configuration = self.package.client.Configuration()
        self.configuration.host = url
        self.configuration.ssl_ca_cert = ca
        self.source = source
        self.api = self.run(self._make)

    def _make(self) -> Any:
        return self.adapter.TokenApiClient(self.source, self.configuration)

    def run(self, call: Callable[[], Any]) -> Any:
        """What a call of the client gives."""
        return call()

    def core(self, api: Any = None) -> Any:
        return self.package.client.CoreV1Api(api or self.api)

    def names(self, namespace: str = "shop", **options: Any) -> list[str]:
        """The names of the ConfigMaps of a namespace."""
        core = self.core()
        found = self.run(lambda: core.list_namespaced_config_map(namespace, **options))
        return [item.metadata.name for item in found.items]

    def create(self, name: str, namespace: str = "shop") -> None:
        core, body = self.core(), {"metadata": {"name": name}, "data": {"a": "b"}}
        self.run(lambda: core.create_namespaced_config_map(namespace, body))

    def watched(self, namespace: str = "shop") -> list[str]:
        """The names in the events of a watch of two seconds."""
        watch, core = self.package.watch.Watch(), self.core()
        events = watch.stream(core.list_namespaced_config_map, namespace, timeout_seconds=2)
        return [event["object"].metadata.name for event in events]

    def close(self) -> None:
        self.api.close()

    @property
    def refused(self) -> type[Exception]:
        """What the client raises for an answer that is an error."""
        refused: type[Exception] = self.package.client.ApiException
        return refused


class KubernetesAio(Kubernetes):
    """kubernetes.aio"""

    gets = "aget"
    adapter: Any = kubernetes_aio_client
    package: Any = kubernetes.aio

    def __init__(self, source: TokenSource, url: str, ca: str | None = None) -> None:
        self.runner = asyncio.Runner()
        super().__init__(source, url, ca)

    def run(self, call: Callable[[], Any]) -> Any:
        async def awaited() -> Any:
            result = call()
            return await result if asyncio.iscoroutine(result) else result

        return self.runner.run(awaited())

    def watched(self, namespace: str = "shop") -> list[str]:
        async def names() -> list[str]:
            core = self.core()
            async with self.package.watch.Watch() as watch:
                events = watch.stream(core.list_namespaced_config_map, namespace, timeout_seconds=2)
                return [event["object"].metadata.name async for event in events]

        return list(self.runner.run(names()))

    def close(self) -> None:
        with contextlib.closing(self.runner):
            self.run(self.api.close)


class KubernetesAsyncio(KubernetesAio):
    """kubernetes_asyncio"""

    tells_of_redirects = False
    adapter: Any = kubernetes_asyncio_client
    package: Any = kubernetes_asyncio


ALL = [Kubernetes, KubernetesAio, KubernetesAsyncio]
