"""The commands where only the packages of the image are installed: they work, or say in one line
what to install.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PLAIN = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(name, *rest):
    missing = name.partition(".")[0] in {"jsonpatch", "jwt", "kubernetes", "ruamel"}
    return None if missing else find(name, *rest)
PathFinder.find_spec = find_spec
from webhook.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
INSTALL = "pip install 'boundtoken[cli]'\n"


def run(*words: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PLAIN, *words],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "check --pre",
        "check workload deployment/cart",
        "explain deployment/cart",
        "explain -f pod.yaml",
        "scan",
        "scan -f .",
        "inject pod.yaml",
        "uninject pod.yaml",
        "diff pod.yaml",
        "version",
    ],
)
def test_what_works_out_admission_needs_jsonpatch(command: str) -> None:
    done = run(*command.split())
    assert (done.returncode, done.stdout, done.stderr) == (
        3,
        "",
        f"boundtoken: the package jsonpatch is needed: {INSTALL}",
    )


@pytest.mark.parametrize(
    "command",
    [
        "certs show",
        "certs init",
        "certs rotate",
        "serve --kubeconfig none",
        "token request cart",
        "token kubeconfig cart",
        "token rbac --check",
        "token jwks",
    ],
)
def test_who_reads_a_kubeconfig_needs_kubernetes(command: str) -> None:
    done = run(*command.split())
    assert done.returncode == 3
    assert done.stderr.endswith(
        f"boundtoken: to read a kubeconfig the package kubernetes is needed: {INSTALL}"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("--version", "boundtoken "),
        ("version --client", "Client Version: "),
        ("version --client -o json", '"clientVersion"'),
        ("help", "annotations"),
        ("config check manifests/35-configmap.yaml", "valid (hash "),
        ("config schema", '"$schema"'),
        ("export policies --validating", "kind: ValidatingAdmissionPolicy"),
        ("completion bash", "complete -F"),
        ("token audit-policy", "kind: Policy"),
    ],
)
def test_the_others_work(command: str, says: str) -> None:
    done = run(*command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout


def test_completion_of_names_is_silent() -> None:
    done = run("__complete", "explain", "deployment/")
    assert (done.returncode, done.stderr) == (0, "")


def test_another_module_that_is_missing_is_a_fault_of_ours() -> None:
    code = PLAIN.replace('"jsonpatch"', '"msgspec"').replace("sys.argv[1:]", "['config', 'schema']")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
