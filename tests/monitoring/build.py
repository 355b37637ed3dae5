"""Prometheus and promtool, for the tests of manifests/monitoring: both of one build of their Go
module, once for each version of its go.mod, kept in `~/.cache/boundtoken` (or XDG_CACHE_HOME). And
the definitions of the Prometheus operator's kinds, from its module.

The first build takes minutes, so it says what it is doing.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.controlplane.build import FLAGS, cached, environ, go

HERE = Path(__file__).parent
SOURCES = ("go.mod", "go.sum")
TAGS = "remove_all_sd"
"""Without the service discoveries of clouds, which would be two thirds of the binary. Static ones
stay, which is all that the tests need. The page for browsers is not built in either way."""
PACKAGE = "github.com/prometheus/prometheus/cmd"


def prometheus() -> Path:
    """The server, which is built first where it is not there.

    Raises: RuntimeError, with the last lines of the compiler, where it cannot be built
    """
    return _folder() / "prometheus"


def promtool() -> Path:
    """The tool that checks and tests rules, of the same build.

    Raises: RuntimeError, as `prometheus`
    """
    return _folder() / "promtool"


OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
DEFINITIONS = "example/prometheus-operator-crd"
KINDS = ("podmonitors", "prometheusrules", "servicemonitors")


def definitions() -> Path:
    """The folder with the CustomResourceDefinitions of the kinds that manifests/monitoring uses,
    which are fetched first where they are not there, in seconds.

    Raises: RuntimeError, where they cannot be fetched
    """

    def fetch(path: Path) -> None:
        told = json.loads(_run(go(), "mod", "download", "-json", OPERATOR))
        path.mkdir(exist_ok=True)
        for kind in KINDS:
            name = f"monitoring.coreos.com_{kind}.yaml"
            shutil.copyfile(Path(told["Dir"]) / DEFINITIONS / name, path / name)

    return cached("prometheus-operator", "\0".join([OPERATOR, *KINDS]).encode(), fetch)


def _folder() -> Path:
    sources = b"".join((HERE / name).read_bytes() for name in SOURCES)
    return cached("monitoring", sources + TAGS.encode(), _build)


def _build(path: Path) -> None:
    print(
        "building prometheus and promtool for the tests (about 4 minutes on 2 cores, once)",
        file=sys.stderr,
        flush=True,
    )
    start = time.monotonic()
    path.mkdir(exist_ok=True)
    packages = [f"{PACKAGE}/{name}" for name in ("prometheus", "promtool")]
    _run(go(), "build", *FLAGS, "-tags", TAGS, "-ldflags", "-s -w", "-o", str(path), *packages)
    seconds = time.monotonic() - start
    print(f"built in {seconds:.0f} s: {path}", file=sys.stderr, flush=True)


def _run(*command: str) -> str:
    result = subprocess.run(
        command, cwd=HERE, env=environ(), capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = (result.stdout + result.stderr).splitlines()[-30:]
        raise RuntimeError("\n".join([f"{' '.join(command[:3])} fails:", *lines]))
    return result.stdout


if __name__ == "__main__":
    print(prometheus(), promtool(), definitions())
