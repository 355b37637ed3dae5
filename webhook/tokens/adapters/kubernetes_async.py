"""What the adapters of the two asyncio clients share; both send with aiohttp."""

from collections.abc import Awaitable, Callable
from typing import Any

from ..source import TokenSource
from .aiohttp_auth import drain
from .kubernetes_shared import HEADER, Outcome, authenticate, connect, set_header, split
from .shared import Header, arenewed

Request = Callable[..., Awaitable[Any]]


def renewing(send: Request, source: TokenSource, refused: type[Exception]) -> Request:
    """As kubernetes_shared.renewing, of a client of asyncio."""

    async def request(*arguments: Any, headers: Any = None, **options: Any) -> Any:
        sent, header = split(headers)
        try:
            outcome = Outcome(await send(*arguments, headers=dict(sent), **options))
        except refused as problem:
            outcome = Outcome(problem=problem)
        if header is None or not outcome.is_rejected:
            return outcome.get()
        try:
            another = await arenewed(source, header)
        except BaseException:
            outcome.close()
            raise
        if another is None:
            return outcome.get()
        if outcome.raw is not None:
            await drain(outcome.raw)
        return await send(*arguments, headers={**sent, HEADER: another}, **options)

    return request


def configured(make: Callable[[], Any], source: TokenSource, configuration: Any) -> Any:
    """`configuration`, or one of `make` for this pod, with the hook. Raises: NoToken"""
    if configuration is None:
        configuration = make()
        connect(configuration, source)

    async def refresh(configuration: Any) -> None:
        set_header(configuration, Header.of(await source.aget()))

    authenticate(configuration, refresh)
    return configuration
