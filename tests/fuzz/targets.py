"""What is fuzzed: each target takes one input and raises where anything but the documented
happens.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.fuzz import inputs
from tests.support.api import Api
from webhook import cluster_config, documents
from webhook.cluster import namespaces, watch
from webhook.cluster.client import ApiClient
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.policies import bindings
from webhook.errors import ApiError, BadCertificate, BadInput
from webhook.pki import authority, ca_secret, lifecycle, replicas
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.pem import read_key_pair, read_private_key, unique
from webhook.pki.store import Store
from webhook.serving import standalone
from webhook.serving.tls import LiveCertificate

Check = Callable[[bytes], None]
MOMENTS = (
    inputs.NOW - timedelta(days=400),
    inputs.NOW,
    inputs.NOW + timedelta(days=250),
    inputs.NOW + timedelta(days=4000),
)


class Target(NamedTuple):
    name: str
    make: inputs.Make
    ready: Callable[[], AbstractContextManager[Check]]


@contextlib.contextmanager
def configurations() -> Iterator[Check]:
    """BadInput, with faults of a bounded number and length that a log can hold, or something that
    can be written as JSON.
    """

    def check(content: bytes) -> None:
        for read in (_settings, lambda text: standalone.namespaces({Path("a.yaml"): text})):
            try:
                msgspec.json.encode(read(content))
            except BadInput as problem:
                assert len(problem.faults) <= documents.MAX_FAULTS + 1
                assert all(len(fault) <= documents.MAX_FAULT_CHARS for fault in problem.faults)
                msgspec.json.encode(problem.faults)

    yield check


def _settings(content: bytes) -> object:
    return bindings.annotations(cluster_config.parse(content).policy)


@contextlib.contextmanager
def pairs() -> Iterator[Check]:
    """BadCertificate, and what served before goes on serving."""
    live = LiveCertificate()

    def check(given: bytes) -> None:
        certificates, _, key = given.partition(b"\0")
        try:
            pair = read_key_pair(certificates, key)
        except BadCertificate:
            return
        for use in (
            read_private_key,
            lambda ca: authority.issue(ca, ["a"], inputs.NOW, timedelta(days=1)),
        ):
            with contextlib.suppress(BadCertificate):
                use(pair)
        before = live.pem
        try:
            live.replace(pair, inputs.NOW)
        except BadCertificate:
            assert live.pem == before
        pair.certificate.is_signed_by(inputs.CA.certificate)
        unique((*ca_secret.made_by_us(pair.chain), *pair.chain))

    yield check


@contextlib.contextmanager
def secrets() -> Iterator[Check]:
    """BadCertificate, or a bundle with which every rule works at any time, and which survives being
    written.
    """

    def check(given: bytes) -> None:
        try:
            authorities = ca_secret.from_data(json.loads(given))
        except BadCertificate:
            return
        assert ca_secret.from_data(ca_secret.to_data(authorities)) == authorities
        for now in MOMENTS:
            step, _ = lifecycle.next_step(authorities, now, Lifetimes(), published=True)
            then = lifecycle.apply_step(step, authorities, now, Lifetimes(), authorities.trusted())
            lifecycle.with_trusted(then, inputs.CA.certificate, now, Lifetimes())
            leaf = (
                authority.issue(then.current, ["a"], now, timedelta(days=7))
                if then.current.certificate.is_valid(now)
                else None
            )
            lifecycle.renewal_reason(leaf, authorities.current, ["a"], now)
            lifecycle.renewal_time(then.current.certificate, now)

    yield check


@contextlib.contextmanager
def answers() -> Iterator[Check]:
    """ApiError from every call, and a stream that goes on. The bytes come over a real socket, which
    then closes.
    """
    given = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(given)
            await writer.drain()
        writer.close()

    async def ask_all(calls: list[Callable[[ApiClient], Awaitable[object]]]) -> None:
        async with ApiClient(api, "test") as client:
            for call in calls:
                with contextlib.suppress(ApiError):
                    async with asyncio.timeout(5):
                        await call(client)

    def check(response: bytes) -> None:
        nonlocal given
        given = response
        runner.run(ask_all(CALLS))

    with asyncio.Runner() as runner:
        api = Api()
        server = _started(runner, serve)
        api.server = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield check
        server.close()


def _started(runner: asyncio.Runner, serve: Callable[..., Awaitable[None]]) -> asyncio.Server:
    async def start() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    return runner.run(start())


async def _listed(client: ApiClient) -> None:
    events = watch.stream(client, namespaces.PATH, namespaces.from_metadata)
    namespaces.NamespaceCache(ClusterPolicy()).apply(await anext(events))
    await events.aclose()  # type: ignore[attr-defined]


async def _watched(client: ApiClient) -> None:
    async for line in watch._watch(client, namespaces.PATH, {}, 1, 1):
        if (event := watch._event(line, namespaces.from_metadata)) is not None:
            namespaces.NamespaceCache(ClusterPolicy()).apply(event)


def _store(client: ApiClient) -> Store:
    return Store(client, "boundtoken-system", ("boundtoken",))


CALLS: list[Callable[[ApiClient], Awaitable[object]]] = [
    _listed,
    _watched,
    lambda client: namespaces.fetch_from(client, lambda *_: None)("shop"),
    lambda client: _store(client).read_secret(),
    lambda client: _store(client).read_ca_bundles(),
    lambda client: replicas.fetch(client, "boundtoken-system"),
    lambda client: client.send("PATCH", "/x", {}),
]

TARGETS = (
    Target("configurations", inputs.a_configuration, configurations),
    Target("pairs", inputs.a_pair, pairs),
    Target("secrets", inputs.a_secret, secrets),
    Target("answers", inputs.an_answer, answers),
)


def made(target: Target, seed: int) -> Iterator[bytes]:
    """Inputs for ever, the same for the same seed."""
    rng = random.Random(f"{target.name} {seed}")
    while True:
        yield target.make(rng)
