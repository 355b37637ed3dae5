"""Each alert fires when it must and only then: promtool with the series of `cases`."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.monitoring.cases import CASES, Case
from tests.support.builders import Json
from tests.support.prometheus import RULES, rules


def run(promtool: Path, *arguments: str) -> str:
    """What promtool prints.

    Raises: AssertionError, with that, where it finds anything
    """
    done = subprocess.run([str(promtool), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_test(case: Case) -> Json:
    """A case as promtool reads it. Series of other things, such as `up`, are its own."""
    labels = f'alertname="{case.alert}",severity="{case.severity}",alertstate="firing"'
    return {
        "name": f"{case.alert}: {case.what}",
        "interval": "1m",
        "input_series": [
            {"series": series, "values": values} for series, values in case.series.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"count(ALERTS{{{labels}}})",
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": number}] if number else [],
            }
            for minute, number in case.firing.items()
        ],
    }


def alerts() -> Iterator[tuple[str, str]]:
    """Each rule, by its name and severity."""
    for rule in rules():
        yield rule["alert"], rule["labels"]["severity"]


def test_promtool_finds_nothing_in_the_rules_as_they_are_loaded_without_the_operator(
    promtool: Path, rule_file: Path
) -> None:
    assert yaml.safe_load(rule_file.read_text()) == yaml.safe_load(RULES.read_text())["spec"]
    printed = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(rule_file))
    assert f"SUCCESS: {len(rules())} rules found" in printed


def test_each_alert_fires_when_it_must_and_only_then(
    promtool: Path, rule_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(rule_file.read_text())
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [as_test(case) for case in CASES],
    }
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    run(promtool, "test", "rules", str(file))


@pytest.mark.parametrize("alert", sorted(set(alerts())), ids=" ".join)
def test_each_rule_has_series_that_fire_it_and_series_that_must_not(alert: tuple[str, str]) -> None:
    most = [max(case.firing.values()) for case in CASES if (case.alert, case.severity) == alert]
    assert min(most) == 0 < max(most)


def test_every_case_is_about_a_rule() -> None:
    assert {(case.alert, case.severity) for case in CASES} == set(alerts())
    assert len(set(alerts())) == len(list(alerts()))


def test_every_rule_is_an_alert_with_a_known_severity_and_whole_texts() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
            assert text.endswith("."), text


def test_nothing_that_a_user_does_to_himself_wakes_anybody() -> None:
    by_users = {
        *("BoundtokenFaultsByUsers", "BoundtokenYearLongTokens"),
        *("BoundtokenLegacyTokenInUse", "BoundtokenStaleTokenInUse"),
    }
    assert {alert for alert, severity in alerts() if severity == "info"} == by_users
    assert {severity for alert, severity in alerts() if alert in by_users} == {"info"}


def test_each_rule_has_the_reason_of_its_times_and_limits_above_it() -> None:
    lines = RULES.read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if "- alert:" in line]
    assert len(starts) == len(rules())
    assert [lines[number] for number in starts if "#" not in lines[number - 1]] == []
