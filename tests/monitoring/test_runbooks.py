"""Every alert has its page and every page its alert; a page begins with the command to run."""

import re
import shlex

import pytest

from tests.support.paths import ROOT
from tests.support.prometheus import rules
from webhook.cli.main import parser

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(path.stem for path in RUNBOOKS.iterdir())
PUBLISHED = "https://boundtoken.dev/docs/runbooks"
OF_API_SERVER = re.compile(r"\b(?:apiserver|serviceaccount)_\w+")


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    urls = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules()}
    assert urls == {page: f"{PUBLISHED}/{page}.md" for page in PAGES}


def test_all_rules_of_an_alert_have_one_page() -> None:
    for rule in rules():
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_the_command_and_tells_what_to_do(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text()
    begins = re.match(rf"# {page}\n\n<!-- .+ -->\n```\n(.+)\n```\n\n\*\*It prints\*\* ", text)
    assert begins is not None
    words = shlex.split(begins[1])
    assert words[0] in ("boundtoken", "kubectl", "grep")
    if words[0] == "boundtoken":
        parser().parse_args(words[1:])
    heads = re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)
    assert heads[:4] == ["It prints", "It means", "To mend it", "It is over when"]


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
    assert ("**It needs** the API server's metrics" in text) == needs
    assert ("Without it this alert never fires" in text) == needs


def test_the_reference_lists_every_alert_with_its_severities() -> None:
    page = (ROOT / "docs/reference.md").read_text()
    rows = re.findall(r"^\| \[`(\w+)`\]\(runbooks/(\w+)\.md\) \| ([a-z, ]+) \|", page, re.MULTILINE)
    severities: dict[str, list[str]] = {}
    for rule in rules():
        severities.setdefault(rule["alert"], []).append(rule["labels"]["severity"])
    assert {name: listed.split(", ") for name, _, listed in rows} == severities
    assert [name for name, link, _ in rows] == [link for _, link, _ in rows]
