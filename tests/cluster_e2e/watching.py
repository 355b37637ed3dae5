"""A real Prometheus that scrapes the replicas of the cluster and its API server, with the alerts of
the manifest.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tests.support.builders import Json
from tests.support.cluster import Cluster
from tests.support.prometheus import RULES, Prometheus, of_pod, prometheus
from tests.support.waiting import wait_for

STALE = "boundtoken_namespace_last_event_timestamp_seconds > 300"
"""The condition of BoundtokenCacheStale, whose limit alone takes minutes to pass."""
NOT_INJECTED = 'increase(boundtoken_self_probes_total{result="not-injected"}[10m])'
"""By which one rule of BoundtokenNotCalled fires for ten minutes after the last such result."""


class Watched:
    """The cluster, and the Prometheus that watches it."""

    def __init__(self, cluster: Cluster, server: Prometheus, targets: Path) -> None:
        self.cluster = cluster
        self.server = server
        self.more: list[Json] = []
        """Targets besides the replicas of the cluster."""
        self._file = targets
        self._written = ""

    def firing(self) -> set[str]:
        """The alerts that fire, of the replicas that there are now."""
        pods = [of_pod(f"{pod.ip}:8080", pod.name) for pod in self.cluster.kubelet.pods]
        if (text := json.dumps([*pods, *self.more])) != self._written:
            beside = self._file.with_suffix(".new")
            beside.write_text(text)
            beside.replace(self._file)
            self._written = text
        return self.server.firing()

    def wait(
        self, *alerts: str, again: Callable[[], object] = lambda: None, seconds: float = 60
    ) -> None:
        """Until these fire; `again` is called meanwhile."""

        def fire() -> bool:
            again()
            return set(alerts) <= self.firing()

        wait_for(fire, seconds, 0.3)

    def wait_until_over(self, *alerts: str, again: Callable[[], object] = lambda: None) -> None:
        def is_over() -> bool:
            again()
            return not set(alerts) & self.firing()

        wait_for(is_over, 60, 0.3)


def _quick_rules(stale_seconds: int) -> Json:
    """The groups of the manifest without `for` and long ranges, so that nobody has to wait for
    them; promtool tests the times.
    """
    text = RULES.read_text()
    quick = {STALE: ("300", str(stale_seconds)), NOT_INJECTED: ("[10m]", "[20s]")}
    for condition, (slow, fast) in quick.items():
        assert text.count(condition) == 1
        text = text.replace(condition, condition.replace(slow, fast))
    spec: Json = yaml.safe_load(text)
    groups = spec["spec"]
    for group in groups["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    return dict(groups)


@contextlib.contextmanager
def watching(cluster: Cluster, folder: Path, stale_seconds: int = 300) -> Iterator[Watched]:
    """Prometheus, with its files in the folder, which has seen the replicas. `stale_seconds` is the
    limit of BoundtokenCacheStale.
    """
    rules, targets = folder / "rules.yaml", folder / "targets.json"
    rules.write_text(yaml.safe_dump(_quick_rules(stale_seconds)))
    targets.write_text("[]")
    plane = cluster.plane
    scrapes: list[Json] = [
        {
            "job_name": "boundtoken",
            "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
        },
        {
            "job_name": "apiserver",
            "scrape_interval": "5s",  # its page has thousands of series
            "scheme": "https",
            "tls_config": {"ca_file": str(plane.ca_file)},
            "authorization": {"credentials": plane.tokens["admin"]},
            "static_configs": [{"targets": [plane.url.removeprefix("https://")]}],
        },
    ]
    with prometheus(folder, scrapes, rules) as server:
        running = Watched(cluster, server, targets)
        # Counters need a value from before, and alerts a round that has seen the replicas.
        scraped = "count(count_over_time(up[5m]) >= 3)"
        wait_for(lambda: running.firing() is not None and server.value(scraped) == 3, 60, 0.3)
        yield running
