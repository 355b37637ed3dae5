"""A replica that starts under a bad configuration: what it takes, what it says, when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.api import Api
from tests.support.builders import Json
from tests.support.service import files_flags, running
from tests.support.waiting import eventually
from webhook import metrics, options
from webhook.cluster.client import ApiClient
from webhook.core import names
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.policies import bindings
from webhook.errors import ApiError, BadInput
from webhook.log import Log
from webhook.serving import last_good
from webhook.serving.configuration_file import ConfigurationFile
from webhook.serving.policy_bindings import PATH

GOOD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\nlocks: {maxExpirationSeconds: 1800}\n"
BAD = GOOD.replace("maxExpirationSeconds", "maxExpirationSecond")
WRITTEN = bindings.annotations(ClusterPolicy(), GOOD)


@asynccontextmanager
async def binding(annotations: Json | None) -> AsyncIterator[ApiClient]:
    """A client of an API server whose binding for pods has these annotations."""

    async def get(_: web.Request) -> web.StreamResponse:
        if annotations is None:
            return web.json_response({"message": "gone"}, status=404)
        return web.json_response({"metadata": {"name": "x", "annotations": annotations}})

    app = web.Application()
    app.router.add_get(f"{PATH}/{names.POD_POLICY}", get)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    api = Api()
    api.server = str(server.make_url("")).rstrip("/")
    try:
        async with ApiClient(api, "test") as client:
            yield client
    finally:
        await server.close()


async def test_what_a_replica_wrote_is_read() -> None:
    async with binding(WRITTEN) as client:
        assert await last_good.read(client) == GOOD


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {**WRITTEN, names.CONFIGURATION: GOOD + "tokenRequests: {}\n"},
        bindings.annotations(ClusterPolicy()),
    ],
    ids=["nothing", "edited by hand", "without a text"],
)
async def test_what_no_replica_wrote_is_not_taken(annotations: Json) -> None:
    async with binding(annotations) as client:
        assert await last_good.read(client) == ""


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [(bindings.annotations(ClusterPolicy(), BAD), BadInput), (None, ApiError)],
    ids=["of a release that knows other keys", "no binding"],
)
async def test_what_cannot_be_used_is_a_problem(
    annotations: Json | None, problem: type[Exception]
) -> None:
    async with binding(annotations) as client:
        with pytest.raises(problem):
            await last_good.read(client)


@pytest.mark.parametrize(
    "flags",
    [{}, {"config": "good.yaml"}, {"config": "bad.yaml", "kubeconfig": "kubeconfig"}],
    ids=["no file", "a good file", "outside of the cluster"],
)
async def test_nobody_is_called_where_there_is_no_need(
    tmp_path: Path, flags: dict[str, str]
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    files_flags(tmp_path, "http://127.0.0.1:1")
    given = {name: str(tmp_path / file) for name, file in flags.items()}
    log = Log("debug", lambda _: pytest.fail("nothing is to be said"))
    assert await last_good.last_good_for(options.resolve(given, {}), {}, log) == ""


def opened(path: Path, kept: str) -> tuple[ConfigurationFile, list[Json]]:
    lines: list[Json] = []
    log = Log("info", lambda written: lines.append(json.loads(written)))
    return ConfigurationFile(path, log, names.NAMESPACE, (), kept), lines


def test_a_replica_starts_with_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(BAD)
    configuration, lines = opened(file, GOOD)
    assert configuration.policy.locks.max_expiration_seconds == 1800
    assert configuration.text == GOOD
    assert metrics.CONFIG_RELOAD_OK._value.get() == 0
    assert configuration.remarks() == [
        "the configuration file is rejected, the last good one is used"
    ]
    rejected = lines[-1]
    assert (rejected["level"], rejected["event"]) == (
        "error",
        "configuration rejected, keeping the last good one",
    )
    assert rejected["faults"] == [
        f"{file}: locks.maxExpirationSecond: unknown field; did you mean maxExpirationSeconds?"
    ]
    assert rejected["hash"] == lines[0]["hash"]


def test_without_one_it_ends_with_every_fault(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(BAD + "x: 1\n")
    with pytest.raises(BadInput) as caught:
        opened(tmp_path / "config.yaml", "")
    assert len(caught.value.faults) == 2


async def test_once_the_file_is_good_it_is_used_and_the_remark_goes(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(BAD)
    configuration, _ = opened(file, GOOD)
    seen: list[int] = []

    async def apply(policy: ClusterPolicy) -> None:
        seen.append(policy.locks.max_expiration_seconds)

    following = asyncio.create_task(configuration.follow(apply))
    file.write_text(GOOD.replace("1800", "900"))
    await eventually(lambda: configuration.remarks() == [], 5)
    following.cancel()
    assert (seen, configuration.text) == ([900], GOOD.replace("1800", "900"))
    assert metrics.CONFIG_RELOAD_OK._value.get() == 1


async def test_readyz_remarks_that_the_previous_one_is_used_and_stays_ready(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(GOOD)
    flags: dict[str, Any] = {"config": str(file)}
    async with running(tmp_path, **flags) as service:
        assert await service.get("/readyz") == (200, "ok\n")
        file.write_text(BAD)
        await eventually(lambda: service.log_lines("configuration rejected"))
        remark = "the configuration file is rejected, the previous one is used"
        assert await service.get("/readyz") == (200, f"ok; {remark}\n")
        file.write_text(GOOD)
        await eventually(lambda: len(service.log_lines("configuration applied")) > 1)
