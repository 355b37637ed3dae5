"""Every metric and every label that a rule or a panel names exists."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitoring import known
from tests.monitoring.dashboard import FILE, rendered
from tests.monitoring.known import Named
from tests.monitoring.panels import ROWS
from tests.support.processes import running_process
from tests.support.prometheus import Prometheus, prometheus, rules
from webhook.core.decision import REASONS
from webhook.core.self_probe import RESULTS

CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
METRICS = known.ours() | known.OF_API_SERVER | known.OF_PROMETHEUS
VALUES = {
    "reason": frozenset(REASONS),
    "kind": frozenset({"ca", "leaf"}),
    "result": frozenset({*RESULTS, "refused|could-not-ask"}),
    "enforcement_action": frozenset({"deny"}),
    "alertstate": frozenset({"firing"}),
}
"""The values of labels that queries compare with. That of `le` is seen in a running replica."""


def queries() -> Iterator[tuple[str, str, str]]:
    """Each query: where it stands, its text, and the text in which labels are shown."""
    for rule in rules():
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())
    for panels in ROWS.values():
        for panel in panels:
            for query in panel.queries:
                yield panel.title, query.runnable, query.legend


QUERIES = list(queries())


@pytest.fixture(scope="module")
def parser(
    prometheus_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes nothing, for its parser."""
    with prometheus(tmp_path_factory.mktemp("parser"), []) as running:
        yield running


@pytest.mark.parametrize(("where", "expr", "shown"), QUERIES, ids=[row[0] for row in QUERIES])
def test_every_metric_and_label_of_a_query_exists(
    parser: Prometheus, where: str, expr: str, shown: str
) -> None:
    named = Named(parser, expr)
    assert named.metrics
    for metric, values in named.selected:
        allowed = METRICS[metric] | known.TARGET | known.EXTERNAL
        assert set(values) <= allowed, metric
        for label, value in values.items():
            assert value in VALUES.get(label, {value}), (label, value)
    labels = {label for metric in named.metrics for label in METRICS[metric]} | known.TARGET
    labels |= known.EXTERNAL
    legend = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", shown))
    assert (named.labels | legend) <= labels


def test_a_query_with_a_name_that_does_not_exist_is_found(parser: Prometheus) -> None:
    named = Named(parser, 'sum by (pod) (rate(a_total{kind="b"}[5m])) / ignoring (c) (d unless d)')
    assert named.metrics == {"a_total", "d"}
    assert named.selected[0] == ("a_total", {"kind": "b"})
    assert named.labels == {"pod", "c"}


def test_the_names_of_our_metrics_are_those_of_a_running_replica(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    with (
        running_process(tmp_path, "--config", str(tmp_path / "config.yaml")) as server,
        urllib.request.urlopen(f"http://127.0.0.1:{server.plain}/metrics") as answer,
    ):
        there = known.exposed(answer.read().decode())
    for name, labels in known.ours().items():
        assert name in there, name
        assert {frozenset(series) for series in there[name]} <= {labels}, name
    bounds = {series["le"] for series in there["boundtoken_admission_duration_seconds_bucket"]}
    compared = {bound for _, expr, _ in QUERIES for bound in re.findall(r'le="([^"]+)"', expr)}
    assert compared
    assert compared <= bounds


def test_the_dashboard_is_the_one_that_the_script_makes() -> None:
    assert FILE.read_text() == rendered(), "make dashboard writes it anew"


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert(parser: Prometheus) -> None:
    """One that nobody looks at needs no place in the program."""
    shown = {metric for _, expr, _ in QUERIES for metric in Named(parser, expr).metrics}
    assert set(known.ours()) - shown == {"boundtoken_admission_duration_seconds_sum"}
