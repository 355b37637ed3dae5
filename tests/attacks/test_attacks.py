"""Attacks on a serving process with the Deployment's memory limit, by who reaches its ports. Honest
callers are answered meanwhile.

Each lasts SECONDS; `make long` lets it last longer and writes the figures into docs/performance.md.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.attacker import ATTACKS, HONEST, HONEST_BIG, PEAKS, STORMS, Attack, Target
from tests.support.limited import Limit, deployment_limit, image_environment
from tests.support.processes import free_port
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
class Served:
    """A serving process under the limit."""

    process: subprocess.Popen[bytes]
    target: Target
    limit: Limit
    log: Path
    ca: Path

    @contextlib.contextmanager
    def attacked(self, attack: Attack, clients: int) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.attacks.attacker", attack.__name__, str(clients)]
        command += [str(self.target.port), str(self.target.plain), str(self.ca)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
            try:
                assert attacker.stdout is not None
                assert attacker.stdout.readline() == b"attacking\n"
                yield
                assert attacker.poll() is None
            finally:
                attacker.send_signal(signal.SIGKILL)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "shop.yaml").write_text(NAMESPACE)
    limit, port, plain, log, ca = (
        Limit(deployment_limit()),
        free_port(),
        free_port(),
        tmp_path / "log",
        tmp_path / "ca.crt",
    )
    command = [
        str(Path(sys.executable).parent / "boundtoken"),
        "serve",
        "--standalone",
        str(tmp_path / "shop.yaml"),
    ]
    command += [
        "--listen",
        f"127.0.0.1:{port}",
        "--plain-listen",
        f"127.0.0.1:{plain}",
        "--ca-out",
        str(ca),
    ]
    with limit.made(), log.open("wb") as out:
        process = subprocess.Popen(
            limit.command([*command, "--drain-seconds", "0"]),
            stderr=out,
            env={**os.environ, **image_environment()},
        )
        try:
            deadline = time.monotonic() + 20
            while "serving" not in log.read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            yield Served(
                process,
                Target(port, plain, ssl.create_default_context(cafile=str(ca))),
                limit,
                log,
                ca,
            )
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow("each attack lasts three seconds, and two cores are all it takes")
@pytest.mark.parametrize(
    ("attack", "clients"), ATTACKS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_honest_callers_are_answered_and_the_memory_holds(
    served: Served, attack: Attack, clients: int
) -> None:
    honest = Honest(big=attack not in STORMS)
    with served.attacked(attack, clients):
        asyncio.run(honest.go_on(served.target, time.monotonic() + SECONDS))
    peak = served.limit.peak(served.process)
    print(
        f"{attack.__name__}, {clients} clients: {honest}, peak {peak >> 20} MiB of {served.limit.most >> 20}"
    )
    assert peak < PEAKS.get(attack, served.limit.most)
    assert served.process.poll() is None
    assert honest.answered > SECONDS
    assert honest.failed == 0
    assert honest.probes == honest.answered
    assert b"internal error" not in served.log.read_bytes()
