"""A gRPC server on a real socket with TLS that takes tokens: four methods that give back what they
get, one for each kind of call.

    with GrpcServer(folder) as server:
        channel = grpc_auth.secure_channel(server.target, source, server.tls())
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc

from tests.support.certificates import a_leaf, an_authority
from webhook.pki.pem import joined

UNARY, RESPONSES, REQUESTS, BOTH = (
    f"/test.Echo/{name}" for name in ("Unary", "Responses", "Requests", "Both")
)


class GrpcServer:
    """`accepts` says which tokens are good; `seen` has the tokens of each call. `hold` keeps a
    stream of responses open after its first; `ends_with` then breaks it.
    `ended` is set when the first call is over for gRPC.
    """

    def __init__(self, folder: Path) -> None:
        root = an_authority(folder)
        leaf = a_leaf(root)
        self.ca = (folder / "ca.crt").read_bytes()
        self.seen: list[tuple[str, ...]] = []
        self.accepts: Callable[[str], bool] = lambda _: True
        self.hold = threading.Event()
        self.hold.set()
        self.ended = threading.Event()
        self.ends_with: grpc.StatusCode | None = None
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        credentials = grpc.ssl_server_credentials([(leaf.key, joined(leaf.chain))])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.target = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.stop(0).wait()

    def tls(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.ca)

    @property
    def tokens(self) -> list[str]:
        return [" and ".join(tokens) for tokens in self.seen]

    def _check(self, context: grpc.ServicerContext) -> None:
        tokens = tuple(
            str(value).removeprefix("Bearer ")
            for key, value in context.invocation_metadata()
            if key == "authorization"
        )
        self.seen.append(tokens)
        context.add_callback(self.ended.set)
        if not all(map(self.accepts, tokens)):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "not this token")

    def _unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._check(context)
        return request

    def _responses(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._check(context)
        for number, byte in enumerate(request):
            yield bytes([byte])
            if not number:
                self.hold.wait(20)
                if self.ends_with is not None:
                    context.abort(self.ends_with, "in the middle")

    def _requests(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        self._check(context)
        return b"".join(requests)

    def _both(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._check(context)
        yield from requests

    def _handlers(self) -> grpc.GenericRpcHandler:
        kinds: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Responses": grpc.unary_stream_rpc_method_handler(self._responses),
            "Requests": grpc.stream_unary_rpc_method_handler(self._requests),
            "Both": grpc.stream_stream_rpc_method_handler(self._both),
        }
        return grpc.method_handlers_generic_handler("test.Echo", kinds)
