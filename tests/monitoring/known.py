"""What the rules and the dashboard may name: metrics with their labels."""

import re

from prometheus_client.metrics import MetricWrapperBase

from tests.support.prometheus import Prometheus
from webhook import metrics

TARGET = frozenset({"job", "instance", "namespace", "pod"})
"""The labels that the PodMonitor gives each series of a replica."""
EXTERNAL = frozenset({"cluster"})
"""What Prometheus adds to each series, also of alerts, where several send to one place."""
OF_PROMETHEUS = {
    "up": frozenset({"job", "instance"}),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
}
OF_PROCESS = ("process_cpu_seconds_total", "process_resident_memory_bytes")
"""Metrics of the library, which have no labels."""
OF_API_SERVER = {
    "apiserver_admission_webhook_fail_open_count": frozenset({"name", "type"}),
    "apiserver_admission_webhook_request_total": frozenset(
        {"name", "type", "operation", "code", "rejected"}
    ),
    "apiserver_admission_webhook_admission_duration_seconds_bucket": frozenset(
        {"name", "type", "operation", "rejected", "le"}
    ),
    "apiserver_validating_admission_policy_check_total": frozenset(
        {"policy", "policy_binding", "error_type", "enforcement_action"}
    ),
    "serviceaccount_legacy_tokens_total": frozenset[str](),
    "serviceaccount_stale_tokens_total": frozenset[str](),
}
"""tests/cluster_e2e/test_alerts.py reads them from the real one."""


def ours() -> dict[str, frozenset[str]]:
    """The series of the program, by name, with their labels."""
    known: dict[str, frozenset[str]] = dict.fromkeys(OF_PROCESS, frozenset())
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            known[name] = frozenset(metric._labelnames)
    duration = metrics.ADMISSION_DURATION._name
    return {
        **known,
        f"{duration}_bucket": frozenset({"le"}),
        f"{duration}_count": frozenset(),
        f"{duration}_sum": frozenset(),
    }


SERIES = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def exposed(page: str) -> dict[str, list[dict[str, str]]]:
    """The series of a page of metrics: the labels of each, by name. A metric that has no series yet
    has none in its list.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:4]
            found.setdefault(f"{name}_bucket" if kind == "histogram" else name, [])
        elif series := SERIES.match(line):
            found.setdefault(series[1], []).append(dict(LABEL.findall(series[2] or "")))
    return found


class Named:
    """What a query names: its metrics, each with the labels that are compared with a value, and the
    labels by which it groups and matches.
    """

    def __init__(self, prometheus: Prometheus, expr: str) -> None:
        self.selected: list[tuple[str, dict[str, str]]] = []
        self.labels: set[str] = set()
        self._collect(prometheus.get("parse_query", query=expr))

    @property
    def metrics(self) -> set[str]:
        return {name for name, _ in self.selected}

    def _collect(self, node: object) -> None:
        if isinstance(node, list):
            for part in node:
                self._collect(part)
        if not isinstance(node, dict):
            return
        if node.get("type") in ("vectorSelector", "matrixSelector"):
            values = {one["name"]: one["value"] for one in node["matchers"]}
            self.selected.append(
                (node["name"], {k: v for k, v in values.items() if k != "__name__"})
            )
        self.labels.update(node.get("grouping") or ())
        self.labels.update((node.get("matching") or {}).get("labels") or ())
        for part in node.values():
            self._collect(part)
