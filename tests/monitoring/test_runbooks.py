"""Every alert has its page and every page its alert; a page begins with the command to run."""

import json
import re
import shlex

import pytest

from tests.support.paths import ROOT
from tests.support.prometheus import rules
from webhook.cli.main import parser

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(path.stem for path in RUNBOOKS.iterdir())
PUBLISHED = "https://boundtoken.dev/docs/runbooks"
DEFAULT = "boundtoken-system"
ELSEWHERE = f"If boundtoken is not in `{DEFAULT}`, put "
BY_LABEL = f"{ELSEWHERE}the alert's label `namespace` in its place."
WITHOUT_LABEL = f"{ELSEWHERE}its namespace in its place: this alert has no label `namespace`."
OF_API_SERVER = re.compile(r"\b(?:apiserver|serviceaccount)_\w+")
VALUES = {
    "optional/control-plane-only": "networkPolicy.controlPlane",
    "--log-level": "options.logLevel",
    "--self-probe-interval": "options.selfProbeInterval",
}
"""What the manifests and the program have, and the value of the chart that means the same."""


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    urls = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules()}
    assert urls == {page: f"{PUBLISHED}/{page}.md" for page in PAGES}


def test_all_rules_of_an_alert_have_one_page() -> None:
    for rule in rules():
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_the_command_and_tells_what_to_do(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    begins = re.match(
        rf"# {page}\n\n(?:{ELSEWHERE}.+\n\n)?<!-- .+ -->\n```\n(.+)\n```\n\n\*\*It prints\*\* ",
        text,
    )
    assert begins is not None
    words = shlex.split(begins[1])
    assert words[0] in ("boundtoken", "kubectl", "grep")
    if words[0] == "boundtoken":
        parser().parse_args(words[1:])
    heads = re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)
    assert heads[:4] == ["It prints", "It means", "Fix:", "Resolved when"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_the_default_namespace_says_first_how_to_read_it(page: str) -> None:
    """The chart promises any namespace: what is typed at night has that of the alert."""
    text = (RUNBOOKS / f"{page}.md").read_text()
    exprs = [rule["expr"] for rule in rules() if rule["alert"] == page]
    has_label = not any(re.search(r"\babsent\(", expr) for expr in exprs)
    note = BY_LABEL if has_label else WITHOUT_LABEL
    assert (DEFAULT in text) == text.startswith(f"# {page}\n\n{note}\n\n")
    if DEFAULT in text and has_label:
        for grouped in re.findall(r"\b(?:by|without) \(([^)]*)\)", " ".join(exprs)):
            assert "namespace" in grouped.split(", ")
        assert not any(OF_API_SERVER.search(expr) for expr in exprs)


@pytest.mark.parametrize("page", PAGES)
def test_what_only_kustomize_has_is_named_with_the_value_of_the_chart(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    for of_kustomize, value in VALUES.items():
        assert (of_kustomize in text) <= (f"`{value}" in text), of_kustomize


def test_the_values_of_the_chart_that_pages_name_exist() -> None:
    schema = json.loads((ROOT / "manifests/chart/values.schema.json").read_text())
    named = set()
    for page in PAGES:
        text = (RUNBOOKS / f"{page}.md").read_text()
        named |= set(
            re.findall(r"`((?:monitoring|networkPolicy|options|certificates)(?:\.\w+)+)", text)
        )
    assert named >= {"networkPolicy.controlPlane", "monitoring.prometheusRule.disabled"}
    for value in named:
        part = schema
        for name in value.split("."):
            part = part["properties"][name]


@pytest.mark.parametrize("page", PAGES)
def test_logs_are_those_of_every_replica(page: str) -> None:
    """`kubectl logs deployment/NAME` chooses one pod, a selector has ten lines of each, and ends at
    the first that has no log, such as one that has not started.
    """
    text = (RUNBOOKS / f"{page}.md").read_text()
    for command in re.findall(r"kubectl logs [^`|\n]+", text):
        assert " -l app.kubernetes.io/name=boundtoken --prefix --ignore-errors --tail=-1" in command


@pytest.mark.parametrize("page", PAGES)
def test_what_is_applied_again_is_said_for_both_ways_of_installing(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    assert ("kubectl apply -k" in text) == ("helm upgrade" in text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_which_other_scrape_its_alert_needs_and_what_if_there_is_none(
    page: str,
) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    exprs = [rule["expr"] for rule in rules() if rule["alert"] == page]
    needs = any(OF_API_SERVER.search(expr) for expr in exprs)
    assert ("**Requires** the API server's metrics" in text) == needs
    assert ("Without it this alert never fires" in text) == needs


def test_the_reference_lists_every_alert_with_its_severities() -> None:
    page = (ROOT / "docs/reference.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\(runbooks/(\w+)\.md\) \| ([a-z, ]+) \|", page, re.MULTILINE)
    severities: dict[str, list[str]] = {}
    for rule in rules():
        severities.setdefault(rule["alert"], []).append(rule["labels"]["severity"])
    assert {name: listed.split(", ") for name, _, listed in rows} == severities
    assert [name for name, link, _ in rows] == [link for _, link, _ in rows]
