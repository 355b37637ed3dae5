"""A listening address: accepts connections for `Connections`, and does their TLS handshakes.

Why not `create_server`: it reports a connection only after the handshake, and until then we could
not count it.
"""

import asyncio
import contextlib
import socket
import ssl
from functools import partial

from .. import metrics
from ..errors import BadInput
from ..log import Log
from ..options import Address
from .connection import HANDSHAKE_SECONDS, REPEAT_SECONDS, Connection, Connections

BACKLOG = 1024
"""Connections that wait in our kernel; further ones wait in the client's."""
ACCEPTS = 16
"""At once, so that a storm does not delay the connections that are open already."""
RECEIVE_BYTES = 1 << 15
"""The kernel's buffer of a connection; the kernel doubles it. TLS copies what is read several
times: with 32 KiB a connection needs 200 KiB besides a body, with 64 KiB 370 KiB. At 2 ms to the
API server 8 MB take half a second."""
NO_DESCRIPTOR_SECONDS = 0.1
CLOSE_SECONDS = 2.0
"""How long a client may take for the closing handshake of TLS."""


class Listener:
    """Accepts connections at one address; without TLS, `context` is None.

    Raises: OSError, where the address cannot be used
    """

    def __init__(
        self, where: Address, connections: Connections, context: ssl.SSLContext | None, log: Log
    ) -> None:
        self._connections = connections
        self._context = context
        self._log = log
        self._logged_at = -REPEAT_SECONDS
        self._handshakes: set[asyncio.Task[None]] = set()
        self._sockets = [_bound(family, address) for family, address in _resolved(where)]
        self._loop = asyncio.get_running_loop()
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Accept no further connections; the accepted ones stay open."""
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:
                self._pause(listening, problem)
                return
            accepted.setblocking(False)
            connection = self._connections.accepted(str(address[0]))
            task = connection.handshake = self._loop.create_task(
                self._shake_hands(accepted, connection)
            )
            self._handshakes.add(task)
            task.add_done_callback(partial(self._handshake_done, accepted, connection))

    def _pause(self, listening: socket.socket, problem: OSError) -> None:
        """Cut the longest idle connection, and accept again in a moment: there is no descriptor or
        no memory left.
        """
        metrics.ACCEPT_ERRORS.inc()
        if (now := self._loop.time()) - self._logged_at >= REPEAT_SECONDS:
            self._logged_at = now
            self._log.error(
                "a connection cannot be accepted, the longest idle goes", problem=problem.strerror
            )
        self._connections.make_room()
        self._loop.remove_reader(listening)
        self._loop.call_later(NO_DESCRIPTOR_SECONDS, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def _shake_hands(self, accepted: socket.socket, connection: Connection) -> None:
        tls = self._context
        try:
            if connection.delay:
                await asyncio.sleep(connection.delay)
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
                ssl_shutdown_timeout=CLOSE_SECONDS if tls else None,
            )
        except OSError as problem:
            if isinstance(problem, ConnectionAbortedError):
                self._connections.cut(connection, "handshake")

    def _handshake_done(
        self, accepted: socket.socket, connection: Connection, task: asyncio.Task[None]
    ) -> None:
        """Forget a connection whose handshake failed, or whose task was cancelled before its
        start.
        """
        self._handshakes.discard(task)
        if connection.handshake is task:
            connection.handshake = None
            self._connections.left(connection)
            accepted.close()


def listen(
    option: str, where: Address, connections: Connections, context: ssl.SSLContext | None, log: Log
) -> Listener:
    """A listener at the address that `option` gives.

    Raises: BadInput, where the address cannot be used
    """
    try:
        return Listener(where, connections, context, log)
    except OSError as problem:
        reason = problem.strerror or problem
        raise BadInput(f"{option} {where}: {reason}; choose another address") from problem


def _resolved(where: Address) -> list[tuple[int, tuple[str, int]]]:
    infos = socket.getaddrinfo(
        where.host or None, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(
        dict.fromkeys((family, (str(address[0]), where.port)) for family, _, _, _, address in infos)
    )


def _bound(family: int, address: tuple[str, int]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(bound.close)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind(address)
        bound.listen(BACKLOG)
        on_failure.pop_all()
    return bound
