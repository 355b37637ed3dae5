"""A small API server on a real socket that serves namespaces and does what a test tells it, bad
manners included.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from webhook.cluster.client import ApiClient
from webhook.pki.store import GROUP

Json = dict[str, Any]
Line = Json | str | bytes | Callable[[], Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_namespace_object(name: str, version: int = 1, /, **annotations: str) -> Json:
    given = {f"boundtoken.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {"metadata": {"name": name, "resourceVersion": str(version), "annotations": given}}


def an_event(kind: str, object_: Json) -> Json:
    return {"type": kind, "object": object_}


class Api:
    """Answers lists page by page, and each watch with the next script: lines, or what to do instead
    of one.

    `refusals` and `raw` come before the lists: statuses, with `retry_after` in their header, and
    bodies as they stand.
    """

    def __init__(self) -> None:
        self.namespaces: list[Json] = []
        self.version = "100"
        self.watches: list[list[Line]] = []
        self.requests: list[web.Request] = []
        self.refusals: list[int] = []
        self.retry_after = ""
        self.raw: list[bytes] = []
        self.gets = 0
        self.get_status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        self.server = ""
        self.date = ""

    def tls(self) -> bool:
        return True

    async def authorization(self) -> str | None:
        return None

    @property
    def lists(self) -> list[web.Request]:
        return [request for request in self.requests if "watch" not in request.query]

    @property
    def watched(self) -> list[web.Request]:
        return [request for request in self.requests if "watch" in request.query]

    async def collection(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if "watch" in request.query:
            return await self._watch(request)
        if self.refusals:
            code = self.refusals.pop(0)
            status = {"kind": "Status", "code": code, "message": f"refused with {code}"}
            return web.json_response(
                status,
                status=code,
                headers={"Retry-After": self.retry_after} if self.retry_after else None,
            )
        if self.raw:
            return web.Response(body=self.raw.pop(0), content_type="application/json")
        start, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        rest = self.namespaces[start + limit :]
        metadata = {
            "resourceVersion": self.version,
            **({"continue": str(start + limit)} if rest else {}),
        }
        return web.json_response(
            {"metadata": metadata, "items": self.namespaces[start : start + limit]}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        script = self.watches.pop(0) if self.watches else [self.never]
        if script and isinstance(script[0], int):
            return web.json_response({"code": script[0], "message": "too old"}, status=script[0])
        response = web.StreamResponse()
        await response.prepare(request)
        for line in script:
            if callable(line):
                await line()
            else:
                text = line if isinstance(line, str | bytes) else json.dumps(line)
                await response.write((text.encode() if isinstance(text, str) else text) + b"\n")
        return response

    async def one(self, request: web.Request) -> web.StreamResponse:
        self.gets += 1
        await self.gate.wait()
        found = [
            namespace
            for namespace in self.namespaces
            if namespace["metadata"]["name"] == request.match_info["name"]
        ]
        if self.get_status != 200 or not found:
            return web.json_response(
                {"message": "no"}, status=self.get_status if self.get_status != 200 else 404
            )
        return web.json_response(found[0], headers={"Date": self.date} if self.date else None)

    @staticmethod
    async def never() -> None:
        await asyncio.sleep(3600)


@asynccontextmanager
async def api_server(*configurations: Handler) -> AsyncIterator[tuple[Api, ApiClient]]:
    """The server, and a client of ours that talks to it; webhook configurations are what the two
    handlers, of GET and PATCH, say.
    """
    api = Api()
    app = web.Application()
    app.router.add_get("/api/v1/namespaces", api.collection)
    app.router.add_get("/api/v1/namespaces/{name}", api.one)
    for method, handler in zip(("GET", "PATCH"), configurations, strict=False):
        app.router.add_route(method, GROUP + "/{kind}/{name}", handler)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    api.server = str(server.make_url("")).rstrip("/")
    try:
        async with ApiClient(api, "test") as client:
            yield api, client
    finally:
        await server.close()
