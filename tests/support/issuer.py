"""A small issuer of tokens on a real socket, for what a real API server does not do when a test
wants it: fail, be slow, cap a lifetime, rotate its keys. It also plays a server that takes tokens.

    with Issuer() as issuer:
        source = TokenRequestSource(issuer.api(), TokenRequest("shop", "cart"))
"""

import base64
import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.threads import Served
from webhook.tokens import ApiServer

Json = dict[str, Any]
Answer = tuple[int, Json, dict[str, str]]
AUDIENCE = "https://kubernetes.default.svc"
JWKS_PATH = "/openid/v1/jwks"


class Key:
    """A signing key and its entry of a key set."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self) -> Json:
        entry: Json = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**entry, "kid": self.kid, "use": "sig", "alg": "RS256"}


class Credentials:
    """None at all, over plain HTTP."""

    def __init__(self, server: str) -> None:
        self.server = server

    def tls(self) -> bool:
        return True

    def header(self) -> str | None:
        return None


class Issuer(Served):
    """Answers TokenRequests with signed tokens, serves discovery and keys, and answers 200 or 401
    on `/protected`, by `accepts`.

    `script` has the next answers to TokenRequests: a status to refuse with, or a function that
    gives the whole answer. `lifetime` replaces the requested seconds, `lag` is how long an answer
    takes, and `clock` is the time that tokens are issued at. `warnings` go with each token, and
    `objects` has what a GET of a path is answered with. `requests` are the bodies that came;
    `seen` has method, path and Authorization of everything else.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.keys = [Key("one")]
        self.clock = clock
        self.script: deque[int | Callable[[Json], Answer]] = deque()
        self.retry_after = ""
        self.lifetime: int | None = None
        self.lag = 0.0
        self.warnings: list[str] = []
        self.objects: dict[str, Json] = {}
        self.requests: list[Json] = []
        self.paths: list[str] = []
        self.seen: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []
        self.accepts: Callable[[str], bool] = lambda _: True
        self._numbers = itertools.count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def api(
        self, timeout: float = 10.0, on_warning: Callable[[str], None] | None = None
    ) -> ApiServer:
        return ApiServer(Credentials(self.url), timeout, on_warning)

    def claims(self, **changed: Any) -> Json:
        """The claims of a token of shop/cart, as a 1.37 API server writes them."""
        now = int(self.clock())
        return {
            "aud": [AUDIENCE],
            "exp": now + 3600,
            "iat": now,
            "iss": self.url,
            "jti": f"00000000-0000-4000-8000-{next(self._numbers):012}",
            "kubernetes.io": {
                "namespace": "shop",
                "serviceaccount": {"name": "cart", "uid": "uid-of-cart"},
            },
            "nbf": now,
            "sub": "system:serviceaccount:shop:cart",
            **changed,
        }

    def token(self, key: Key | None = None, **changed: Any) -> str:
        key = key or self.keys[0]
        claims = self.claims(**changed)
        return jwt.encode(claims, key.private, "RS256", headers={"kid": key.kid})

    def issue(self, path: str, body: Json) -> Answer:
        self.requests.append(body)
        self.paths.append(path)
        time.sleep(self.lag)
        if self.script:
            step = self.script.popleft()
            return step(body) if callable(step) else self.refuse(step)
        parts = path.split("/")
        namespace, account, spec = parts[4], parts[6], body["spec"]
        now = int(self.clock())
        seconds = self.lifetime or spec.get("expirationSeconds", 3600)
        bound = spec.get("boundObjectRef")
        about: Json = {"namespace": namespace, "serviceaccount": {"name": account, "uid": "u"}}
        private: Json = {"kubernetes.io": about}
        if bound:
            about[bound["kind"].lower()] = {"name": bound["name"], "uid": bound.get("uid", "u")}
        token = self.token(
            aud=spec["audiences"] or [AUDIENCE],
            exp=now + seconds,
            sub=f"system:serviceaccount:{namespace}:{account}",
            **private,
        )
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds))
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": account, "namespace": namespace, "managedFields": []},
            "spec": spec,
            "status": {"token": token, "expirationTimestamp": expires},
        }
        warning = ", ".join(f'299 - "{text}"' for text in self.warnings)
        return 201, answer, {"Warning": warning} if warning else {}

    def refuse(self, status: int, message: str = "", kind: str = "") -> Answer:
        body = {
            "kind": "Status",
            "message": message or f"refused with {status}",
            "details": {"kind": kind},
        }
        return status, body, {"Retry-After": self.retry_after} if self.retry_after else {}

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        if method == "POST" and path.endswith("/token"):
            return self.issue(path, json.loads(body))
        self.seen.append((method, path, authorization))
        self.bodies.append(body)
        documents: dict[str, Json] = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": self.url + JWKS_PATH,
            },
            JWKS_PATH: {"keys": [key.public() for key in self.keys]},
            **self.objects,
        }
        if path in documents:
            return 200, documents[path], {}
        if path.startswith("/protected"):
            if self.accepts(authorization.removeprefix("Bearer ")):
                return 200, {"body": base64.b64encode(body).decode()}, {}
            return 401, {}, {"WWW-Authenticate": "Bearer"}
        return 404, {}, {}


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self._body()
            authorization = self.headers.get("Authorization", "")
            status, answer, headers = issuer.answer(self.command, self.path, authorization, body)
            encoded = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(encoded)),
                **headers,
            }.items():
                self.send_header(name, value)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it hung up
                self.end_headers()
                self.wfile.write(encoded)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_POST = do_PUT = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
