"""Real shells in which a command line is completed, as a person does by pressing Tab.

A machine may have bash only. zsh and fish are then unpacked from the packages of its distribution
into `~/.cache/boundtoken`, once, without being installed.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.controlplane.build import cached
from tests.support.paths import BOUNDTOKEN

PACKAGES = {"zsh": ("zsh", "zsh-common"), "fish": ("fish", "fish-common", "libpcre2-32-0")}
SECONDS = 30.0
"""For a line: a start of the shell, and an answer of at most two seconds."""
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>]|\][^\x07]*\x07)|[\x07\r]|.\x08")


def shell(name: str) -> tuple[Path, dict[str, str]]:
    """The program, and the variables that it needs.

    Raises: RuntimeError, where there is none and it cannot be unpacked
    """
    if found := shutil.which(name):
        return Path(found), {}
    release = Path("/etc/os-release").read_bytes()
    key = release + " ".join(PACKAGES[name]).encode()
    with Path(tempfile.gettempdir(), f"boundtoken-shells-{os.getuid()}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may come first
        root = cached(name, key, lambda path: _unpack(name, path))
    libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu*"))
    return root / "usr/bin" / name, {"LD_LIBRARY_PATH": libraries, "SHELL_ROOT": str(root)}


def _unpack(name: str, path: Path) -> None:
    path.mkdir()
    download = ["apt-get", "download", *PACKAGES[name]]
    # A fresh container has no lists of packages yet.
    if problem := _problem(download, path):
        _problem(["apt-get", "update"], path)
        problem = _problem(download, path)
    if problem:
        shutil.rmtree(path)
        raise RuntimeError(f"{name} is not there, install it: {problem}")
    for archive in path.glob("*.deb"):
        assert not _problem(["dpkg", "-x", archive.name, "."], path)
        archive.unlink()
    if not (path / "usr/bin" / name).exists():  # a distribution whose /bin is not /usr/bin
        (path / "usr/bin").mkdir(exist_ok=True)
        (path / "usr/bin" / name).symlink_to(Path("../../bin") / name)
    (path / "usr/etc").symlink_to("../etc")  # where a fish that was moved looks for its files


def _problem(command: list[str], folder: Path) -> str:
    """What a command that failed has told."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as problem:
        return str(problem)
    return done.stderr.strip()[-500:] or f"exit code {done.returncode}" if done.returncode else ""


BASH = r"""
PS1='> '
bind 'set show-all-if-ambiguous on'
bind 'set page-completions off'
bind 'set completion-query-items 0'
bind 'set enable-bracketed-paste off'
source <(boundtoken completion bash)
"""
ZSH = r"""
if [[ -n $SHELL_ROOT ]]; then
    module_path=($SHELL_ROOT/usr/lib/*/zsh/*(/))
    fpath=($SHELL_ROOT/usr/share/zsh/functions/**/*(/))
fi
PROMPT='> ' LISTMAX=10000
bindkey -e
unsetopt prompt_sp
autoload -U compinit
compinit -u -D
source <(boundtoken completion zsh)
"""
SHOWN = r"""
shown() { printf 'WORD<%s>\n' "$@"; echo THE-END; }
"""


def completed(
    name: str, line: str, folder: Path, environ: Mapping[str, str]
) -> tuple[list[str], str]:
    """The words of a line behind which Tab was pressed, and what the shell has listed meanwhile."""
    program, needed = shell(name)
    (folder / ".zshrc").write_text(ZSH + SHOWN)
    (folder / "bashrc").write_text(BASH + SHOWN)
    (folder / "config.fish").write_text("boundtoken completion fish | source\n")
    own = {"PATH": f"{BOUNDTOKEN.parent}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb"}
    variables = {**own, "ZDOTDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **needed, **environ}
    if name == "fish":  # which tells it without a terminal
        code = 'source config.fish; complete -C "$argv[1]"'
        command = [str(program), "--no-config", "-c", code, line]
        result = subprocess.run(
            command,
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert result.stderr == "", result.stderr
        return [row.partition("\t")[0] for row in result.stdout.splitlines()], result.stdout
    flags = (
        ["--noprofile", "--rcfile", str(folder / "bashrc"), "-i"]
        if name == "bash"
        else ["-d", "-i"]
    )
    with _terminal([str(program), *flags], folder, variables) as terminal:
        os.write(terminal, f"{line}\t\x01shown \n".encode())
        text = _until(terminal, "THE-END")
    listed, _, words = text.partition("WORD<")
    return re.findall("<(.*)>", "<" + words), listed


@contextmanager
def _terminal(command: list[str], folder: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """A process on a terminal of 200 columns; gives what a person types and sees."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, dict(environ))
    termios.tcsetwinsize(terminal, (50, 200))
    try:
        yield terminal
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _until(terminal: int, word: str) -> str:
    """What is shown until this word is. Raises: TimeoutError, with what was shown"""
    deadline, shown = time.monotonic() + SECONDS, b""
    while word.encode() not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(shown.decode(errors="replace"))
        shown += os.read(terminal, 1 << 16)
    return _ESCAPES.sub("", shown.decode(errors="replace"))
