"""The alerts and the dashboard of the chart, by what its values choose."""

import re
from typing import Any

import pytest

from tests.support.builders import Json
from tests.support.helm import rendered
from tests.support.prometheus import rules

pytestmark = pytest.mark.controlplane  # helm is built as long as the control plane is

NAMES = {rule["alert"] for rule in rules()}
OF_API_SERVER = ["BoundtokenFailedOpen", "BoundtokenLegacyTokenInUse", "BoundtokenStaleTokenInUse"]


def groups(replicas: int | None = 2, **given: Any) -> list[Json]:
    """The groups of alerts that the chart renders; none where there is no PrometheusRule."""
    values = {
        "replicas": replicas,
        "monitoring": {"prometheusRule": {"enabled": True, **given}},
    }
    found = [item["spec"] for item in rendered(values) if item["kind"] == "PrometheusRule"]
    return [group for spec in found for group in spec["groups"]]


def alerts(of: list[Json]) -> set[str]:
    return {rule["alert"] for group in of for rule in group["rules"]}


@pytest.mark.parametrize(
    "disabled", [["BoundtokenNotCalled"], ["BoundtokenSlow", "BoundtokenOneReplica"]], ids=" ".join
)
def test_alerts_are_switched_off_by_their_names(disabled: list[str]) -> None:
    """With each rule that an alert has."""
    found = groups(disabled=disabled)
    assert alerts(found) == NAMES - {*disabled}
    left = [rule for rule in rules() if rule["alert"] not in disabled]
    assert sum(len(group["rules"]) for group in found) == len(left)


def test_a_group_without_alerts_is_none() -> None:
    names = [group["name"] for group in groups(disabled=OF_API_SERVER)]
    assert names == ["boundtoken"]
    names = [group["name"] for group in groups(disabled=[*NAMES - {*OF_API_SERVER}])]
    assert names == ["boundtoken-api-server"]
    assert groups(disabled=[*NAMES]) == []
    # What is left out by itself may be the last one.
    assert groups(1, disabled=[*NAMES - {"BoundtokenOneReplica"}]) == []


@pytest.mark.parametrize(
    ("replicas", "is_there"), [(0, False), (1, False), (2, True), (3, True), (None, True)]
)
def test_whoever_chose_one_replica_is_not_told_of_it(
    replicas: int | None, *, is_there: bool
) -> None:
    """Of an autoscaler nobody knows how many it keeps."""
    assert ("BoundtokenOneReplica" in alerts(groups(replicas))) == is_there


def test_every_alert_has_further_labels_and_annotations_beside_its_own() -> None:
    labels = {"team": "platform", "cluster": "{{ $externalLabels.cluster }}"}
    annotations = {"dashboard_url": "https://grafana.example.com/d/boundtoken"}
    found = groups(
        additionalLabels=labels,
        additionalAnnotations=annotations,
        runbooks="https://wiki.example.com/ALERT.html#ALERT",
    )
    made = [rule for group in found for rule in group["rules"]]
    for rule, own in zip(made, rules(), strict=True):
        name = rule["alert"]
        page = f"https://wiki.example.com/{name}.html#{name}"
        texts = {**own["annotations"], "runbook_url": page}
        assert rule == {
            **own,
            "labels": {**own["labels"], **labels},
            "annotations": {**texts, **annotations},
        }


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an alert with another name": (
        {"disabled": ["BoundtokenOneReplicas"]},
        "at '/monitoring/prometheusRule/disabled/0': value must be one of 'BoundtokenUnreachable', ",
    ),
    "another severity": (
        {"additionalLabels": {"severity": "page"}},
        "monitoring.prometheusRule.additionalLabels: must not have severity, which each alert has",
    ),
    "another summary": (
        {"additionalAnnotations": {"summary": "x"}},
        "monitoring.prometheusRule.additionalAnnotations: must not have summary, which each alert has",
    ),
    "a label that Prometheus does not take": (
        {"additionalLabels": {"example.com/team": "x"}},
        "at '/monitoring/prometheusRule/additionalLabels': additional properties 'example.com/team' not",
    ),
    "one page for all alerts": (
        {"runbooks": "https://wiki.example.com/runbooks"},
        "at '/monitoring/prometheusRule/runbooks': 'https://wiki.example.com/runbooks' does not match",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_values_of_the_alerts_are_refused_where_they_stand(wrong: str) -> None:
    given, expected = WRONG[wrong]
    with pytest.raises(ValueError, match=re.escape(expected)):
        groups(**given)


@pytest.mark.parametrize("monitor", ["podMonitor", "serviceMonitor"])
def test_a_scrape_has_the_timeout_that_is_given(monitor: str) -> None:
    def endpoints(**given: Any) -> list[Json]:
        made = rendered({"monitoring": {monitor: {"enabled": True}, **given}})
        (spec,) = [item["spec"] for item in made if item["kind"].endswith("Monitor")]
        return [*(spec.get("podMetricsEndpoints") or spec["endpoints"])]

    (default,) = endpoints()
    assert "scrapeTimeout" not in default
    given = {"interval": "1m", "scrapeTimeout": "20s"}
    assert endpoints(**given) == [{**default, **given}]


def test_the_dashboard_is_where_the_sidecar_looks_for_it_and_in_its_folder() -> None:
    def metadata(**given: Any) -> Json:
        made = rendered({"monitoring": {"dashboard": {"enabled": True, **given}}})
        (found,) = [item["metadata"] for item in made if "boundtoken.json" in item.get("data", ())]
        return dict(found)

    folder = {"grafana_folder": "Security"}
    elsewhere = metadata(namespace="grafana", annotations=folder)
    assert (elsewhere["namespace"], elsewhere["annotations"]) == ("grafana", folder)
    assert "annotations" not in metadata()
    assert metadata()["namespace"] == "boundtoken-system"
