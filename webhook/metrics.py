"""All metrics: name, unit, labels. No label has text that a user chooses, but namespaces where
`--namespace-metrics` is on. Core never imports this.
"""

import platform
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from . import __version__

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

ADMISSION_REQUESTS = Counter(
    "boundtoken_admission_requests_total",
    "Reviews answered.",
    ("operation", "resource", "outcome", "reason"),
    registry=REGISTRY,
)


class Durations(Collector):
    """A histogram of seconds. It is faster than the library's, because only one thread writes it
    and it needs no lock.
    """

    BOUNDS = (50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.2, 1.0, 3.0)
    _BOUNDS_US = tuple(round(bound * 1e6) for bound in BOUNDS)

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self._sum_us = 0
        registry.register(self)

    def observe(self, microseconds: Iterable[int]) -> None:
        """Count these durations."""
        # Sorted, most need no comparison with a bound: nearly all are in the first bucket.
        durations = sorted(microseconds)
        counted = 0
        for bucket, bound in enumerate(self._BOUNDS_US):
            if counted == len(durations):
                break
            below = bisect_right(durations, bound, counted)
            self._counts[bucket] += below - counted
            counted = below
        self._counts[-1] += len(durations) - counted
        self._sum_us += sum(durations)

    def collect(self) -> Iterator[Metric]:
        bounds = [*map(str, self.BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum_us / 1e6)


ADMISSION_DURATION = Durations(
    "boundtoken_admission_duration_seconds",
    "From the last byte of a review to the first byte of its answer.",
    REGISTRY,
)
ADMISSION_IN_FLIGHT = Gauge(
    "boundtoken_admission_in_flight", "Reviews that are being read or answered.", registry=REGISTRY
)
POLICY_FAULTS = Counter(
    "boundtoken_policy_faults_total",
    "Bad values of annotations, once for each review, by the layer where they stand.",
    ("layer",),
    registry=REGISTRY,
)
POLICY_EVALUATIONS = Counter(
    "boundtoken_policy_evaluations_total",
    "Evaluations of pods and templates, once for each mode that is not off.",
    ("decision", "mode", "level", "operation", "resource"),
    registry=REGISTRY,
)
VIOLATIONS = Counter(
    "boundtoken_violations_total",
    "Reviews whose object violates a rule, once for each mode that is not off; what a policy denies is not seen.",
    ("rule", "mode", "namespace"),
    registry=REGISTRY,
)
YEAR_LONG_TOKEN_PODS = Counter(
    "boundtoken_year_long_token_pods_total",
    "Pods created with a token that is valid for a year; none of excluded namespaces is counted.",
    registry=REGISTRY,
)
LEGACY_TOKENS_SYNCED = Gauge(
    "boundtoken_legacy_token_cache_synced",
    "1 once the legacy token Secrets have been listed; 0 without --legacy-tokens on.",
    registry=REGISTRY,
)
CONNECTIONS = Gauge(
    "boundtoken_connections", "Open connections, handshakes included.", ("port",), registry=REGISTRY
)
CONNECTIONS_LIMIT = Gauge(
    "boundtoken_connections_limit",
    "Connections that may be open; beyond it the longest idle is closed.",
    ("port",),
    registry=REGISTRY,
)
CONNECTIONS_CUT = Counter(
    "boundtoken_connections_cut_total",
    "Connections closed by a limit: full, memory, handshake, header, body, answer.",
    ("port", "reason"),
    registry=REGISTRY,
)
for _port in ("tls", "plain"):
    for _reason in ("full", "memory", "handshake", "header", "body", "answer"):
        CONNECTIONS_CUT.labels(_port, _reason)
ACCEPT_ERRORS = Counter(
    "boundtoken_accept_errors_total",
    "Connections that could not be accepted, for want of descriptors or memory.",
    registry=REGISTRY,
)
HTTP_REFUSALS = Counter(
    "boundtoken_http_refusals_total",
    "Requests refused before they were reviews, by HTTP status.",
    ("code",),
    registry=REGISTRY,
)
CERTIFICATE_NOT_AFTER = Gauge(
    "boundtoken_certificate_not_after_timestamp_seconds",
    "When the certificate (ca, leaf) expires, in seconds since 1970.",
    ("kind",),
    registry=REGISTRY,
)
CERTIFICATE_NOT_BEFORE = Gauge(
    "boundtoken_certificate_not_before_timestamp_seconds",
    "When the lifetime of the certificate began, in seconds since 1970.",
    ("kind",),
    registry=REGISTRY,
)
CERTIFICATE_ROTATIONS = Counter(
    "boundtoken_certificate_rotations_total",
    "Actions on certificates: leaf issued, used, refused or overdue; ca and bundle by action.",
    ("kind", "result"),
    registry=REGISTRY,
)
CABUNDLE_IN_SYNC = Gauge(
    "boundtoken_cabundle_in_sync",
    "1 while every caBundle has exactly boundtoken's CAs; only with self-managed certificates.",
    registry=REGISTRY,
)
POLICY_IN_SYNC = Gauge(
    "boundtoken_policy_in_sync",
    "1 while every policy binding has this configuration's settings; 0 if one is missing.",
    registry=REGISTRY,
)
POLICY_UPDATES = Counter(
    "boundtoken_policy_updates_total",
    "Policy bindings updated, failed, and missing: once a minute for each missing binding.",
    ("result",),
    registry=REGISTRY,
)
for _result in ("updated", "failed", "missing"):
    POLICY_UPDATES.labels(_result)
NAMESPACES = Gauge("boundtoken_namespaces", "Namespaces in the cache.", registry=REGISTRY)
NAMESPACE_CACHE_SYNCED = Gauge(
    "boundtoken_namespace_cache_synced",
    "1 once the namespaces have been listed.",
    registry=REGISTRY,
)
NAMESPACE_LAST_EVENT = Gauge(
    "boundtoken_namespace_last_event_timestamp_seconds",
    "When the watch last received anything, in seconds since 1970; bookmarks come about once a minute.",
    registry=REGISTRY,
)
NAMESPACE_RELISTS = Counter(
    "boundtoken_namespace_relists_total",
    "Lists of all namespaces, by reason.",
    ("reason",),
    registry=REGISTRY,
)
LOG_LINES_LOST = Counter(
    "boundtoken_log_lines_lost_total",
    "Log lines dropped because standard error was not read, or too slowly.",
    registry=REGISTRY,
)
NAMESPACE_LOOKUPS = Counter(
    "boundtoken_namespace_lookups_total",
    "Namespaces that were not in the cache: found, unknown, or over-rate without a GET.",
    ("result",),
    registry=REGISTRY,
)
for _result in ("found", "unknown", "over-rate"):
    NAMESPACE_LOOKUPS.labels(_result)
CONFIG_RELOAD_OK = Gauge(
    "boundtoken_config_last_reload_successful",
    "0 while the configuration file is rejected.",
    registry=REGISTRY,
)
CONFIG_RELOAD_OK.set(1)
CONFIG_INFO = Gauge(
    "boundtoken_config_info",
    "The hash of the configuration that is applied.",
    ("hash",),
    registry=REGISTRY,
)
SELF_PROBES = Counter(
    "boundtoken_self_probes_total",
    "Pods asked for in a dry run: injected, not-injected, refused, could-not-ask.",
    ("result",),
    registry=REGISTRY,
)
SELF_PROBE_RESULT = Gauge(
    "boundtoken_self_probe_result",
    "1 for the result of the last self-probe; all are 0 before the first one.",
    ("result",),
    registry=REGISTRY,
)
SELF_PROBE_LAST_SUCCESS = Gauge(
    "boundtoken_self_probe_last_success_timestamp_seconds",
    "When a self-probe last came back injected, in seconds since 1970; 0 before the first time.",
    registry=REGISTRY,
)
SELF_PROBE_DURATION = Gauge(
    "boundtoken_self_probe_duration_seconds",
    "How long the last self-probe took, from the request to the answer.",
    registry=REGISTRY,
)
SELF_PROBE_INTERVAL = Gauge(
    "boundtoken_self_probe_interval_seconds",
    "Seconds between two self-probes; 0 where there are none.",
    registry=REGISTRY,
)
EVENT_LOOP_LAG = Gauge(
    "boundtoken_event_loop_lag_seconds",
    "Greatest delay of the event loop since the last scrape.",
    registry=REGISTRY,
)
READY = Gauge(
    "boundtoken_ready", "1 while /readyz says that this replica is ready.", registry=REGISTRY
)
BUILD_INFO = Gauge(
    "boundtoken_build_info",
    "Release and Python version.",
    ("version", "python"),
    registry=REGISTRY,
)
BUILD_INFO.labels(__version__, platform.python_version()).set(1)
