"""Every block of code on a page is run by a test, or says why not."""

import ast
import re
from typing import Any

import pytest

from tests.support.fences import OTHERS, Fence, fences, run_by
from tests.support.paths import ROOT
from webhook import cluster_config
from webhook.checks import before, workload
from webhook.checks.installation import checks
from webhook.checks.model import Check
from webhook.core.decision import REASONS
from webhook.core.policy import ClusterPolicy

CHECKS: list[Check[Any]] = [*checks(with_token=True), *before.checks(), *workload.checks()]
FENCES = list(fences())
MARKED = [fence for fence in FENCES if fence.language != "text"]
HERE = "tests/repo/test_fences.py"
TROUBLESHOOT = (ROOT / "docs/troubleshoot.md").read_text()


def test_a_fence_is_found_wherever_it_stands() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    count = sum(
        len(re.findall(r"^```", path.read_text(), re.MULTILINE))
        for path in pages
        if str(path.relative_to(ROOT)) not in OTHERS
    )
    assert count == 2 * len(FENCES) > 60


@pytest.mark.parametrize("fence", MARKED, ids=lambda fence: fence.title)
def test_a_block_names_the_test_that_runs_it_or_says_why_none_does(fence: Fence) -> None:
    test = re.fullmatch(r"run by (tests/[\w/]+\.py)::(\w+)", fence.mark)
    reason = re.fullmatch(r"not run: (.{20,})", fence.mark)
    assert test or reason, fence
    if test:
        text = (ROOT / test[1]).read_text()
        functions = {
            node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)
        }
        assert test[2] in functions
        # It reads the page, or all blocks that name it.
        assert fence.page in text or "run_by(" in text
    else:
        assert reason is not None
        for named in re.findall(r"tests/[\w/]+(?:\.py)?", reason[1]):
            assert (ROOT / named).exists(), named


@pytest.mark.parametrize(
    "fence",
    run_by(f"{HERE}::test_a_configuration_on_a_page_is_one"),
    ids=lambda fence: fence.title,
)
def test_a_configuration_on_a_page_is_one(fence: Fence) -> None:
    head = f"apiVersion: {cluster_config.API_VERSION}\nkind: {cluster_config.KIND}\n"
    text = fence.text if fence.text.startswith("apiVersion") else head + fence.text
    assert cluster_config.parse(text).policy != ClusterPolicy()


def test_lines_of_check_on_a_page_are_sentences_of_checks() -> None:
    shown = [
        line[2:]
        for fence in FENCES
        for line in fence.text.splitlines()
        if line.startswith(("\N{MULTIPLICATION SIGN} ", "\N{DOUBLE EXCLAMATION MARK} "))
    ]
    assert len(shown) > 10
    assert [line for line in shown if line not in {check.sentence for check in CHECKS}] == []


def test_troubleshooting_has_what_to_do_for_every_reason() -> None:
    _, _, section = TROUBLESHOOT.partition("\n## By reason\n")
    assert tuple(re.findall(r"^### ([a-z-]+)\n\n\S", section, re.MULTILINE)) == REASONS


def test_troubleshooting_links_every_complaint_about_a_workload() -> None:
    complaints = {check.id for check in CHECKS if check.id.startswith("workload-")}
    linked = set(re.findall(r"checks\.md#([a-z-]+)", TROUBLESHOOT))
    assert "workload-token" in complaints
    assert complaints - linked == set()
