"""Further labels and annotations of the alerts, and their pages, are templates of Prometheus: the
chart refuses those that Prometheus would refuse, with which it loads no alert at all.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.monitoring import build
from tests.support.helm import rendered

pytestmark = [pytest.mark.controlplane, pytest.mark.prometheus, pytest.mark.timeout(600)]
RIGHT = [
    "plain",
    "}} without a beginning",
    "{{ $labels.pod }}: {{ $value | humanize1024 }}",
    '{{- if gt $value 1.5 -}} {{ printf "%.2f }" $value }} {{- else if eq .Value 1e3 }}b{{ else }}c{{ end -}}',
    '{{ with query `up{job="x"}` }}{{ . | first | value | humanizeDuration }}{{ end }}',
    '{{ range $i, $one := query "up" }}{{ $i }}{{ $one.Labels.job }}{{ end }}',
    "{{ $n := len $labels.pod }}{{ $n }} of {{ $externalLabels.cluster }} at {{ $externalURL }}",
    '{{/* nope }} */}}{{ (index $labels "a") | toUpper }}',
    '{{ define "x" }}a{{ end }}{{ template "x" }}',
    "{{ if and (true) (not false) }}'{{ nil | print }}'{{ end }}",
]
WRONG = {
    "}} {{": "must close each {{ with }}",
    "{{ .Foo": "must close each {{ with }}",
    "{{ nope }}": "must not have nope, which is no function of Prometheus",
    "{{ $lables.pod }}": "must not have $lables, which Prometheus does not know",
    "{{ if }}": "must not have {{ if }}, which lacks what it is about",
    "{{ if $value }}x": "must have an end for each if, range, with, define and block",
    "x{{ end }}": "must have an end for each if, range, with, define and block",
    "{{}}": "must not have {{}}, which lacks what it is about",
    "{{ (len $labels.pod }}": "must close each ( with ) in {{ (len $labels.pod }}",
}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return build.promtool()


def takes(promtool: Path, annotations: list[str], folder: Path) -> bool:
    """Whether Prometheus loads alerts with these."""
    rules = [
        {"alert": f"A{number}", "expr": "up", "annotations": {"text": text}}
        for number, text in enumerate(annotations)
    ]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    command = [str(promtool), "check", "rules", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_what_prometheus_takes_is_rendered(promtool: Path, tmp_path: Path) -> None:
    assert takes(promtool, RIGHT, tmp_path)
    given = {f"text{number}": text for number, text in enumerate(RIGHT)}
    page = "https://wiki.example.com/ALERT?of={{$externalURL}}"
    alerts = {"additionalAnnotations": given, "additionalLabels": given, "runbooks": page}
    objects = rendered({"monitoring": {"prometheusRule": {"enabled": True, **alerts}}})
    (spec,) = [item["spec"] for item in objects if item["kind"] == "PrometheusRule"]
    for rule in [rule for group in spec["groups"] for rule in group["rules"]]:
        assert rule["annotations"].items() >= given.items()
        assert rule["labels"].items() >= given.items()


@pytest.mark.parametrize("text", WRONG)
def test_what_prometheus_refuses_is_refused_where_it_stands(
    promtool: Path, tmp_path: Path, text: str
) -> None:
    assert not takes(promtool, [text], tmp_path)
    for where in ("additionalAnnotations", "additionalLabels"):
        rule = {where: {"note": text}}
        fault = f"monitoring.prometheusRule.{where}.note: {WRONG[text]}"
        with pytest.raises(ValueError, match=re.escape(fault)):
            rendered({"monitoring": {"prometheusRule": rule}})


def test_a_page_is_a_template_as_well() -> None:
    rule = {"runbooks": "https://x/ALERT{{"}
    with pytest.raises(ValueError, match=r"monitoring.prometheusRule.runbooks: must close each"):
        rendered({"monitoring": {"prometheusRule": rule}})
