"""All adapters call the real API server while their tokens, of 600 seconds, expire.

`make long` lets it last eleven minutes, with the real clock (BOUNDTOKEN_EXPIRY_SECONDS=660), and
prints the figures for docs/performance.md. Else the clock of the sources runs so much faster that
they rotate in a few seconds; then no token expires for the API server.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.controlplane.cluster import StatusError
from tests.controlplane.volumes import show
from tests.support.adapters import OK, Caller, callers
from tests.support.cluster import Cluster
from tests.support.grpc_server import GrpcServer
from tests.support.waiting import wait_for
from webhook.tokens import (
    ApiServer,
    TokenFile,
    TokenRequest,
    TokenRequestSource,
    TokenSource,
    claims_of,
)

LIFETIME, RUN = 600, 660
SECONDS = float(os.environ.get("BOUNDTOKEN_EXPIRY_SECONDS", "6"))
IS_REAL = SECONDS >= RUN
EVERY_SECONDS = 3.0 if IS_REAL else 0.1
LEEWAY_SECONDS = 60.0
"""That the API server accepts a token after its expiry."""


def clock() -> float:
    """The real time, or one in which RUN seconds pass in SECONDS."""
    return time.time() * max(RUN / SECONDS, 1.0)


class Recorded:
    """A source, with the tokens that it gave, how many of them after their expiry, and the ones
    that were rejected.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.tokens: dict[str, int] = Counter()
        self.rejected: list[str] = []
        self.late = 0

    def get(self) -> str:
        return self._given(self._source.get())

    async def aget(self) -> str:
        return self._given(await self._source.aget())

    def renew(self, rejected: str) -> str:
        self.rejected.append(rejected)
        return self._source.renew(rejected)

    async def arenew(self, rejected: str) -> str:
        self.rejected.append(rejected)
        return await self._source.arenew(rejected)

    def _given(self, token: str) -> str:
        self.tokens[token] += 1
        self.late += IS_REAL and time.time() >= (claims_of(token).expires_at or 0)
        return token


class Files:
    """A volume with a token that is replaced as the kubelet replaces it."""

    def __init__(self, folder: Path, source: TokenRequestSource) -> None:
        self.path = folder / "token"
        self._folder = folder
        self._source = source
        self._last = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> TokenFile:
        self._write()
        self._thread.start()
        return TokenFile(self.path)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _write(self) -> None:
        if (token := self._source.get()) != self._last:
            self._last = token
            show(self._folder, {"token": token.encode()})

    def _run(self) -> None:
        while not self._end.wait(EVERY_SECONDS / 2):
            self._write()


@pytest.fixture
def grpc_server(tmp_path: Path) -> Iterator[GrpcServer]:
    with GrpcServer(tmp_path) as server:
        yield server


def calls(caller: Caller, source: Recorded) -> Counter[int]:
    """The statuses of one adapter's calls."""
    statuses: Counter[int] = Counter()
    until = time.monotonic() + SECONDS
    with caller(source) as call:
        while time.monotonic() < until:
            statuses[call()] += 1
            time.sleep(EVERY_SECONDS)
    return statuses


def refusals(cluster: Cluster, namespace: str) -> int:
    """How often the API server has answered 401 about a namespace, from its audit log."""
    events = map(json.loads, cluster.plane.audit_log.read_text().splitlines())
    return sum(
        namespace in event["requestURI"].split("/")
        and event.get("responseStatus", {}).get("code") == 401
        for event in events
    )


def test_no_call_is_refused_while_tokens_expire(
    cluster: Cluster, grpc_server: GrpcServer, tmp_path: Path
) -> None:
    plane, namespace = cluster.plane, cluster.namespace()
    cluster.reader(namespace)
    server = ApiServer.from_kubeconfig(str(plane.kubeconfig()))

    def request() -> TokenRequestSource:
        return TokenRequestSource(
            server, TokenRequest(namespace, "default", (), LIFETIME), clock=clock
        )

    (tmp_path / "volume").mkdir()
    with Files(tmp_path / "volume", request()) as file:
        found = callers(plane, namespace, grpc_server)
        tasks = {f"{name}, asking": (caller, Recorded(request())) for name, caller in found.items()}
        tasks |= {f"{name}, file": (caller, Recorded(file)) for name, caller in found.items()}
        first = {name: source.get() for name, (_, source) in tasks.items()}
        with ThreadPoolExecutor(len(tasks)) as threads:
            running = {name: threads.submit(calls, *task) for name, task in tasks.items()}
            statuses = {name: future.result() for name, future in running.items()}
    for name, (_, source) in tasks.items():
        print(
            f"{name}: {statuses[name].total()} calls, {len(source.tokens) - 1} rotations, "
            f"{len(source.rejected)} answered with 401"
        )
    for name, (_, source) in tasks.items():
        assert set(statuses[name]) == {OK}, name
        assert (source.rejected, source.late) == ([], 0), name
        assert len(source.tokens) > 1, name
    assert refusals(cluster, namespace) == 0
    if IS_REAL:
        ends = set(first.values())
        wait_for(
            lambda: not any(plane.review_token(token).get("authenticated") for token in ends),
            LEEWAY_SECONDS + 30,
        )
        for token in ends:  # as a program would that has read it once
            with pytest.raises(StatusError, match="401"):
                plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps", token=token)
        wait_for(lambda: refusals(cluster, namespace) >= len(ends))
