"""The layer of the image that is ours: /opt/boundtoken, to the byte the same from the same sources.

The Dockerfile runs this file alone, so it needs Python with pip and nothing else. The wheels are
those of requirements-image.lock, verified by their hashes and unpacked: no wheel of it has scripts
or data, and one that had would be refused. Owner, modes, times and order are fixed, bytecode is
valid by what it was compiled of. Python decides the bytecode: another release, also a patch
release, gives another digest.
"""

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = "opt/boundtoken"
"""Below the root of the image: lib has the packages, bin the command."""
IMAGE_PYTHON = (3, 13)
"""Of the Dockerfile's two stages."""
IMAGE_RELEASE = "3.13.15"
"""Of the first one, which compiles."""
EPOCH = 315532800
"""The time of every file: 1980-01-01, the first day of a zip archive. SOURCE_DATE_EPOCH does not
change it, since the step of the Dockerfile does not see it."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""The word of images for a processor, and that of wheels."""
CHECKSUM, DEVICE = slice(148, 156), slice(329, 345)
"""Fields of a header of tar (POSIX.1-1988, ustar)."""
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
"""What wheels are built for: fixed, so that a newer pip or glibc chooses no other wheel."""
LAUNCHER = """#!{python} -IBu
import sys

sys.path.insert(0, __file__.rpartition("/bin/")[0] + "/lib")

from webhook.cli.entry import main

sys.exit(main())
"""
"""-I: nothing of the environment and of the working folder is imported; -B and -u: no bytecode is
written, and no output waits."""


def make(root: Path, interpreter: str, machine: str, python: str = sys.executable) -> Path:
    """Lay out the layer below `root` and give its folder. `interpreter` is the Python of the image
    for the first line of the command; `python` compiles, so both have one minor release.

    Raises: subprocess.CalledProcessError, of pip; ValueError, for a wheel that cannot be unpacked
    """
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / "wheels"
        collect(wheels, Path(folder) / "backend", machine, python)
        return lay_out(root, wheels, interpreter, python)


def collect(wheels: Path, backend: Path, machine: str, python: str) -> None:
    """The locked wheels for a processor, and our own, in a folder."""
    version = _output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    platforms = [f"--platform={glibc}_{MACHINES[machine]}" for glibc in GLIBC]
    abi = f"cp{version.replace('.', '')}"
    locked = ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    _pip(
        *(python, "download", *locked, "-r", str(ROOT / "requirements-image.lock")),
        *(f"--python-version={version}", *platforms, "--implementation=cp"),
        *(f"--abi={abi}", "--abi=abi3", "--abi=none", "-d", str(wheels)),
    )
    _pip(
        *(python, "install", *locked, "-r", str(ROOT / "requirements-build.lock")),
        *("--target", str(backend)),
    )
    build_wheel(wheels, python, {"PYTHONPATH": str(backend)})


def build_wheel(folder: Path, python: str, variables: dict[str, str]) -> None:
    """Our own wheel, by the build backend that Python finds with these variables."""
    _pip(
        *(python, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)),
        variables=variables,
    )


def lay_out(root: Path, wheels: Path, interpreter: str, python: str) -> Path:
    """Unpack wheels, compile, and fix modes and times; gives the folder of the layer."""
    place = root / PLACE
    library = place / "lib"
    for wheel in sorted(wheels.glob("*.whl")):
        for name, content in _files(wheel):
            path = library / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    # By the path in the image, and in one process whose sets have one order.
    command += ["-s", str(root), "-p", "/", str(library)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S603
    launcher = place / "bin" / "boundtoken"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER.format(python=interpreter))
    for path in [*_all(place), place, place.parent]:
        path.chmod(_mode(path))
        os.utime(path, (EPOCH, EPOCH))
    return place


def packed(root: Path) -> bytes:
    """The layer as a tar: everything below `root`, owned by root, in order of names; to the byte
    what BuildKit makes of it, so that its digest is the diffID of the image in the registry.
    """
    made = bytearray()
    for path in _all(root):
        entry = tarfile.TarInfo(str(path.relative_to(root)))
        entry.mode, entry.mtime = _mode(path), EPOCH
        content = b""
        if path.is_dir():
            entry.type = tarfile.DIRTYPE
        else:
            content = path.read_bytes()
            entry.size = len(content)
        made += _header(entry) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return bytes(made) + bytes(2 * tarfile.BLOCKSIZE)


def _header(entry: tarfile.TarInfo) -> bytes:
    """A header as Go's archive/tar writes it: with zeros for the device of what is no device, where
    Python leaves the fields empty. Source: pkg.go.dev/archive/tar, writer.go, templateV7Plus.
    """
    header = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    header[DEVICE] = b"0000000\0" * 2
    header[CHECKSUM] = b" " * 8
    header[CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header)


def digest(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def this_machine() -> str:
    """The word of images for the processor of this machine."""
    return next(name for name, word in MACHINES.items() if word == platform.machine())


def _all(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _mode(path: Path) -> int:
    """Anybody may read, nobody but root may write: an arbitrary user in group 0 needs no more."""
    return 0o755 if path.is_dir() or path.parent.name == "bin" else 0o644


def _files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as content:
        for name in content.namelist():
            parts = Path(name).parts
            if parts[0].endswith(".data") or ".." in parts or name.startswith("/"):
                raise ValueError(f"{wheel.name}: {name}: must be a file of a package")
            if not name.endswith("/"):
                yield name, content.read(name)


def _pip(python: str, *arguments: str, variables: dict[str, str] | None = None) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "-q", "--no-cache-dir"]
    environ = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", **(variables or {})}
    subprocess.run([*command, *arguments], check=True, env=environ)  # noqa: S603


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


def main() -> None:
    """Lay out the layer in a folder, and say its digest and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="path of Python in the image")
    parser.add_argument("--machine", choices=MACHINES, default=this_machine())
    parser.add_argument("folder", type=Path, help="an empty one, which becomes the image's root")
    parsed = parser.parse_args()
    if sys.version_info[:2] != IMAGE_PYTHON:
        parser.error(f"must be run by Python {'.'.join(map(str, IMAGE_PYTHON))}")
    parsed.folder.mkdir(parents=True, exist_ok=True)
    make(parsed.folder, parsed.python, parsed.machine)
    content = packed(parsed.folder)
    sys.stdout.write(f"{digest(content)}  {len(content)} bytes, linux/{parsed.machine}\n")


if __name__ == "__main__":
    main()
