"""A writer of a folder that is killed after each of its calls to the system.

    python -m tests.support.killing FOLDER first|again     prints how many calls there were

A process of its own, because it forks for each of them: that takes milliseconds.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.support.folders import entries
from webhook.tokens.folder import volume
from webhook.tokens.folder.volume import DATA, FILES, NEXT_DATA, TokenFolder

MAX_STEPS = 1000


class Deadly:
    """The module `os` as a writer sees it; the call with the number `deadly` is the last one."""

    def __init__(self, deadly: int) -> None:
        self._deadly = deadly
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            result = found(*arguments, **named)
            self._steps += 1
            if self._steps == self._deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def files(version: str) -> dict[str, bytes]:
    return {name: version.encode() * 5000 for name in FILES}


def write(folder: Path, deadly: int) -> None:
    """Two changes, until the deadly step."""
    vars(volume)["os"] = Deadly(deadly)
    with TokenFolder(folder) as writer:
        for version in "bc":
            writer.write(files(version))
            writer.tidy()


def killed(folder: Path, deadly: int) -> bool:
    """Whether a process that writes came as far as this step."""
    if (pid := os.fork()) == 0:
        write(folder, deadly)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def check(folder: Path, *, may_be_empty: bool) -> None:
    """What a reader finds now is whole; what the next writer finds is cleaned up."""
    readable = [name for name in FILES if (folder / name).exists()]
    if readable or not may_be_empty:
        found = {name: (folder / name).read_bytes() for name in FILES}
        assert found in [files(version) for version in "abc"]
        assert entries(folder / DATA) == sorted(FILES)
    with TokenFolder(folder) as writer:
        versions = [name for name in entries(folder) if name.startswith("..2")]
        assert len(versions) == bool(readable), versions
        assert not os.path.lexists(folder / NEXT_DATA)
        writer.write(files("a"))
        assert (folder / "token").read_bytes() == files("a")["token"]


def main(folder: Path, *, first: bool) -> int:
    if not first:
        with TokenFolder(folder) as writer:
            writer.write(files("a"))
    for step in range(1, MAX_STEPS):
        if first:
            shutil.rmtree(folder, ignore_errors=True)
        was_killed = killed(folder, step)
        check(folder, may_be_empty=first)
        if not was_killed:
            return step - 1
    raise AssertionError


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), first=sys.argv[2] == "first"))
