"""Every query of the dashboard runs on a real Prometheus that scrapes a running replica, and shows
something where there is something.
"""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.monitoring.panels import CLUSTER, NAMESPACE, QUERIES, empty
from tests.support.builders import a_pod, a_review, automounted
from tests.support.processes import Server, running_process
from tests.support.prometheus import of_pod, prometheus, replicas
from tests.support.waiting import wait_for

ELSEWHERE = ("apiserver_", "serviceaccount_", 'kind="ca"', "boundtoken_namespace_relists_total")
"""What a replica without a cluster has not: tests/cluster_e2e/test_alerts.py has it."""
CLUSTERS = ("one", "two")
CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


def review(server: Server, path: str) -> None:
    body = json.dumps(a_review(automounted(a_pod()))).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, body, headers)
    with urllib.request.urlopen(request, context=server.trust()) as answer:
        assert answer.status == 200


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that has reviewed a pod."""
    folder = tmp_path_factory.mktemp("replica")
    (folder / "config.yaml").write_text(CONFIGURATION)
    with running_process(folder, "--config", str(folder / "config.yaml")) as running:
        for path in ("/mutate", "/validate"):
            review(running, path)
        yield running


@pytest.mark.usefixtures("prometheus_binary")
def test_every_query_runs_and_shows_what_a_replica_has(replica: Server, tmp_path: Path) -> None:
    target = of_pod(f"127.0.0.1:{replica.plain}", "a")
    with prometheus(tmp_path, [replicas(target)]) as server:
        expected = {
            query.expr
            for query in QUERIES
            if not query.is_rare and any(part in query.expr for part in ELSEWHERE)
        }
        wait_for(lambda: set(empty(server)) <= expected, 30, 0.3)
        assert set(empty(server)) == expected


@pytest.mark.usefixtures("prometheus_binary")
def test_every_query_shows_the_cluster_that_is_chosen(replica: Server, tmp_path: Path) -> None:
    """Of two, in which replicas have the same names, and with alerts in one of them."""
    alert = tmp_path / "rules.yaml"
    rule = {"alert": "BoundtokenTest", "expr": "boundtoken_ready", "labels": {"severity": "info"}}
    alert.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": [rule]}]}))
    targets = [of_pod(f"127.0.0.1:{replica.plain}", "a") for _ in CLUSTERS]
    for target, cluster in zip(targets, CLUSTERS, strict=True):
        target["labels"]["cluster"] = cluster

    with prometheus(tmp_path, [replicas(*targets)], alert) as server:

        def shown(cluster: str) -> dict[str, int]:
            """How many series each query has; none for those that have none."""
            counts = {query.expr: len(server.query(query.of_cluster(cluster))) for query in QUERIES}
            return {expr: count for expr, count in counts.items() if count}

        def are_alike() -> bool:
            one, two, both = map(shown, (*CLUSTERS, ".*"))
            return one == two and set(one) == set(both) and len(one) > len(QUERIES) / 2

        wait_for(are_alike, 30, 0.3)
        assert any(expr.startswith("count by (severity) (ALERTS") for expr in shown("one"))
        assert shown("three") == {}
        ready = "sum(boundtoken_ready{" + NAMESPACE + "})"
        (query,) = [query for query in QUERIES if query.expr == ready]
        values = [server.value(query.of_cluster(cluster)) for cluster in (*CLUSTERS, ".*")]
        assert values == [1, 1, 2]


def test_every_query_names_the_cluster() -> None:
    """Also in queries that show nothing here, since their metrics are the API server's."""
    assert [query.expr for query in QUERIES if CLUSTER not in query.expr] == []
