"""Asks the API server for a pod in a dry run, and measures whether it comes back injected.

Everything else that is measured says that a replica would answer. Only this says that somebody
calls: no replica notices a blocked port, a Service without endpoints or a webhook configuration
that was deleted. docs/decisions/0011-self-probe.md says why in our own namespace, and why every
replica asks.

A result never makes a replica unready: the replicas would all go at once, and nothing of what it
finds is cured by that.
"""

import asyncio
import random
import time
from collections.abc import Callable

import msgspec

from .. import metrics
from ..cluster.client import ApiClient, decode
from ..cluster.credentials import Credentials, InCluster
from ..core import names, self_probe
from ..core.self_probe import RESULTS, Result
from ..core.views import Pod
from ..errors import ApiError, described
from ..log import Log, LogLevel
from ..options import Config

SECONDS = 30.0
"""For one call: the API server waits 3 s for each of our two webhooks, and for those of others, by
default 10 s each."""
FIRST = (5.0, 15.0)
"""Seconds from being ready to the first probe, at most an interval: endpoints take some seconds to
follow, and replicas that start together do not ask together."""
JITTER = (0.8, 1.2)
AGAIN_SECONDS = 10.0
"""To the next probe after one that was not injected, at most: a fix is seen soon."""
LONGEST_FACTOR = 4
"""While it cannot ask, the pause doubles up to so many intervals."""
READY_SECONDS = 1.0
"""Between two looks at whether this replica is ready."""
LEVELS: dict[Result, LogLevel] = {
    "injected": "info",
    "not-injected": "error",
    "refused": "warning",
    "could-not-ask": "warning",
}
HINTS: dict[Result, str] = {
    "not-injected": "boundtoken check tells what keeps the API server from calling us",
    "refused": "something else refuses the pod; --self-probe-interval=0 switches the probe off",
    "could-not-ask": "boundtoken check says which rights are missing; this needs create on pods in our own namespace",
}
_POD = msgspec.json.Decoder(Pod)
for _result in RESULTS:
    metrics.SELF_PROBES.labels(_result)
    metrics.SELF_PROBE_RESULT.labels(_result)


class SelfProbe:
    """Probes every `seconds` in `namespace`. `unready` is what readiness waits for, `draining`
    whether this replica is about to stop.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        seconds: float,
        log: Log,
        *,
        unready: Callable[[], list[str]] = list,
        draining: Callable[[], bool] = bool,
    ) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._seconds = seconds
        self._log = log
        self._unready, self._draining = unready, draining
        self._result: Result | None = None
        metrics.SELF_PROBE_INTERVAL.set(seconds)

    async def run(self) -> None:
        """Probe until the replica drains; not before it is ready for the first time."""
        while self._unready():  # noqa: ASYNC110  (what readiness waits for has no event)
            await asyncio.sleep(READY_SECONDS)
        pause = self._seconds
        await asyncio.sleep(min(_between(FIRST), pause))
        while not self._draining():
            result, retry_after = await self._probe()
            pause = pause_after(result, pause, self._seconds)
            await asyncio.sleep(max(pause * _between(JITTER), retry_after))

    async def _probe(self) -> tuple[Result, float]:
        """One probe: its result, and how many seconds the API server asks us to wait."""
        started = time.monotonic()
        problem, retry_after = "", 0.0
        try:
            # One of several API servers may not reach us: each probe is to ask any of them.
            body = await self._client.send(
                "POST",
                self._path,
                self_probe.pod(),
                query={"dryRun": "All"},
                seconds=SECONDS,
                keeps_connection=False,
            )
            result = self_probe.result_of(decode(_POD, body))
        except Exception as refusal:  # noqa: BLE001  (an edge: whatever a turn meets, the process serves on)
            problem = described(refusal)
            status = refusal.status if isinstance(refusal, ApiError) else 0
            retry_after = getattr(refusal, "retry_after", 0.0)
            result = self_probe.result_of_refusal(status, problem)
        if not self._draining():
            self._tell(result, problem, time.monotonic() - started)
        return result, retry_after

    def _tell(self, result: Result, problem: str, seconds: float) -> None:
        metrics.SELF_PROBES.labels(result).inc()
        metrics.SELF_PROBE_DURATION.set(seconds)
        for one in RESULTS:
            metrics.SELF_PROBE_RESULT.labels(one).set(one == result)
        if result == "injected":
            metrics.SELF_PROBE_LAST_SUCCESS.set(time.time())
        if result != self._result:
            self._result = result
            fields = {"result": result, "problem": problem, "hint": HINTS.get(result, "")}
            self._log.line(LEVELS[result], "self-probe", {k: v for k, v in fields.items() if v})


def pause_after(result: Result, pause: float, interval: float) -> float:
    """The seconds to the next probe, without jitter, after this result and the pause before it."""
    if result == "could-not-ask":
        return min(pause * 2, interval * LONGEST_FACTOR)
    return min(interval, AGAIN_SECONDS) if result == "not-injected" else interval


def _between(bounds: tuple[float, float]) -> float:
    return random.uniform(*bounds)  # noqa: S311  (spreads replicas, hides nothing)


def self_probe_of(
    client: ApiClient | None,
    credentials: Credentials | None,
    config: Config,
    log: Log,
    *,
    unready: Callable[[], list[str]],
    draining: Callable[[], bool],
) -> SelfProbe | None:
    """The probe of a replica in the cluster, else None: a process outside of it has no rights of
    ours, and nobody may call it. None in the namespaces of Kubernetes too, which no webhook of ours
    is asked about.
    """
    if client is None or not isinstance(credentials, InCluster) or not config.self_probe_interval:
        return None
    if config.namespace in names.NEVER_TOUCHED:
        return None
    return SelfProbe(
        client,
        config.namespace,
        config.self_probe_interval,
        log,
        unready=unready,
        draining=draining,
    )
