"""The HTTP clients that have an adapter, each with its own, as one interface for tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import aiohttp
import httpx
import requests

from webhook.tokens import TokenSource
from webhook.tokens.adapters import aiohttp_auth, httpx_auth, requests_auth


class Result(NamedTuple):
    status: int
    body: bytes
    hops: int = 0


class Client(Protocol):
    """`content` is a body of the client's own kinds, `form` has the fields of a form."""

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        content: Any = None,
        json: Any = None,
        form: dict[str, str] | None = None,
    ) -> Result: ...

    def chunks(self) -> Any:
        """A body that can be read once."""
        ...

    def upload(self, file: Any) -> dict[str, Any]:
        """Arguments that send an open file."""
        ...

    def close(self) -> None: ...


def _trusting(ca: Path | None) -> ssl.SSLContext | None:
    return None if ca is None else ssl.create_default_context(cafile=str(ca))


def _chunks() -> Iterator[bytes]:
    yield b"one "
    yield b"time"


async def _achunks() -> AsyncIterator[bytes]:
    for chunk in _chunks():
        yield chunk


class Httpx:
    """httpx.Client"""

    gets = "get"

    def __init__(self, source: TokenSource, _: str, ca: Path | None = None) -> None:
        self.auth = httpx_auth.BearerAuth(source)
        verify = _trusting(ca) or True
        self._client = httpx.Client(auth=self.auth, verify=verify, follow_redirects=True)

    def send(self, method: str, url: str, **options: Any) -> Result:
        answer = self._client.request(method, url, **self._named(options))
        return Result(answer.status_code, answer.content, len(answer.history))

    @staticmethod
    def _named(options: dict[str, Any]) -> dict[str, Any]:
        return {{"form": "data"}.get(key, key): value for key, value in options.items()}

    def chunks(self) -> Any:
        return _chunks()

    def upload(self, file: Any) -> dict[str, Any]:
        return {"files": {"upload": file}}

    def close(self) -> None:
        self._client.close()


class AsyncHttpx(Httpx):
    """httpx.AsyncClient"""

    gets = "aget"

    def __init__(self, source: TokenSource, _: str, ca: Path | None = None) -> None:
        self.auth = httpx_auth.BearerAuth(source)
        self._runner = asyncio.Runner()
        verify = _trusting(ca) or True
        self._aclient = httpx.AsyncClient(auth=self.auth, verify=verify, follow_redirects=True)

    def send(self, method: str, url: str, **options: Any) -> Result:
        answer = self._runner.run(self._aclient.request(method, url, **self._named(options)))
        return Result(answer.status_code, answer.content, len(answer.history))

    def chunks(self) -> Any:
        return _achunks()

    def close(self) -> None:
        self._runner.run(self._aclient.aclose())
        self._runner.close()


class Requests:
    """requests.Session"""

    gets = "get"

    def __init__(self, source: TokenSource, _: str, ca: Path | None = None) -> None:
        self.auth = requests_auth.BearerAuth(source)
        self.session = requests.Session()
        self.session.auth = self.auth
        self.session.trust_env = False
        self.session.verify = str(ca) if ca is not None else True

    def send(self, method: str, url: str, **options: Any) -> Result:
        named = {{"form": "data", "content": "data"}.get(k, k): v for k, v in options.items()}
        answer = self.session.request(method, url, timeout=10, **named)
        return Result(answer.status_code, answer.content, len(answer.history))

    def chunks(self) -> Any:
        return _chunks()

    def upload(self, file: Any) -> dict[str, Any]:
        return {"content": file}

    def close(self) -> None:
        self.session.close()


class Aiohttp:
    """aiohttp.ClientSession"""

    gets = "aget"

    def __init__(self, source: TokenSource, origin: str, ca: Path | None = None) -> None:
        self.auth = aiohttp_auth.BearerMiddleware(source, origin)
        self._runner = asyncio.Runner()
        self.session = self._runner.run(self._session(ca))

    async def _session(self, ca: Path | None) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=_trusting(ca) or True)
        return aiohttp.ClientSession(middlewares=[self.auth], connector=connector)

    def send(self, method: str, url: str, **options: Any) -> Result:
        return self._runner.run(self._send(method, url, options))

    async def _send(self, method: str, url: str, options: dict[str, Any]) -> Result:
        named = {{"form": "data", "content": "data"}.get(k, k): v for k, v in options.items()}
        async with self.session.request(method, url, **named) as answer:
            return Result(answer.status, await answer.read(), len(answer.history))

    def chunks(self) -> Any:
        return _achunks()

    def upload(self, file: Any) -> dict[str, Any]:
        return {"content": file}

    def close(self) -> None:
        self._runner.run(self.session.close())
        self._runner.close()


ALL = [Httpx, AsyncHttpx, Requests, Aiohttp]
