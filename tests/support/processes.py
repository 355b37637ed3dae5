"""Processes of their own: the command as people run it, and servers."""

import os
import socket
import subprocess
from pathlib import Path

from tests.support.paths import BOUNDTOKEN, ROOT


def boundtoken(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command, as a person runs it."""
    environ = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    return subprocess.run(
        [str(BOUNDTOKEN), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ,
    )


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class process:  # noqa: N801  (reads as a verb: with process(...))
    """`boundtoken serve --standalone` as a process of its own: uvloop, signals and all."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder, self.flags = folder, flags

    def __enter__(self) -> tuple[subprocess.Popen[str], int, int]:
        port, plain = free_port(), free_port()
        command = [
            str(BOUNDTOKEN),
            "serve",
            "--listen",
            f"127.0.0.1:{port}",
            "--plain-listen",
            f"127.0.0.1:{plain}",
            *self.flags,
        ]
        command += [
            "--standalone",
            str(ROOT / "manifests/examples"),
            "--ca-out",
            str(self.folder / "ca.crt"),
        ]
        self.started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.started.stderr is not None
        for line in self.started.stderr:
            if '"serving"' in line:
                break
        return self.started, port, plain

    def __exit__(self, *_: object) -> None:
        self.started.kill()
        self.started.wait()
        assert self.started.stderr is not None
        self.started.stderr.close()
