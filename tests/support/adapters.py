"""Every adapter as one call: to the real API server, or to a gRPC server that asks it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.controlplane.cluster import ControlPlane
from tests.support import http_clients, kubernetes_clients
from tests.support.grpc_server import UNARY, GrpcServer
from webhook.tokens import TokenSource
from webhook.tokens.adapters import grpc_aio_auth, grpc_auth

OK = 200
Call = Callable[[], int]
"""Gives the HTTP status of the answer."""
Caller = Callable[[TokenSource], AbstractContextManager[Call]]


def callers(plane: ControlPlane, namespace: str, server: GrpcServer) -> dict[str, Caller]:
    """One for each adapter, by its name. They list the ConfigMaps of a namespace."""
    server.accepts = lambda token: bool(plane.review_token(token).get("authenticated"))
    found: dict[str, Caller] = {}
    for http in http_clients.ALL:
        found[str(http.__doc__)] = _http(http, plane, namespace)
    for kubernetes in kubernetes_clients.ALL:
        found[str(kubernetes.__doc__)] = _kubernetes(kubernetes, plane, namespace)
    return found | {"grpc": _grpc(server), "grpc.aio": _grpc_aio(server)}


def _http(way: Any, plane: ControlPlane, namespace: str) -> Caller:
    @contextmanager
    def caller(source: TokenSource) -> Iterator[Call]:
        url = f"{plane.url}/api/v1/namespaces/{namespace}/configmaps"
        with contextlib.closing(way(source, plane.url, plane.ca_file)) as client:
            yield lambda: int(client.send("GET", url).status)

    return caller


def _kubernetes(way: Any, plane: ControlPlane, namespace: str) -> Caller:
    @contextmanager
    def caller(source: TokenSource) -> Iterator[Call]:
        with contextlib.closing(way(source, plane.url, str(plane.ca_file))) as client:

            def call() -> int:
                try:
                    client.names(namespace)
                except client.refused as problem:
                    return int(problem.status)
                return OK

            yield call

    return caller


def _grpc(server: GrpcServer) -> Caller:
    @contextmanager
    def caller(source: TokenSource) -> Iterator[Call]:
        with grpc_auth.secure_channel(server.target, source, server.tls()) as opened:
            channel: Any = opened
            yield lambda: OK if channel.unary_unary(UNARY)(b"a") == b"a" else 0

    return caller


def _grpc_aio(server: GrpcServer) -> Caller:
    @contextmanager
    def caller(source: TokenSource) -> Iterator[Call]:
        with asyncio.Runner() as runner:

            async def open_channel() -> Any:
                return grpc_aio_auth.secure_channel(server.target, source, server.tls())

            async def call(channel: Any) -> int:
                return OK if await channel.unary_unary(UNARY)(b"a") == b"a" else 0

            channel = runner.run(open_channel())
            yield lambda: runner.run(call(channel))
            runner.run(channel.close())

    return caller
