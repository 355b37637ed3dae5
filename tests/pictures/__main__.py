"""`make pictures`: runs commands on a terminal of 80 columns, and writes what they show as SVG into
docs/pictures.

    python -m tests.pictures                        those of PICTURES, and flow.svg
    python -m tests.pictures NAME COMMAND WORD…     one of another command, such as of a cluster
"""

import os
import pty
import shlex
import sys
import termios
from pathlib import Path

from tests.pictures.flow import flow
from tests.pictures.svg import COLUMNS, picture
from tests.support.paths import BOUNDTOKEN, ROOT

FOLDER = ROOT / "docs/pictures"
EXAMPLES = "manifests/examples"
PICTURES = {
    "explain": f"boundtoken explain -f {EXAMPLES}/deployment.yaml --namespace-file {EXAMPLES}/namespace.yaml"
}
"""Commands that show the same everywhere, by the name of their picture."""
MAX_SHOWN = 1 << 20


def shown(command: str, lines: int = 50) -> str:
    """What a command shows on a terminal of so many lines, colours and all; it runs in the folder
    of the project.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        path = f"{BOUNDTOKEN.parent}:{os.environ['PATH']}"
        environ = {**os.environ, "PATH": path, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        environ.pop("NO_COLOR", None)
        os.chdir(ROOT)
        # It waits until the terminal has its size.
        os.execve("/bin/sh", ["sh", "-c", f"read go; stty echo; exec {command}"], environ)
    attributes = termios.tcgetattr(terminal)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    termios.tcsetwinsize(terminal, (lines, COLUMNS))
    os.write(terminal, b"\n")
    chunks = []
    while chunk := _read(terminal):
        chunks.append(chunk)
        if sum(map(len, chunks)) > MAX_SHOWN:
            raise ValueError(f"{command}: shows more than {MAX_SHOWN} bytes")
    os.waitpid(pid, 0)
    os.close(terminal)
    return b"".join(chunks).decode(errors="replace")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux: the other end is closed
        return b""


def write(name: str, command: str, folder: Path = FOLDER) -> Path:
    """Write one picture; gives its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.svg"
    path.write_text(picture(command, shown(command)))
    return path


def main(words: list[str]) -> None:
    """Write the picture of a name and a command, or all of PICTURES."""
    chosen = {words[0]: shlex.join(words[1:])} if words[1:] else PICTURES
    if not words:
        (FOLDER / "flow.svg").write_text(flow())
    for name, command in chosen.items():
        path = write(name, command)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
