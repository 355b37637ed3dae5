"""Big reviews: the loop goes on answering, one is worked on at a time, and nobody works for a client that has gone."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.pods import a_container, a_pod, a_review
from tests.serving.service import REVIEW, Running, running
from tests.serving.test_connections import a_request, from_address
from webhook.core import review

BIG = a_review(a_pod(*(a_container(f"c{number}", env=[{"name": "E", "value": "<" * 120_000}]) for number in range(150))))
"""18 MB."""


async def probed(service: Running, until: "asyncio.Task[bool]") -> list[float]:
    """How long each probe took, in seconds, as long as the task goes on."""
    took = []
    while not until.done():
        start = time.monotonic()
        assert (await service.get("/livez"))[0] == 200
        assert (await service.post(REVIEW))[0] == 200
        took.append(time.monotonic() - start)
    return took


@pytest.mark.parametrize("path", ["/mutate", "/validate"])
async def test_a_review_of_18_mb_is_answered_and_keeps_nobody_waiting(tmp_path: Path, path: str) -> None:
    body = json.dumps(BIG).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with running(tmp_path) as service:
        reader, writer = await from_address(service, "127.0.0.2")

        async def big() -> bool:
            writer.write(head.encode() + body)
            await writer.drain()
            answered = b" 200 " in await reader.readuntil(b"\r\n")
            writer.transport.abort()
            return answered

        task = asyncio.create_task(big())
        took = await probed(service, task)
        assert await task
        assert max(took) < 0.5
        assert service.said("review")


async def test_nobody_works_for_a_client_that_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[int] = []
    decode = review.decode

    def slow(body: bytes) -> object:
        time.sleep(0.3)
        worked.append(len(body))
        return decode(body)

    monkeypatch.setattr(review, "decode", slow)
    request = a_request(a_review(a_pod(annotations={"x": "y" * 300_000})))
    async with running(tmp_path) as service:
        ends = [await from_address(service, f"127.0.0.{number + 2}") for number in range(5)]
        for _, writer in ends:
            writer.write(request)
        await asyncio.sleep(0.15)
        for _, writer in ends:
            writer.transport.abort()
        await asyncio.sleep(0.6)
        assert len(worked) == 1
        assert service.said("internal error") == []
