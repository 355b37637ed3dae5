"""The Secret and the configurations as an API server answers them, broken answers included."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.api import Api
from webhook.cluster.client import ApiClient
from webhook.errors import ApiError, Conflict
from webhook.pki import replicas
from webhook.pki.store import CaBundle, CaBundles, CaSecret, Store


@asynccontextmanager
async def answering(
    body: bytes, status: int = 200, patches: list[Any] | None = None
) -> AsyncIterator[Store]:
    """A store whose API server answers everything with this body; `patches` gets what is sent."""

    async def answer(request: web.Request) -> web.Response:
        if patches is not None:
            patches.append(await request.json())
        return web.Response(body=body, status=status, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    app.router.add_patch("/{path:.*}", answer)
    api, server = Api(), TestServer(app)
    await server.start_server()
    api.server = str(server.make_url("")).rstrip("/")
    async with ApiClient(api, "test") as client:
        yield Store(client, "boundtoken-system", ("boundtoken",))
    await server.close()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>bad gateway</html>", id="no JSON"),
        pytest.param(b'{"metadata": {"resourceVersion": "\xff"}}', id="no UTF-8"),
        pytest.param(b'{"metadata": ' + b"[" * 100_000, id="nested without end"),
        pytest.param(
            b'{"data": {"ca.crt": ""}, "webhooks": [], "items": [{}]}', id="a field is missing"
        ),
        pytest.param(
            b'{"metadata": {"resourceVersion": ""}}',
            id="no version, with which we would overwrite what we have not seen",
        ),
        pytest.param(
            b'{"metadata": {"resourceVersion": 7}, "data": [], "webhooks": 1, "items": 1}',
            id="other types",
        ),
        pytest.param(b"[]", id="a list"),
    ],
)
async def test_whatever_cannot_be_read_is_an_api_error(body: bytes) -> None:
    async with answering(body) as store:
        for read in (
            store.read_secret,
            store.read_ca_bundles,
            lambda: replicas.fetch(store.client, store.namespace),
        ):
            with pytest.raises(ApiError, match="the answer cannot be read"):
                await read()


async def test_a_secret_whose_field_is_null_is_one_whose_field_is_empty() -> None:
    async with answering(
        b'{"metadata": {"resourceVersion": "7"}, "data": {"ca.crt": null}}'
    ) as store:
        assert await store.read_secret() == CaSecret({"ca.crt": ""}, "7")


async def test_only_entries_of_our_service_count_and_a_ca_bundle_that_is_no_base64_is_empty() -> (
    None
):
    service = (
        '"service": {"name": "boundtoken", "namespace": "boundtoken-system", "path": "/mutate"}'
    )
    body = f"""{{"metadata": {{"resourceVersion": "7"}}, "webhooks": [
        {{"name": "a", "clientConfig": {{{service}, "caBundle": "eA=="}}}},
        {{"name": "b", "clientConfig": {{{service}, "caBundle": "\\u00e9"}}}},
        {{"name": "c", "clientConfig": {{{service}}}}},
        {{"name": "d", "clientConfig": {{"url": "https://example.test", "caBundle": "eA=="}}}}]}}"""
    async with answering(body.encode()) as store:
        configurations = await store.read_ca_bundles()
        empty = CaBundle(b"", ())
        assert configurations[0] == CaBundles(
            "mutatingwebhookconfigurations",
            "boundtoken",
            "7",
            {"a": CaBundle(b"x", ()), "b": empty, "c": empty},
        )


async def test_our_place_among_the_managers_is_read_and_is_none_where_we_own_nothing() -> None:
    body = b"""{"metadata": {"resourceVersion": "7", "managedFields":
        [{"manager": "helm", "operation": "Apply"}, {"manager": "boundtoken-certs"}]}}"""
    async with answering(body) as store:
        assert [found.owned_at for found in await store.read_ca_bundles()] == [1, 1]
    async with answering(body.replace(b"-certs", b"")) as store:
        assert [found.owned_at for found in await store.read_ca_bundles()] == [None, None]


@pytest.mark.parametrize(("status", "problem"), [(422, Conflict), (409, Conflict), (403, ApiError)])
async def test_only_our_own_place_of_what_was_read_is_given_up(
    status: int, problem: type[ApiError]
) -> None:
    owned = CaBundles("mutatingwebhookconfigurations", "boundtoken", "7", {}, 1)
    patches: list[Any] = []
    async with answering(b'{"message": "no"}', status, patches) as store:
        with pytest.raises(ApiError) as raised:
            await store.give_up(owned)
    assert type(raised.value) is problem
    place = "/metadata/managedFields/1"
    assert patches == [
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "test", "path": f"{place}/manager", "value": "boundtoken-certs"},
            {"op": "remove", "path": place},
        ]
    ]
