"""What a container runtime does for the stand-in of the kubelet: a command in a mount namespace of
its own, and the environment of an image.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.limited import image_environment
from tests.support.paths import ROOT

RUN = Path("/run")
"""What programs find there is made for each run."""


class Mount(NamedTuple):
    """A folder of this machine, and where the container sees it."""

    source: Path
    path: str
    is_writable: bool = False


def command(container: dict[str, Any]) -> list[str]:
    """The command of a container; without one, the entry point of the Dockerfile."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    entry = next(line for line in lines if line.startswith("ENTRYPOINT"))
    words = container.get("command") or json.loads(entry.removeprefix("ENTRYPOINT "))
    return [*words, *container.get("args", ())]


def environment(name: str) -> dict[str, str]:
    """What the image and the runtime set for the container of a pod."""
    path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOSTNAME": name, **image_environment()}


def hosts(namespace: str, addresses: dict[str, str]) -> str:
    """An /etc/hosts that knows the Services of a namespace, as the DNS of a cluster does."""
    lines = ["127.0.0.1 localhost"]
    for name, address in addresses.items():
        lines.append(f"{address} {name} {name}.{namespace} {name}.{namespace}.svc")
    return "\n".join(lines) + "\n"


def in_mounts(command: list[str], mounts: list[Mount], hosts: Path | None = None) -> list[str]:
    """`command` in a mount namespace of its own, where each folder stands at its path, read-only
    unless it is writable, /run has nothing else, and /etc/hosts is `hosts`.

    A path that this machine does not have is made in a root folder of the namespace's own, so that
    nothing of it stays.
    """
    inside = ["set -e", "mount -t tmpfs tmpfs /run"]
    for source, path, is_writable in mounts:
        inside.append(f"mkdir -p {shlex.quote(path)}")
        options = "" if is_writable else "-o ro "
        inside.append(f"mount --bind {options}{shlex.quote(str(source))} {shlex.quote(path)}")
    if hosts is not None:
        inside.append(f"mount --bind {shlex.quote(str(hosts))} /etc/hosts")
    script = "\n".join([*inside, "exec " + shlex.join(command)])
    paths = [Path(mount.path).resolve() for mount in mounts]
    absent = [path for path in paths if not path.exists() and not path.is_relative_to(RUN)]
    if absent:
        # The root folder is made in /run, the one folder that has nothing of this machine's.
        root = [
            "set -e",
            "mount -t tmpfs tmpfs /run",
            "mkdir /run/run",
            *_shared(Path("/"), absent),
        ]
        script = "\n".join([*root, "exec chroot /run " + shlex.join(["sh", "-c", script])])
    userns = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *userns, "--mount", "--propagation", "private", "sh", "-c", script]


def _shared(folder: Path, absent: list[Path]) -> Iterator[str]:
    """Lines that mount what this machine has in a folder at the same path below /run, so that there
    is room for what is absent.
    """
    for entry in sorted(folder.iterdir()):
        copy = shlex.quote(f"/run{entry}")
        if below := [path for path in absent if path.is_relative_to(entry)]:
            yield f"mkdir {copy}"
            yield from _shared(entry, below)
        elif entry.is_symlink():
            yield f"ln -s {shlex.quote(str(entry.readlink()))} {copy}"
        elif entry.is_dir() and entry != RUN:
            yield f"mkdir {copy}; mount --rbind {shlex.quote(str(entry))} {copy}"
        elif entry.is_file():
            yield f"touch {copy}; mount --bind {shlex.quote(str(entry))} {copy}"
