"""Every query of the dashboard runs on a real Prometheus that scrapes a running replica, and shows
something where there is something.
"""

import json
import urllib.request
from pathlib import Path

from tests.monitoring.panels import QUERIES, empty
from tests.support.builders import a_pod, a_review, automounted
from tests.support.processes import Server, running_process
from tests.support.prometheus import of_pod, prometheus, replicas
from tests.support.waiting import wait_for

ELSEWHERE = ("apiserver_", "serviceaccount_", 'kind="ca"', "boundtoken_namespace_relists_total")
"""What a replica without a cluster has not: tests/cluster_e2e/test_alerts.py has it."""
CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


def review(server: Server, path: str) -> None:
    body = json.dumps(a_review(automounted(a_pod()))).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, body, headers)
    with urllib.request.urlopen(request, context=server.trust()) as answer:
        assert answer.status == 200


def test_every_query_runs_and_shows_what_a_replica_has(
    prometheus_binary: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    with running_process(tmp_path, "--config", str(tmp_path / "config.yaml")) as replica:
        for path in ("/mutate", "/validate"):
            review(replica, path)
        target = of_pod(f"127.0.0.1:{replica.plain}", "a")
        with prometheus(tmp_path, [replicas(target)]) as server:
            expected = {
                query.expr
                for query in QUERIES
                if not query.is_rare and any(part in query.expr for part in ELSEWHERE)
            }
            wait_for(lambda: set(empty(server)) <= expected, 30, 0.3)
            assert set(empty(server)) == expected
