"""Processes of their own: the command as people run it, and servers."""

import contextlib
import dataclasses
import os
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.waiting import wait_for

EXAMPLES = ROOT / "manifests/examples"


def boundtoken(
    *arguments: str,
    kubeconfig: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str | bytes | None = None,
) -> subprocess.CompletedProcess[str]:
    """The command, as a person runs it; `environ` is added to the variables that there are."""
    changed = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}
    result = subprocess.run(
        [str(BOUNDTOKEN), *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        check=False,
        timeout=240,
        env={**os.environ, **changed, **(environ or {})},
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@dataclasses.dataclass
class Server:
    """A process that serves: its ports, its CA's certificate, and its log."""

    process: subprocess.Popen[bytes]
    port: int
    plain: int
    ca: Path
    log: Path

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def wait_for_log(self, word: str) -> None:
        """Wait until the log has this word.

        Raises: RuntimeError, with the end of the log, where the process has ended before
        """
        wait_for(lambda: word in self.log.read_text() or self._is_over(), 30, 0.001)

    def wait_until_ready(self, path: str = "/readyz") -> None:
        """Wait until this path of the plain port answers 200.

        Raises: RuntimeError, with the end of the log, where the process has ended before
        """
        wait_for(lambda: self._is_ready(path) or self._is_over(), 30, 0.01)

    def _is_ready(self, path: str) -> bool:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self.plain}{path}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bool(answer.status == 200)
        return False

    def _is_over(self) -> bool:
        code = self.process.poll()
        if code is not None:
            raise RuntimeError(f"ended with {code}:\n{self.log.read_text()[-2000:]}")
        return False


@contextlib.contextmanager
def started(
    command: list[str],
    folder: Path,
    *,
    port: int,
    plain: int = 0,
    environ: Mapping[str, str] = os.environ,
    cwd: Path = ROOT,
    output: int | None = None,
) -> Iterator[Server]:
    """A command that runs while the block does, killed at the end; what it writes goes to `output`,
    or to a file of its own in the folder.
    """
    log = folder / f"log-{port}"
    with log.open("wb") as file:
        out = file if output is None else output
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environ, cwd=cwd)
    try:
        yield Server(process, port, plain, folder / "ca.crt", log)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_process(
    folder: Path,
    *flags: str,
    namespaces: Path = EXAMPLES,
    executable: Path = BOUNDTOKEN,
    ports: tuple[int, int] | None = None,
    wrapped: Callable[[list[str]], list[str]] = list,
    environ: Mapping[str, str] = os.environ,
    output: int | None = None,
    ready: bool = True,
) -> Iterator[Server]:
    """`boundtoken serve --standalone` as a process of its own, uvloop, signals and all; ready,
    unless that is not asked for. `wrapped` makes the command that starts it of its own.
    """
    port, plain = ports or (free_port(), free_port())
    command = [
        *(str(executable), "serve", *flags),
        *("--listen", f"127.0.0.1:{port}", "--plain-listen", f"127.0.0.1:{plain}"),
        *("--standalone", str(namespaces), "--ca-out", str(folder / "ca.crt")),
    ]
    with started(
        wrapped(command),
        folder,
        port=port,
        plain=plain,
        environ=environ,
        cwd=folder,
        output=output,
    ) as server:
        if ready:
            server.wait_until_ready()
        yield server
