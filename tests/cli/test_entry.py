"""Ctrl-C while the commands are still imported."""

import signal
import subprocess
import sys
import tomllib

import pytest

from tests.support.paths import ROOT

INTERRUPTED = """import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "webhook.cli.arguments":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from webhook.cli.MODULE import main
sys.argv = ["boundtoken", "help"]
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["entry", "plugin"])
def test_ctrl_c_during_the_imports_ends_without_a_traceback(module: str) -> None:
    words = [sys.executable, "-c", INTERRUPTED.replace("MODULE", module)]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


def test_who_ignores_ctrl_c_goes_on_to() -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    text = f"{ignoring}\n" + INTERRUPTED.replace("MODULE", "entry")
    result = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_ctrl_c_is_raised_again_once_a_command_runs() -> None:
    text = "import signal; from webhook.cli import entry; entry.commands(); print(signal.getsignal(signal.SIGINT))"
    result = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "default_int_handler" in result.stdout


def test_the_script_runs_what_imports_so() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["boundtoken"] == "webhook.cli.entry:main"
