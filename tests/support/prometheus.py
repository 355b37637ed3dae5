"""A real Prometheus on loopback, which scrapes what a test tells it to, with the rules that a test
gives it.
"""

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring import build
from tests.support.builders import Json
from tests.support.paths import ROOT
from tests.support.processes import free_port, started

RULES = ROOT / "manifests/monitoring/prometheusrule.yaml"
SCRAPE_SECONDS = 2
"""Between two scrapes, and how long one may take."""


def rules() -> list[Json]:
    """The rules of the manifest, of all groups."""
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


class RefusedQuery(Exception):
    """What Prometheus says of a query that it cannot run."""


class Prometheus:
    """One that runs; `url` is where it answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer of its API.

        Raises: RefusedQuery, with its message
        """
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as problem:
            with problem:
                raise RefusedQuery(problem.read().decode()) from problem

    def query(self, expr: str) -> list[Json]:
        """The series of an instant query.

        Raises: RefusedQuery
        """
        return list(self.get("query", query=expr)["result"])

    def value(self, expr: str) -> float | None:
        """The value of the only series of a query; None where there is none."""
        found = self.query(expr)
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@contextlib.contextmanager
def prometheus(
    folder: Path, scrape_configs: Sequence[Json], rules: Path | None = None
) -> Iterator[Prometheus]:
    """A Prometheus that runs while the block does; `rules` is a file of rules."""
    configuration = {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        },
        "scrape_configs": list(scrape_configs),
        "rule_files": [str(rules)] if rules else [],
    }
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        str(build.prometheus()),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with started(command, folder, port=port, plain=port) as process:
        process.wait_until_ready("/-/ready")
        yield Prometheus(f"http://127.0.0.1:{port}")


def of_pod(address: str, pod: str, namespace: str = "boundtoken-system") -> Json:
    """A replica as the PodMonitor has it scraped: with the labels that its target has."""
    labels = {"job": "boundtoken", "namespace": namespace, "pod": pod}
    return {"targets": [address], "labels": labels}


def replicas(*targets: Json) -> Json:
    return {"job_name": "boundtoken", "static_configs": list(targets)}
