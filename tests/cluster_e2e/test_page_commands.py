"""Commands of README.md and docs/ as they stand there, typed in bash on the real control plane, in
a folder that has the files that they name.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.controlplane import build
from tests.support.builders import a_deployment
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.fences import Fence, fences, run_by
from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.waiting import wait_for

HERE = "tests/cluster_e2e/test_page_commands.py"
START = f"{HERE}::test_start_goes_from_annotating_to_enforcing"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
FAILING = ("--warnings-as-errors", "| grep ")
"""Parts of lines that end with 1 where they find something, or nothing."""
OF_WARNINGS = re.compile(r"^error: \d+ warnings? received$", re.MULTILINE)
"""Of --warnings-as-errors, where another test's namespace is warned of."""
GONE = "Error from server (NotFound): namespaces"
"""What a command about all namespaces says of one that another test's end takes away meanwhile."""
CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
ANNOTATED = {"boundtoken.dev/inject": "replace", "boundtoken.dev/automount": "disabled"}


JQ = f"""#!{sys.executable}
import json, sys, jq
*flags, program = sys.argv[1:]
for one in jq.compile(program).input_text(sys.stdin.read()):
    print(one if "-r" in flags else json.dumps(one))
"""


class Shell:
    """bash in a folder, with kubectl and boundtoken in its PATH."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.folder = folder
        kubectl = folder / "bin/kubectl"
        kubectl.parent.mkdir()
        kubectl.write_text(f'#!/bin/sh\nexec {build.binary()} kubectl "$@"\n')
        kubectl.chmod(0o755)
        if not shutil.which("jq"):
            jq = kubectl.with_name("jq")
            jq.write_text(JQ)
            jq.chmod(0o755)
        self.environ = {
            **os.environ,
            "PATH": f"{kubectl.parent}:{BOUNDTOKEN.parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(cluster.plane.kubeconfig()),
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def year() -> str:
    """The function of docs/enforce.md that other pages use."""
    lines = (ROOT / "docs/enforce.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("year() "))
    return line + "\n"


@pytest.fixture(scope="module")
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """With the namespace `shop`, its Deployment `cart` and their files."""
    folder = tmp_path_factory.mktemp("pages")
    cluster = Cluster(request.getfixturevalue("plane"), request.getfixturevalue("kubelet"))
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": ANNOTATED},
    }
    deployment = a_deployment({})
    deployment["metadata"] |= {"name": "cart", "namespace": "shop"}
    cluster.plane.call("POST", NAMESPACES, namespace)
    wait_for(lambda: cluster.plane.call("GET", f"{NAMESPACES}/shop/serviceaccounts")["items"])
    cluster.plane.call("POST", "/apis/apps/v1/namespaces/shop/deployments", deployment)
    wait_for(lambda: cluster.plane.call("GET", f"{NAMESPACES}/shop/pods")["items"])
    for name, manifest in (
        ("shop.yaml", namespace),
        ("namespace.yaml", namespace),
        ("cart.yaml", deployment),
        ("deployment.yaml", deployment),
    ):
        (folder / name).write_text(yaml.safe_dump(json.loads(json.dumps(manifest))))
    (folder / "manifests").mkdir()
    shutil.copy(folder / "cart.yaml", folder / "manifests")
    (folder / "config.yaml").write_text(CONFIGURATION + "locks: {maxExpirationSeconds: 7200}\n")
    return Shell(cluster, folder)


BLOCKS = {fence.text: fence for fence in run_by(f"{HERE}::test_a_block_runs")}
"""Each text once, on however many pages it stands."""


@pytest.mark.parametrize("fence", BLOCKS.values(), ids=lambda fence: fence.title)
def test_a_block_runs(shell: Shell, fence: Fence) -> None:
    """Each line ends with 0, or with 1 where it has found something that is wrong."""
    lines = [line for line in fence.text.splitlines() if not line.startswith("#")]
    script = "".join(f'{line}\necho "ended $?" >&2\n' for line in lines)
    for _ in range(5):
        result = shell.run(year() + script)
        if GONE not in result.stderr:
            break
    codes = [
        int(line.split()[1]) for line in result.stderr.splitlines() if line.startswith("ended ")
    ]
    assert len(codes) == len(lines), result.stderr
    for line, code in zip(lines, codes, strict=True):
        finds = line.startswith("boundtoken ") or any(part in line for part in FAILING)
        assert code in ((0, 1) if finds else (0,)), (line, result.stdout, result.stderr)
    errors = OF_WARNINGS.sub("", result.stderr)
    for word in ("usage:", "error: ", "command not found", "Traceback"):
        assert word not in errors, errors


@pytest.fixture
def shopping(shell: Shell) -> Iterator[Shell]:
    """Without the namespace, as a reader of docs/start.md begins."""
    shell.run("kubectl delete namespace shop --ignore-not-found --timeout=60s")
    yield shell
    shell.run("kubectl delete namespace shop --ignore-not-found --wait=false")


def pattern(shown: str) -> str:
    """What a block of `text` stands for: a line that is `…` for any lines, elsewhere `…` for
    anything in a line, numbers for any numbers, blanks for as many as a table needs.
    """
    lines = []
    for line in shown.splitlines():
        if line == ELLIPSIS:
            lines.append(r"(?:.*\n)*?")
            continue
        text = re.escape(line).replace(ELLIPSIS, ".*")
        text = re.sub(r"\d+", r"\\d+", text)
        lines.append(re.sub(r"(?<=\S)(?:\\ )+", r" +", text) + r"\n")
    return "".join(lines)


def test_start_goes_from_annotating_to_enforcing(shopping: Shell) -> None:
    """Each block of commands prints what the block of text below it shows."""
    page = [fence for fence in fences() if fence.page == "docs/start.md"]
    commands, texts = page[::2], page[1::2]
    assert {fence.mark for fence in commands} == {f"run by {START}"}
    assert {fence.language for fence in texts} == {"text"}
    assert len(commands) == len(texts) > 6
    for command, text in zip(commands, texts, strict=True):
        if "kubectl run another" in command.text:
            # The API server's policies see a namespace's annotation a moment later.
            dry_run = command.text.strip() + " --dry-run=server"
            wait_for(lambda script=dry_run: shopping.run(script).returncode, 15)
        printed = shopping.run(f"exec 2>&1\n{command.text}").stdout
        if not printed.endswith("\n"):
            printed += "\n"
        assert re.fullmatch(pattern(text.text), printed), (command.text, printed)
        if "create namespace" in command.text:
            shopping.run("kubectl wait --for=create serviceaccount/default -n shop --timeout=20s")
        if "create deployment" in command.text:
            wait_for(lambda: "cart-" in shopping.run("kubectl get pods -n shop").stdout)
    assert "another" not in shopping.run("kubectl get pods -n shop").stdout
