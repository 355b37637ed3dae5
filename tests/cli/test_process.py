"""What no command of `boundtoken token` lets out of its process."""

import resource
import subprocess
import sys

import pytest

from webhook.cli import main, process

PR_GET_DUMPABLE = 3
PROGRAM = f"""
import ctypes, resource, sys
from webhook.cli.process import protect
protect(has_children=sys.argv[1] == "True")
print(ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])
"""


@pytest.mark.parametrize("has_children", [False, True])
def test_a_protected_process_leaves_no_core(has_children: bool) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(has_children)],
        capture_output=True,
        text=True,
        check=True,
    )
    dumpable, limit = done.stdout.split()
    assert dumpable == "0"
    assert int(limit) == (soft if has_children else 0)


class Protected(Exception):
    """Before anything else."""


@pytest.mark.parametrize(
    "words",
    [
        "write cart --to /missing/x",
        "run cart -- true",
        "jwks",
        "rbac cart --for user:x",
    ],
)
def test_every_command_protects_its_process_first(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def protect(**_: bool) -> None:
        raise Protected

    monkeypatch.setattr(process, "protect", protect)
    parsed = main.parser().parse_args(["token", *words.split()])
    with pytest.raises(Protected):
        parsed.run(parsed)
