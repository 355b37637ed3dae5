"""The routes: read a review, ask core, announce; and what the kubelet and the scraper ask. No
decision is made here.

Why no aiohttp Application: so few paths need no router, and every review would pay for one.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .. import metrics
from ..cluster.namespaces import NamespaceCache
from ..core import review
from ..core.policy import ClusterPolicy, NamespacePolicy
from ..core.review import Request, ValidationRequest
from ..enforcement import validate
from ..enforcement.validate import Judgement
from ..errors import MalformedReview
from ..log import Log
from ..mutation import mutate
from ..mutation.mutate import Verdict
from ..pki.replicas import CERTIFICATE_PATH
from .bodies import Body, TooLarge, TooSlow, read_body
from .reply import Reply
from .reporting import Reporter, count
from .validation import Validator
from .worker import BIG_BYTES, Run, Worker, here

if TYPE_CHECKING:
    from .connection import Connection

JSON = "application/json"
KEEP_METRICS_SECONDS = 1.0
"""Making the page costs the loop 2 ms: nobody needs it more often, and a flood of requests gets the
last one."""


class Unjudged(Exception):
    """What was asked for could not be judged."""


class AdmissionHandler:
    """The TLS port: `/mutate`, `/validate`, and for people the certificate that is served: the PEM
    that `certificate` gives.
    """

    def __init__(
        self,
        namespaces: NamespaceCache,
        judge: Validator,
        said: Log,
        reporter: Reporter,
        *,
        worker: Worker,
        certificate: Callable[[], bytes],
    ) -> None:
        self.namespaces = namespaces
        self._judge = judge
        self._certificate = certificate
        self._log = said
        self._reporter = reporter
        self._worker = worker
        self._in_flight = 0
        self._bytes_here = 0
        """Of bodies that were worked on in the event loop itself, since it looked for others."""
        metrics.ADMISSION_IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, http: web.BaseRequest) -> web.StreamResponse:
        path = http.raw_path.partition("?")[0]
        if path not in ("/mutate", "/validate"):
            return self._other(http.method, path)
        if (answer := _not_a_review(http)) is not None:
            return answer
        self._in_flight += 1
        body: Body = b""
        try:
            body = await read_body(http)
            run = await self._run_for(http, len(body))
            return Reply(
                await (self.mutate(body, run) if path == "/mutate" else self.validate(body, run))
            )
        except Unjudged as problem:
            return _sentence(500, str(problem))
        except MalformedReview as problem:
            count("other", "other", "failed", "malformed-review")
            self._log.stranger("warning", "malformed review", problem=str(problem), bytes=len(body))
            return _sentence(400, str(problem))
        except (TooLarge, TooSlow) as problem:
            return self._too_much(http, problem)
        finally:
            self._in_flight -= 1

    async def _run_for(self, http: web.BaseRequest, size: int) -> Run:
        """In the thread, or here, as soon as not too much has been worked on here since the loop
        looked for others.
        """
        client = cast("Connection", http.protocol)
        if size > BIG_BYTES:
            return self._worker.runner(client, size)
        while self._bytes_here + size > BIG_BYTES:  # noqa: ASYNC110  (what is waited for is one turn of the loop)
            await asyncio.sleep(0)
        if self._bytes_here == 0:
            asyncio.get_running_loop().call_soon(self._begin_anew)
        self._bytes_here += size
        client.served()
        return here

    def _begin_anew(self) -> None:
        self._bytes_here = 0

    def _too_much(self, http: web.BaseRequest, problem: TooLarge | TooSlow) -> web.Response:
        """The size is told, because whoever created the object got it without us."""
        answer = _sentence(413 if isinstance(problem, TooLarge) else 408, str(problem))
        answer.force_close()
        self._log.stranger(
            "warning", "body refused", problem=str(problem), bytes=http.content_length
        )
        return answer

    def _other(self, method: str, path: str) -> web.Response:
        if path != CERTIFICATE_PATH:
            return _sentence(
                404,
                f"there are /mutate, /validate and {CERTIFICATE_PATH} here; /livez, /readyz, /metrics on the plain port",
            )
        if method != "GET":
            return _sentence(405, "must be a GET", {"Allow": "GET"})
        return web.Response(body=self._certificate(), content_type="application/x-pem-file")

    async def mutate(self, body: Body, run: Run = here) -> bytes:
        """The reply to a review, worked out by `run` and announced.

        Raises: MalformedReview
        """
        start = perf_counter()
        request = review.decode(body) if run is here else await run(review.decode, body)
        namespace = self.namespaces.get(request.namespace)
        try:
            if namespace is None and mutate.needs_namespace(request, self.namespaces.cluster):
                namespace = await self.namespaces.find(request.namespace)
            if run is not here:
                verdict, reply = await run(decide, request, self.namespaces.cluster, namespace)
                self._reporter.record(request, verdict, perf_counter() - start)
                return reply
        except ConnectionError:
            raise
        except Exception as problem:  # noqa: BLE001  (the outermost edge of a request)
            return self._allowed(request, problem, start)
        return self.answer(request, namespace, start)

    async def validate(self, body: Body, run: Run = here) -> bytes:
        """The judgement, worked out by `run` and announced.

        Raises: MalformedReview; Unjudged, so that the failurePolicy of the entry decides: Fail
        where enforcement was asked for, Ignore elsewhere. A pod that we could not judge is not
        called compliant.
        """
        start = perf_counter()
        request = await run(review.decode_full, body)
        try:
            judgement = await self._judge.judge(request, run)
        except ConnectionError:
            raise
        except Exception as problem:  # noqa: BLE001  (the outermost edge of a request)
            self._say_internal_error(request, problem)
            judgement = Judgement("internal-error", "failed")
        self._reporter.record_validation(request, judgement, perf_counter() - start)
        if judgement.outcome == "failed":
            raise Unjudged(f"boundtoken could not judge this: {judgement.reason}")
        return review.encode(validate.respond(request.uid, judgement))

    def answer(self, request: Request, namespace: NamespacePolicy | None, start: float) -> bytes:
        """The reply, announced.

        Units: `start` in seconds of perf_counter
        """
        try:
            verdict, reply = decide(request, self.namespaces.cluster, namespace)
        except Exception as problem:  # noqa: BLE001  (the outermost edge of a request)
            return self._allowed(request, problem, start)
        self._reporter.record(request, verdict, perf_counter() - start)
        return reply

    def _allowed(self, request: Request, problem: Exception, start: float) -> bytes:
        """Our own bug never stops a pod: it is allowed unchanged, counted and logged."""
        self._say_internal_error(request, problem)
        verdict = Verdict("internal-error", "failed")
        self._reporter.record(request, verdict, perf_counter() - start)
        return review.encode(mutate.respond(request.uid, verdict))

    def _say_internal_error(self, request: Request | ValidationRequest, problem: Exception) -> None:
        """The log gets frames and the type only, because an exception's text may quote the pod."""
        frames = "".join(traceback.format_tb(problem.__traceback__))
        self._log.error(
            "internal error", uid=request.uid, error=type(problem).__name__, traceback=frames
        )


def decide(
    request: Request, cluster: ClusterPolicy, namespace: NamespacePolicy | None
) -> tuple[Verdict, bytes]:
    """The verdict and the reply that carries it."""
    verdict = mutate.judge(request, cluster, namespace)
    return verdict, review.encode(mutate.respond(request.uid, verdict))


def health_and_metrics(
    unready_reasons: Callable[[], list[str]], remarks: Callable[[], list[str]], reporter: Reporter
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The plain port: `/livez`, `/readyz`, `/metrics`.

    `unready_reasons` says what readiness still waits for, `remarks` what it does not wait for and
    people should know.
    """
    made = (0.0, b"")

    def page() -> bytes:
        nonlocal made
        if monotonic() - made[0] >= KEEP_METRICS_SECONDS:
            reporter.flush()
            made = monotonic(), generate_latest(metrics.REGISTRY)
        return made[1]

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        if http.method not in ("GET", "HEAD"):
            return _sentence(405, "must be a GET", {"Allow": "GET, HEAD"})
        match http.path:
            case "/livez":
                return _ok("ok")
            case "/readyz":
                waiting = unready_reasons()
                return (
                    _sentence(503, "not ready: " + "; ".join(waiting))
                    if waiting
                    else _ok("; ".join(["ok", *remarks()]))
                )
            case "/metrics":
                return web.Response(body=page(), headers={"Content-Type": CONTENT_TYPE_LATEST})
            case _:
                return _sentence(404, "there are /livez, /readyz and /metrics here")

    return answer


def _not_a_review(http: web.BaseRequest) -> web.Response | None:
    """The answer to what is not even sent as a review."""
    if http.method != "POST":
        return _sentence(405, "must be a POST", {"Allow": "POST"})
    if http.headers.get("Content-Type") != JSON and http.content_type.lower() != JSON:
        return _sentence(415, "Content-Type must be application/json")
    if http.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _sentence(
            415,
            "the body must not be compressed; no API server does that",
            {"Accept-Encoding": "identity"},
        )
    return None


def _ok(text: str) -> web.Response:
    return web.Response(text=text + "\n")


def _sentence(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal, counted."""
    metrics.HTTP_REFUSALS.labels(str(status)).inc()
    return web.Response(status=status, text=text + "\n", headers=headers)
