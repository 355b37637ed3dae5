"""`make krew`: what krew needs to install `kubectl boundtoken`, an archive for each platform and
the manifest that names them, in dist/krew.

A Python program cannot be one file here: cryptography, msgspec, aiohttp and uvloop have machine
code, which no zip archive can load. So an archive has the locked wheels, unpacked, and a launcher
that finds a Python on the machine. Wheels of machine code are for one release of Python; the
archive has those for all of PYTHONS.
"""

import argparse
import gzip
import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from webhook import __version__

ROOT = Path(__file__).parents[2]
NAME = "boundtoken"
PYTHONS = ("3.13", "3.12", "3.11")
"""Releases of Python that the archive runs on, the launcher's first choice first."""
NEEDED = ", ".join(sorted(PYTHONS)[:-1]) + f" or {max(PYTHONS)}"
PACKAGES = ROOT / "requirements.lock"
"""The locked packages of every command."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""krew's word for a processor, and that of wheels."""
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""What wheels are built for; Debian 10, RHEL 8 and newer have it."""
LAUNCHER = f"""#!/bin/sh
# Runs boundtoken as a plugin of kubectl, with a Python of this machine.
here=$(dirname "$(readlink -f "$0")")
for python in {" ".join(f"python{version}" for version in PYTHONS)} python3; do
    if "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "{" ".join(PYTHONS)}".split())' 2>/dev/null; then
        exec "$python" -I "$here/start.py" "$0" "$@"
    fi
done
echo "kubectl boundtoken needs Python {NEEDED}" >&2
exit 3
"""
START = """import sys
from pathlib import Path

library = Path(__file__).resolve().parent / "lib"
sys.path[:0] = [str(library / f"cp3{sys.version_info[1]}"), str(library / "any")]
sys.argv = sys.argv[1:]  # what kubectl has started, which a kubeconfig may name

from webhook.cli.plugin import main

sys.exit(main())
"""
DESCRIPTION = """\
Gives pods short-lived, audience-bound service account tokens instead of those
that are valid for a year. The plugin tells what a pod gets and why, requests
and looks at tokens, and writes into manifests what the webhook would decide.
"""
CAVEATS = f"""\
It runs with a Python of this machine: {NEEDED}.
Completion: kubectl boundtoken completion kubectl > ~/bin/kubectl_complete-boundtoken,
in a folder of PATH, and chmod +x.
"""


def manifest(archives: dict[str, str], url: str) -> dict[str, Any]:
    """The plugin for krew: `archives` has the SHA-256 of each, by processor; `url` is where they
    are downloaded.
    """
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{__version__}",
            "homepage": url.partition("/releases/download/")[0],
            "shortDescription": "Short-lived, audience-bound tokens for pods",
            "description": DESCRIPTION,
            "caveats": CAVEATS,
            "platforms": [
                {
                    "selector": {"matchLabels": {"os": "linux", "arch": machine}},
                    "uri": f"{url.rstrip('/')}/{archive_name(machine)}",
                    "sha256": digest,
                    "bin": f"kubectl-{NAME}",
                }
                for machine, digest in archives.items()
            ],
        },
    }


def archive_name(machine: str) -> str:
    """The file of a platform."""
    return f"kubectl-{NAME}_v{__version__}_linux_{machine}.tar.gz"


def archive(machine: str, pythons: Sequence[str], folder: Path) -> Path:
    """Make the archive of a platform."""
    with tempfile.TemporaryDirectory() as place:
        library = Path(place)
        wheels = library / "wheels"
        _pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT))
        for python in pythons:
            _download(machine, python, wheels)
        files = dict(_files(wheels))
    files |= {
        f"kubectl-{NAME}": LAUNCHER.encode(),
        "start.py": START.encode(),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    path = folder / archive_name(machine)
    path.write_bytes(packed(files))
    return path


def _download(machine: str, python: str, wheels: Path) -> None:
    abi = f"cp{python.replace('.', '')}"
    platforms = [f"--platform={glibc}_{MACHINES[machine]}" for glibc in GLIBC]
    _pip(
        *("download", "-q", "--no-deps", "--only-binary=:all:", "--require-hashes"),
        *("-r", str(PACKAGES), f"--python-version={python}", *platforms),
        *("--implementation=cp", f"--abi={abi}", "--abi=abi3", "--abi=none", "-d", str(wheels)),
    )


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)  # noqa: S603


def _files(wheels: Path) -> Iterator[tuple[str, bytes]]:
    """What is in wheels, below the folder of their release of Python, or of all of them."""
    for wheel in sorted(wheels.glob("*.whl")):
        *_, python, abi, _ = wheel.stem.split("-")
        folder = "any" if abi in ("none", "abi3") else python
        with zipfile.ZipFile(wheel) as content:
            for name in content.namelist():
                if not name.endswith("/"):
                    yield f"lib/{folder}/{name}", content.read(name)


def packed(files: dict[str, bytes]) -> bytes:
    """A tar.gz of these files by path, to the byte the same each time."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name == f"kubectl-{NAME}" else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(made.getvalue(), compresslevel=6, mtime=0)


def this_machine() -> str:
    """The word of krew for the processor of this machine."""
    return next(name for name, word in MACHINES.items() if word == platform.machine())


def write(folder: Path, url: str, machines: Sequence[str], pythons: Sequence[str]) -> Path:
    """Make the archives and their manifest; gives the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for machine in machines:
        path = archive(machine, pythons, folder)
        digests[machine] = hashlib.sha256(path.read_bytes()).hexdigest()
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.0f} MB\n")
    found = folder / f"{NAME}.yaml"
    found.write_text(yaml.safe_dump(manifest(digests, url), sort_keys=False))
    return found


def main() -> None:
    """Make both for every platform."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="where the archives will be downloaded")
    parser.add_argument("--out", type=Path, default=ROOT / "dist/krew")
    parsed = parser.parse_args()
    sys.stdout.write(f"{write(parsed.out, parsed.url, tuple(MACHINES), PYTHONS)}\n")


if __name__ == "__main__":
    main()
