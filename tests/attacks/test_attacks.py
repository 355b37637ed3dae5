"""Attacks on a serving process with the Deployment's memory limit, by who reaches its ports. Honest
callers are answered meanwhile.

Each lasts SECONDS; `make long` lets it last longer and writes the figures into docs/performance.md.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.attacker import ATTACKS, HONEST, HONEST_BIG, PEAKS, STORMS, Attack, Target
from tests.support.limited import Limit, deployment_limit, image_environment
from tests.support.processes import Server, running_process
from tests.support.service import NAMESPACE

SECONDS = float(os.environ.get("BOUNDTOKEN_ATTACK_SECONDS", "3"))
REVIEW_SECONDS, PROBE_SECONDS = 3.0, 1.0
"""The patience of an API server (timeoutSeconds) and of a kubelet."""


@dataclasses.dataclass
class Honest:
    """What became of honest calls: each review on a connection of its own, and a probe of the plain
    port after it.

    Every second one has 300 KB, which is worked on beside the loop, where `big` says so.
    """

    big: bool = True

    answered: int = 0
    failed: int = 0
    slowest: float = 0.0
    probes: int = 0

    async def go_on(self, target: Target, until: float) -> None:
        while time.monotonic() < until:
            start = time.monotonic()
            good = await self._call(
                target, HONEST_BIG if self.big and (self.answered + self.failed) % 2 else HONEST
            )
            self.answered += good
            self.failed += not good
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.probes += await self._probe(target)
            await asyncio.sleep(0.02)

    async def _call(self, target: Target, review: bytes) -> bool:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(REVIEW_SECONDS):
                reader, writer = await target.connect("127.8.0.1")
                writer.write(review)
                try:
                    return b" 200 " in await reader.readuntil(b"\r\n")
                finally:
                    writer.close()
                    writer.transport.abort()
        return False

    async def _probe(self, target: Target) -> bool:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PROBE_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.plain)
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                try:
                    return b" 200 " in await reader.readuntil(b"\r\n")
                finally:
                    writer.close()
        return False


@dataclasses.dataclass
class Attacked:
    """A server under the limit."""

    server: Server
    limit: Limit

    @property
    def target(self) -> Target:
        return Target(self.server.port, self.server.plain, self.server.trust())

    @contextlib.contextmanager
    def by(self, attack: Attack, clients: int) -> Iterator[None]:
        """The attack goes on while the block runs."""
        command = [sys.executable, "-m", "tests.attacks.attacker", attack.__name__, str(clients)]
        command += [str(self.server.port), str(self.server.plain), str(self.server.ca)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
            try:
                assert attacker.stdout is not None
                assert attacker.stdout.readline() == b"attacking\n"
                yield
                assert attacker.poll() is None
            finally:
                attacker.send_signal(signal.SIGKILL)


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    namespace, limit = tmp_path / "shop.yaml", Limit(deployment_limit())
    namespace.write_text(NAMESPACE)
    with (
        limit.made(),
        running_process(
            tmp_path,
            *("--drain-seconds", "0"),
            namespaces=namespace,
            wrapped=limit.command,
            environ={**os.environ, **image_environment()},
        ) as server,
    ):
        yield Attacked(server, limit)


@pytest.mark.slow("each attack lasts three seconds, and two cores are all it takes")
@pytest.mark.parametrize(
    ("attack", "clients"), ATTACKS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_honest_callers_are_answered_and_the_memory_holds(
    attacked: Attacked, attack: Attack, clients: int
) -> None:
    honest = Honest(big=attack not in STORMS)
    with attacked.by(attack, clients):
        asyncio.run(honest.go_on(attacked.target, time.monotonic() + SECONDS))
    peak = attacked.limit.peak(attacked.server.process)
    print(
        f"{attack.__name__}, {clients} clients: {honest}, peak {peak >> 20} MiB of {attacked.limit.most >> 20}"
    )
    assert peak < PEAKS.get(attack, attacked.limit.most)
    assert attacked.server.process.poll() is None
    assert honest.answered > SECONDS / 2
    assert honest.failed == 0
    assert honest.answered - honest.probes <= 1  # the kubelet ends who fails three in a row
    assert b"internal error" not in attacked.server.log.read_bytes()
