"""`make dashboard`: writes manifests/monitoring/dashboard.json, for Grafana. `panels` has what it
shows.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.monitoring.panels import CLUSTER, ROWS, Panel
from tests.support.paths import ROOT

FILE = ROOT / "manifests/monitoring/dashboard.json"
COLUMNS, HEIGHT = 24, 8
"""Of Grafana's grid, and of a panel in it."""
STAT_WIDTH, STAT_HEIGHT = 4, 4
PER_ROW = 3
DESCRIPTION = (
    "Of one cluster. Where a data source has several, each series needs the label cluster, by which "
    "one is chosen; with All their numbers are summed up. Panels of the API server and of alerts "
    "are about the whole cluster, whatever the namespace."
)
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "boundtoken",
        "title": "boundtoken",
        "description": DESCRIPTION,
        "tags": ["boundtoken"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource(), _cluster(), _namespace()]},
        "panels": [{**panel, "id": at} for at, panel in enumerate(_panels(), 1)],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _cluster() -> dict[str, Any]:
    """One or all. All is any value, also none: most data sources have a single cluster, whose
    series have no such label.
    """
    query = "label_values(boundtoken_ready, cluster)"
    current = {"text": "All", "value": "$__all"}
    return _by_label("cluster", "Cluster", query) | {"allValue": ".*", "current": current}


def _namespace() -> dict[str, Any]:
    query = f"label_values(boundtoken_ready{{{CLUSTER}}}, namespace)"
    current = {"text": ["All"], "value": ["$__all"]}
    variable = _by_label("namespace", "Namespace of boundtoken", query)
    return variable | {"multi": True, "current": current}


def _by_label(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "refresh": 2,
        "includeAll": True,
    }


def _panels() -> Iterator[dict[str, Any]]:
    top = 0
    for title, panels in ROWS.items():
        at = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        yield {"type": "row", "title": title, "collapsed": False, "gridPos": at, "panels": []}
        top += 1
        is_flat = all(panel.is_stat for panel in panels)
        width, height = (STAT_WIDTH, STAT_HEIGHT) if is_flat else (COLUMNS // PER_ROW, HEIGHT)
        per_row = COLUMNS // width
        for number, panel in enumerate(panels):
            line, column = divmod(number, per_row)
            spot = {"h": height, "w": width, "x": column * width, "y": top + line * height}
            yield {**_panel(panel), "gridPos": spot}
        top += -(-len(panels) // per_row) * height


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            "instant": panel.is_stat,
            "range": not panel.is_stat,
        }
        for number, query in enumerate(panel.queries)
    ]
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if panel.is_stat:
        options = {"textMode": "value_and_name", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "type": "stat" if panel.is_stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": targets,
        "options": options,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
    }


def rendered() -> str:
    """The text of the file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(rendered())
