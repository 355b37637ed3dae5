"""The chart: what is made of it is up to date, and its values are those of the program."""

import re
from typing import Any

import pytest
import yaml

from tests.chart import made, values
from tests.chart.schema import schema
from tests.chart.values import SET_OTHERWISE, camel_case
from tests.support.paths import ROOT
from webhook import __version__, cluster_config, options
from webhook.core.policy import ClusterPolicy

FOLDER = ROOT / "manifests/chart"
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text())


@pytest.mark.parametrize("name", made.files())
def test_what_is_made_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == made.files()[name], "make chart writes it anew"


def test_every_manifest_is_in_the_chart() -> None:
    """But for the Namespace: Helm keeps the release in it, so that it is there before."""
    numbered = {path.name for path in (ROOT / "manifests").glob("[0-9]*.yaml")}
    there = {path.name for path in (FOLDER / "templates").glob("[0-9]*.yaml")}
    assert numbered - there == {"10-namespace.yaml"}
    assert there <= numbered


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((FOLDER / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_every_key_of_the_configuration_is_a_value_with_its_default() -> None:
    there = VALUES["config"]
    assert {key: set(part) if isinstance(part, dict) else None for key, part in there.items()} == {
        key: set(field) if isinstance(field, dict) else None
        for key, field in cluster_config.FIELDS.items()
    }
    head = {"apiVersion": cluster_config.API_VERSION, "kind": cluster_config.KIND}
    assert cluster_config.parse(yaml.safe_dump({**head, **there})).policy == ClusterPolicy()


def test_every_flag_is_an_option_or_set_by_another_value() -> None:
    flags = {option.name for option in options.OPTIONS}
    assert flags >= SET_OTHERWISE
    helpers = (FOLDER / "templates/_helpers.tpl").read_text()
    (refused,) = re.findall(r"range \.extraArgs.+?\(list ([^)]+)\)", helpers, re.DOTALL)
    outside = {"context", "kubeconfig", "webhook-configurations"}
    assert set(refused.split()) == {f'"--{flag}"' for flag in flags - outside}
    known = set(schema()["properties"]["options"]["properties"])
    assert known == {camel_case(flag) for flag in flags - SET_OTHERWISE}


def test_every_value_has_a_comment() -> None:
    told = {value.path for value in values.values((FOLDER / "values.yaml").read_text())}

    def untold(part: dict[str, Any], path: str = "") -> list[str]:
        """Paths that neither have a comment nor are in what has one."""
        found = []
        for key, value in part.items():
            here = f"{path}{key}"
            if here not in told:
                found += untold(value, f"{here}.") if isinstance(value, dict) else [here]
        return found

    assert untold(VALUES) == []


def test_the_chart_holds_nothing_that_the_replicas_keep_and_looks_nothing_up() -> None:
    text = "".join(path.read_text() for path in sorted((FOLDER / "templates").rglob("*.*")))
    assert not re.search(r"^\s*caBundle:", text, re.MULTILINE)
    assert not re.search(r"\blookup\b", text)
    assert re.findall(r"helm\.sh/hook: (.+)", text) == ["test"]
