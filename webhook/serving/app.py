"""The routes: read a review, ask core, announce; and what the kubelet and the scraper ask. No decision is made here.

Why no aiohttp Application: four paths need no router, and every review would pay for one.
"""

import traceback
from collections.abc import Awaitable, Callable
from time import perf_counter

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest

from .. import log, metrics
from ..cluster.namespaces import Namespaces
from ..core import admission, review
from ..core.admission import Outcome, Reason, Verdict
from ..core.pods import Metadata
from ..core.policy import NamespaceLayer
from ..core.review import Request
from ..errors import MalformedReview
from .connection import TooLarge, TooSlow, read_body

JSON = "application/json"
OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
RESOURCES = frozenset(
    {"pods", "deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs", "pods/ephemeralcontainers"}
)


_NO_METADATA = Metadata()

Later = Callable[[float, Callable[[], None]], object]
"""The loop's `call_later`."""


class ReviewLine(log.Line):
    """One line for each review (contract.md section 8)."""

    uid: str
    namespace: str
    name: str
    owner: str
    operation: str
    resource: str
    outcome: Outcome
    reason: Reason
    duration_us: int
    dry_run: bool
    faults: int


class Door:
    """The TLS port: `/mutate`, and nothing else."""

    def __init__(self, namespaces: Namespaces, said: log.Log, later: Later) -> None:
        self.namespaces = namespaces
        self._log = said
        self._later = later
        self._in_flight = 0
        metrics.ADMISSION_IN_FLIGHT.set_function(lambda: self._in_flight)
        self._counters: dict[tuple[str, str, Outcome, Reason], Counter] = {}

    async def __call__(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.raw_path.partition("?")[0] != "/mutate":
            return _sentence(404, "there is only /mutate here; /livez, /readyz and /metrics are on the plain port")
        if http.method != "POST":
            return _sentence(405, "must be a POST", {"Allow": "POST"})
        if http.headers.get("Content-Type") != JSON and http.content_type.lower() != JSON:
            return _sentence(415, "Content-Type must be application/json")
        self._in_flight += 1
        try:
            return await self._mutate(await read_body(http))
        except TooLarge as problem:
            answer = _sentence(413, str(problem))
            answer.force_close()
            return answer
        except TooSlow as problem:
            answer = _sentence(408, str(problem))
            answer.force_close()
            return answer
        finally:
            self._in_flight -= 1

    async def _mutate(self, body: bytes) -> web.Response:
        start = perf_counter()
        try:
            request = review.decode(body)
        except MalformedReview as problem:
            self._count("other", "other", Verdict(Reason.MALFORMED_REVIEW, Outcome.FAILED))
            self._log.warning("malformed review", problem=str(problem), bytes=len(body))
            return _sentence(400, str(problem))
        namespace = self.namespaces.get(request.namespace)
        if namespace is None and admission.needs_namespace(request, self.namespaces.cluster):
            try:
                namespace = await self.namespaces.find(request.namespace)
            except Exception as problem:  # noqa: BLE001  (the outermost edge of a request)
                return web.Response(body=self._allowed(request, problem, start), content_type=JSON)
        return web.Response(body=self.answer(request, namespace, start), content_type=JSON)

    def answer(self, request: Request, namespace: NamespaceLayer | None, start: float) -> bytes:
        """The reply, announced.

        Units: `start` in seconds of perf_counter
        """
        try:
            verdict = admission.judge(request, self.namespaces.cluster, namespace)
            reply = review.encode(admission.respond(request.uid, verdict))
        except Exception as problem:  # noqa: BLE001  (the outermost edge of a request)
            return self._allowed(request, problem, start)
        self._announce(request, verdict, perf_counter() - start)
        return reply

    def _allowed(self, request: Request, problem: Exception, start: float) -> bytes:
        """Our own bug never stops a pod: it is allowed unchanged, counted and logged.

        The log gets frames and the type only, because an exception's text may quote the pod.
        """
        frames = "".join(traceback.format_tb(problem.__traceback__))
        self._log.error("internal error", uid=request.uid, error=type(problem).__name__, traceback=frames)
        verdict = Verdict(Reason.INTERNAL_ERROR, Outcome.FAILED)
        self._announce(request, verdict, perf_counter() - start)
        return review.encode(admission.respond(request.uid, verdict))

    def _announce(self, request: Request, verdict: Verdict, seconds: float) -> None:
        resource = request.resource.resource
        if request.sub_resource:
            resource = f"{resource}/{request.sub_resource}"
        self._count(request.operation, resource, verdict)
        metrics.ADMISSION_DURATION.observe(seconds)
        for fault in verdict.faults:
            metrics.POLICY_FAULTS.labels(fault.layer).inc()
        if self._log.tells_reviews:
            self._log.record(_line(request, resource, verdict, seconds), self._later)

    def _count(self, operation: str, resource: str, verdict: Verdict) -> None:
        """Kept children, because `.labels()` costs more than the count; a stranger's words become `other`."""
        key = (operation, resource, verdict.outcome, verdict.reason)
        counter = self._counters.get(key)
        if counter is None:
            known = (
                operation if operation in OPERATIONS else "other",
                resource if resource in RESOURCES else "other",
                verdict.outcome,
                verdict.reason,
            )
            counter = metrics.ADMISSION_REQUESTS.labels(*known)
            if known == key:
                self._counters[key] = counter
        counter.inc()


def _line(request: Request, resource: str, verdict: Verdict, seconds: float) -> ReviewLine:
    held = request.object.metadata if request.object is not None else _NO_METADATA
    owner = held.controller
    return ReviewLine(
        time=log.now(),
        level="info",
        event="review",
        uid=request.uid,
        namespace=request.namespace,
        name=request.name or held.name or held.generate_name,
        owner=f"{owner.kind}/{owner.name}" if owner is not None else "",
        operation=request.operation,
        resource=resource,
        outcome=verdict.outcome,
        reason=verdict.reason,
        duration_us=round(seconds * 1e6),
        dry_run=bool(request.dry_run),
        faults=len(verdict.faults),
    )


def plain(missing: Callable[[], list[str]]) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The plain port: `/livez`, `/readyz`, `/metrics`; `missing` names what readiness still waits for."""

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        if http.method not in ("GET", "HEAD"):
            return _sentence(405, "must be a GET", {"Allow": "GET, HEAD"})
        match http.path:
            case "/livez":
                return _sentence(200, "ok")
            case "/readyz":
                waiting = missing()
                return _sentence(503, "not ready: " + "; ".join(waiting)) if waiting else _sentence(200, "ok")
            case "/metrics":
                return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
            case _:
                return _sentence(404, "there are /livez, /readyz and /metrics here")

    return answer


def _sentence(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=headers)
