"""A process with a memory limit, as the Deployment gives it one: in a cgroup where one can be made,
else by `ulimit -v`.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.waiting import wait_for

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")
SPARED_ADDRESSES = 1 << 30
"""What a process maps and never touches; only where there is no cgroup."""


def deployment_limit() -> int:
    """Bytes of memory that the Deployment allows."""
    text = (ROOT / "manifests" / "40-deployment.yaml").read_text()
    found = re.search(r"limits: \{memory: (\d+)Mi\}", text)
    assert found is not None
    return int(found[1]) << 20


def image_environment() -> dict[str, str]:
    """What the image sets for the allocator."""
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", (ROOT / "Dockerfile").read_text()))


class Limit:
    """A limit in bytes; `name` tells those of one test run apart, `peak` is what was used at
    most.
    """

    def __init__(self, most: int, name: str = "") -> None:
        self.most = most
        self._name = f"boundtoken-{os.getpid()}{name and '-'}{name}"
        self._group: Path | None = None
        self._peak = ""

    @property
    def is_of_a_cgroup(self) -> bool:
        return self._group is not None

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for root, limit, peak in (
                (V1, "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
                (V2, "memory.max", "memory.peak"),
            ):
                group = root / self._name
                try:
                    group.mkdir()
                    (group / limit).write_text(str(self.most))
                except OSError:
                    with contextlib.suppress(OSError):
                        group.rmdir()
                    continue
                stack.callback(_remove, group)
                self._group, self._peak = group, peak
                break
            yield

    def command(self, command: list[str]) -> list[str]:
        """The command under the limit."""
        if self._group is not None:
            return ["sh", "-c", f'echo $$ > {self._group}/cgroup.procs; exec "$@"', "sh", *command]
        return [
            "sh",
            "-c",
            f'ulimit -v {(self.most + SPARED_ADDRESSES) >> 10}; exec "$@"',
            "sh",
            *command,
        ]

    def peak(self, process: subprocess.Popen[bytes]) -> int:
        """Bytes that were used at most."""
        if self._group is not None:
            return int((self._group / self._peak).read_text())
        status = Path(f"/proc/{process.pid}/status").read_text()
        return (
            int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
            << 10
        )


def _remove(group: Path) -> None:
    """When the last process of those that were killed has left it.

    Raises: TimeoutError, where one has not within 20 s
    """

    def is_gone() -> bool:
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    wait_for(is_gone, 20)
