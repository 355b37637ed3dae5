"""The routes: reviews on the TLS port; health and metrics on the metrics port. A review is read,
decided, answered and recorded; the decisions themselves are made elsewhere.

Why no aiohttp Application: a few paths need no router, and every review would pay for one.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .. import metrics
from ..cluster.legacy_tokens import LegacyTokens
from ..cluster.namespaces import NamespaceCache
from ..core import review
from ..core.decision import Decision, Outcome, Reason
from ..core.full_views import ConfigMap, Namespace
from ..core.policy import ClusterPolicy
from ..core.review import Request, ValidationRequest, respond
from ..enforcement import validate
from ..errors import MalformedReview
from ..log import Log
from ..mutation import mutate
from ..pki.replicas import CERTIFICATE_PATH
from .bodies import Body, BodyTooLarge, TooSlow, read_body
from .configurations import Configurations
from .previews import Previews
from .reply import Reply
from .reporting import Reporter, count
from .worker import BIG_BYTES, Run, Worker, here

if TYPE_CHECKING:
    from .connection import Connection

JSON = "application/json"
KEEP_METRICS_SECONDS = 1.0
"""The page of metrics takes the event loop 2 ms, so it is cached for this time."""


class Webhook(NamedTuple):
    """The steps of a webhook: decode the review; skip it, or look up its namespace and decide."""

    decode: Callable[[Body], Any]
    skip_reason: Callable[[Any, ClusterPolicy], Reason | None]
    decide: Callable[..., Decision]
    without_decision: Outcome
    """The outcome of a review without a decision. `unchanged` allows the object. `failed` returns
    500, so that the failurePolicy in the webhook configuration decides."""
    takes_legacy_tokens: bool
    """Whether `decide` takes the names of the namespace's legacy token Secrets."""


MUTATING = Webhook(review.decode, mutate.skip_reason, mutate.decide, "unchanged", False)
VALIDATING = Webhook(review.decode_full, validate.skip_reason, validate.decide, "failed", True)


class Undecided(Exception):
    """A review has no decision."""


class AdmissionHandler:
    """The TLS port: `/mutate`, `/validate`, and for people `/certificate`, the PEM that
    `certificate` returns.
    """

    def __init__(
        self,
        namespaces: NamespaceCache,
        legacy_tokens: LegacyTokens,
        previews: Previews,
        log: Log,
        reporter: Reporter,
        *,
        worker: Worker,
        certificate: Callable[[], bytes],
    ) -> None:
        self.namespaces = namespaces
        self._legacy_tokens = legacy_tokens
        self._deciders: dict[type, Callable[[ValidationRequest], Awaitable[Decision]]] = {
            Namespace: previews.decide,
            ConfigMap: Configurations(worker).decide,
        }
        """Of kinds that are not decided on by the policy of a namespace alone."""
        self._certificate = certificate
        self._log = log
        self._reporter = reporter
        self._worker = worker
        self._in_flight = 0
        self._bytes_here = 0
        """The bytes of all bodies in the current turn of the event loop that were processed in the
        loop itself."""
        metrics.ADMISSION_IN_FLIGHT.set_function(lambda: self._in_flight)

    async def __call__(self, http: web.BaseRequest) -> web.StreamResponse:
        path = http.raw_path.partition("?")[0]
        webhook = WEBHOOKS.get(path)
        if webhook is None:
            return self._other(http.method, path)
        if (answer := _not_a_review(http)) is not None:
            return answer
        self._in_flight += 1
        body: Body = b""
        try:
            body = await read_body(http)
            run = await self._run_for(http, len(body))
            return Reply(await self.review(webhook, body, run))
        except Undecided as problem:
            return _sentence(500, str(problem))
        except MalformedReview as problem:
            count("other", "other", "failed", "malformed-review")
            self._log.untrusted(
                "warning", "malformed review", problem=str(problem), bytes=len(body)
            )
            return _sentence(400, str(problem))
        except (BodyTooLarge, TooSlow) as problem:
            return self._too_much(http, problem)
        finally:
            self._in_flight -= 1

    async def _run_for(self, http: web.BaseRequest, size: int) -> Run:
        """Return how to process a body: in the thread, or here.

        Small bodies are processed here, but only so many bytes in one turn of the event loop. The
        others wait for the next turn, so that the loop stays responsive.
        """
        client = cast("Connection", http.protocol)
        if size > BIG_BYTES:
            return self._worker.runner(client, size)
        while self._bytes_here + size > BIG_BYTES:  # noqa: ASYNC110  (what is waited for is one turn of the loop)
            await asyncio.sleep(0)
        if self._bytes_here == 0:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self._bytes_here += size
        client.served()
        return here

    def _begin_turn(self) -> None:
        self._bytes_here = 0

    def _too_much(self, http: web.BaseRequest, problem: BodyTooLarge | TooSlow) -> web.Response:
        """Reject a body, and log its size: the object may have been created without injection."""
        answer = _sentence(413 if isinstance(problem, BodyTooLarge) else 408, str(problem))
        answer.force_close()
        self._log.untrusted(
            "warning", "body refused", problem=str(problem), bytes=http.content_length
        )
        return answer

    def _other(self, method: str, path: str) -> web.Response:
        if path != CERTIFICATE_PATH:
            return _sentence(
                404,
                f"there are /mutate, /validate and {CERTIFICATE_PATH} here; /livez, /readyz, /metrics on the metrics port",
            )
        if method != "GET":
            return _sentence(405, "must be a GET", {"Allow": "GET"})
        return web.Response(body=self._certificate(), content_type="application/x-pem-file")

    async def review(self, webhook: Webhook, body: Body, run: Run = here) -> bytes:
        """Return the reply to a review, and record the decision. `run` does the work.

        Raises: MalformedReview; Undecided, so that the failurePolicy of the webhook decides
        """
        start = perf_counter_ns()
        request = webhook.decode(body) if run is here else await run(webhook.decode, body)
        try:
            # Before the lookup of the namespace, which may call the API server.
            reason = webhook.skip_reason(request, self.namespaces.cluster)
            if reason is not None:
                decision = Decision(reason)
            elif request.is_validation and type(request.object) in self._deciders:
                decision = await self._deciders[type(request.object)](request)
            else:
                name = request.namespace
                namespace = self.namespaces.get(name) or await self.namespaces.find(name)
                if namespace is None:
                    decision = Decision("namespace-unknown", webhook.without_decision)
                else:
                    decide, cluster = webhook.decide, self.namespaces.cluster
                    if webhook.takes_legacy_tokens:
                        decide = partial(decide, legacy_tokens=self._legacy_tokens.of(name))
                    decision = (
                        decide(request, cluster, namespace)
                        if run is here
                        else await run(decide, request, cluster, namespace)
                    )
            uid = request.uid
            reply = respond(uid, decision) if run is here else await run(respond, uid, decision)
        except ConnectionError:
            # The client has disconnected, which is no bug of ours.
            raise
        except Exception as problem:  # noqa: BLE001  (the outermost edge of a request)
            # A bug of ours. Mutation allows the object unchanged; validation fails, because it must
            # not report an object as compliant that it has not evaluated.
            self._log_internal_error(request, problem)
            decision = Decision("internal-error", "failed")
            reply = respond(request.uid, decision)
        self._reporter.record(request, decision, (perf_counter_ns() - start) // 1000)
        if decision.outcome == "failed" and webhook.without_decision == "failed":
            raise Undecided(f"boundtoken could not decide on this: {decision.reason}")
        return reply

    def _log_internal_error(self, request: Request | ValidationRequest, problem: Exception) -> None:
        """Log only the frames and the type, because an exception's text may contain data of the
        pod.
        """
        frames = "".join(traceback.format_tb(problem.__traceback__))
        error = type(problem).__name__
        self._log.error("internal error", uid=request.uid, error=error, traceback=frames)


WEBHOOKS = {"/mutate": MUTATING, "/validate": VALIDATING}


def health_and_metrics(
    unready_reasons: Callable[[], list[str]], remarks: Callable[[], list[str]], reporter: Reporter
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """Return the handler of the metrics port: `/livez`, `/readyz`, `/metrics`.

    `unready_reasons` returns what readiness still waits for. `remarks` returns warnings that do not
    affect readiness.
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
    """Return an error if method or headers show that the request is no review."""
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
    """Return an error response, and count it."""
    metrics.HTTP_REFUSALS.labels(str(status)).inc()
    return web.Response(status=status, text=text + "\n", headers=headers)
