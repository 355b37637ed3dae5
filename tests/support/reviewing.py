"""What a service that receives tokens meets: an API server that reviews them, keys of every kind,
and a site with a certificate that answers whatever a test wants.
"""

import contextlib
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.certificates import an_authority
from tests.support.issuer import Answer, Issuer, Json, Key
from tests.support.threads import Served
from webhook.pki import authority
from webhook.pki.pem import joined

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
EXTRA = "authentication.kubernetes.io/"


class EcKey(Key):
    """The same on a curve: ES256, ES384 or ES512."""

    def __init__(self, kid: str, curve: ec.EllipticCurve | None = None) -> None:
        self.kid = kid
        self.curve = curve or ec.SECP256R1()
        self.private = ec.generate_private_key(self.curve)  # type: ignore[assignment]

    def public(self) -> Json:
        public: Any = self.private.public_key()
        entry: Json = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
        return {**entry, "kid": self.kid, "use": "sig"}


class WeakKey(Key):
    """Of 1024 bits."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=1024)


class Reviewer(Issuer):
    """Also answers TokenReviews, as a 1.37 API server does, and tells which it was asked.

    `answers` has the next ones: a status to refuse with, or a function of the spec that gives the
    whole answer. `review_lag` is how long one takes. `gone` has the credential ids whose object is
    deleted. `pages` replaces what a path answers, `page_lag` is how long that takes, and where it
    is `broken`, every path but reviews answers 503.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self.reviews: list[Json] = []
        self.answers: deque[int | Callable[[Json], Answer]] = deque()
        self.review_lag = 0.0
        self.gone: set[str] = set()
        self.pages: dict[str, Callable[[], Answer]] = {}
        self.page_lag = 0.0
        self.broken = False
        self.busy = self.busiest = 0
        self._counting = threading.Lock()

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        if path != REVIEWS:
            time.sleep(self.page_lag)
            answer = super().answer(method, path, authorization, body)
            if self.broken:
                return self.refuse(503, "away")
            return self.pages[path]() if path in self.pages else answer
        with self._counting:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            spec: Json = json.loads(body)["spec"]
            self.reviews.append(spec)
            time.sleep(self.review_lag)
            if self.answers:
                step = self.answers.popleft()
                return step(spec) if callable(step) else self.refuse(step)
            return reviewed(self.review(spec))
        finally:
            with self._counting:
                self.busy -= 1

    def review(self, spec: Json) -> Json:
        """The status of a TokenReview."""
        token, audiences = spec["token"], spec["audiences"]
        try:
            claims = jwt.decode(
                token,
                self.keys[0].private.public_key(),
                algorithms=["RS256"],
                audience=audiences,
                issuer=self.url,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            return refused("go-jose/go-jose: error in cryptographic primitive")
        except jwt.PyJWTError:
            return {"user": {}, "error": "invalid bearer token"}
        if claims["jti"] in self.gone:
            return refused("service account token has been invalidated")
        return accepted(claims, audiences)


def refused(error: str) -> Json:
    return {"user": {}, "error": f"[invalid bearer token, {error}]"}


def accepted(claims: Json, audiences: list[str]) -> Json:
    """The status for a token that is valid."""
    private = claims["kubernetes.io"]
    extra = {EXTRA + "credential-id": [f"JTI={claims['jti']}"]}
    for kind in ("pod", "node"):
        for field, value in private.get(kind, {}).items():
            extra[f"{EXTRA}{kind}-{field}"] = [value]
    groups = ["", f":{private['namespace']}"]
    return {
        "authenticated": True,
        "user": {
            "username": claims["sub"],
            "uid": private["serviceaccount"]["uid"],
            "groups": [
                *(f"system:serviceaccounts{end}" for end in groups),
                "system:authenticated",
            ],
            "extra": extra,
        },
        "audiences": [audience for audience in audiences if audience in claims["aud"]],
    }


def reviewed(status: Json) -> Answer:
    return 201, {"kind": "TokenReview", "status": status}, {}


def signed(key: Key, claims: Json, algorithm: str = "RS256", **header: Any) -> str:
    """A token with a header of one's own."""
    return jwt.encode(claims, key.private, algorithm, headers={"kid": key.kid, **header})


Page = bytes | Callable[[BaseHTTPRequestHandler], None]


class Site(Served):
    """A web server with a certificate of its own authority, for localhost; `pages` has what each
    path answers: bytes, or a function that does as it likes with the request.
    """

    def __init__(self, folder: Path, pages: Mapping[str, Page]) -> None:
        self.pages: dict[str, Page] = dict(pages)
        self.seen: list[tuple[str, str | None]] = []
        self.ca_file = folder / "ca.crt"
        now, life = datetime.now(UTC), timedelta(hours=1)
        leaf = authority.issue(an_authority(folder), ["localhost"], now, life)
        (folder / "tls.pem").write_bytes(joined(leaf.chain) + leaf.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.pem")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _pages(self))
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://localhost:{self._server.server_address[1]}"


def _pages(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.seen.append((self.path, self.headers.get("Authorization")))
            page = site.pages.get(self.path)
            with contextlib.suppress(OSError):
                if callable(page):
                    page(self)
                    return
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(page or b"")))
                self.end_headers()
                self.wfile.write(page or b"")

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
