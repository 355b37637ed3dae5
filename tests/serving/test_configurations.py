"""ConfigMaps at the port: one is checked at a time, and nobody keeps the thread."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.builders import a_review
from tests.support.service import running
from tests.support.waiting import eventually
from webhook.core import names, review
from webhook.core.review import ValidationRequest
from webhook.enforcement import configuration
from webhook.serving import configurations
from webhook.serving.configurations import Configurations
from webhook.serving.worker import Worker

SECRET = "hunter2"
BAD = (
    f"apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\nlocks: {{podOverrides: {SECRET}}}\n"
)


def body(text: str) -> dict[str, Any]:
    config_map = {"metadata": {"name": "boundtoken"}, "data": {names.CONFIG_KEY: text}}
    return a_review(config_map, kind="ConfigMap", namespace=names.NAMESPACE, name="boundtoken")


def a_request(text: str) -> ValidationRequest:
    return review.decode_full(msgspec.json.encode(body(text)))


async def test_a_bad_one_is_denied_at_the_port_and_its_content_is_not_logged(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        _, text = await service.post(body(BAD), path="/validate")
        await eventually(lambda: service.log_lines("review"))
        answer = msgspec.json.decode(text)["response"]
        assert answer["status"] == {
            "code": 403,
            "reason": "Forbidden",
            "message": 'configmap/boundtoken data["config.yaml"]: locks.podOverrides: must be "allowed" or "denied", '
            f'spelled exactly so; it is "{SECRET}"',
        }
        assert SECRET not in str(service.lines)
        assert SECRET not in str(answer["auditAnnotations"])
        (line,) = service.log_lines("review")
        assert (line["webhook"], line["resource"]) == ("configurations", "configmaps")
        assert (line["outcome"], line["user"]) == ("denied", "alice")


async def test_who_comes_while_too_many_wait_is_let_through_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configurations, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(configurations, "REST", 10_000)
    checks = Configurations(Worker())
    first = await checks.decide(a_request(BAD))
    second = await checks.decide(a_request(BAD))
    assert (first.outcome, second.outcome) == ("denied", "warned")
    assert second.warnings == (configuration.BUSY,)


async def test_after_a_check_the_thread_rests_and_the_next_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = Configurations(Worker())
    loop = asyncio.get_running_loop()
    slow = "namespaces: {excluded: [" + "x, " * 10_000 + "x]}"
    start = loop.time()
    await checks.decide(a_request(slow))
    took = loop.time() - start
    monkeypatch.setattr(configurations, "WAIT_SECONDS", 60)
    await checks.decide(a_request(BAD))
    assert loop.time() - start > took * configurations.REST
