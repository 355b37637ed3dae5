"""Helm of the tests: built once for each version of go.mod and go.sum beside this, kept in
`~/.cache/boundtoken` (or XDG_CACHE_HOME), like the control plane.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests.controlplane.build import FLAGS, cached, environ, go

HERE = Path(__file__).parent
SOURCES = ("go.mod", "go.sum")
PACKAGE = "helm.sh/helm/v4/cmd/helm"


def binary() -> Path:
    """The path of helm, which is built first where it is not there.

    Raises: RuntimeError, with the last lines of the compiler, where it cannot be built
    """
    return cached("helm", b"".join((HERE / name).read_bytes() for name in SOURCES), _build)


def _build(path: Path) -> None:
    print("building Helm for the tests (about 4 minutes on 2 cores, once)", file=sys.stderr)
    start = time.monotonic()
    command = [go(), "build", *FLAGS, "-ldflags", "-s -w", "-o", str(path), PACKAGE]
    done = subprocess.run(
        command, cwd=HERE, env=environ(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-30:]
        raise RuntimeError("\n".join(["Go cannot build Helm:", *lines]))
    print(f"built in {time.monotonic() - start:.0f} s: {path}", file=sys.stderr)


if __name__ == "__main__":
    try:
        print(binary())
    except (RuntimeError, OSError) as problem:
        sys.exit(str(problem))
