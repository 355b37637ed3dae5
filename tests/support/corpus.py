"""YAML and JSON that nobody here wrote: what the packages on this machine carry."""

import hashlib
import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

FOLDERS = (
    ROOT / "manifests",
    Path(sysconfig.get_paths()["purelib"]),
    Path(os.environ.get("GOMODCACHE", "~/go/pkg/mod")).expanduser(),
    Path("/usr/share"),
    Path("/usr/lib/node_modules"),
)
WORKLOAD = re.compile(
    rb"\bkind\"?: *\"?(Deployment|Pod|DaemonSet|StatefulSet|Job|CronJob|ReplicaSet|ReplicationController|PodTemplate|List)\b"
)
MAX_BYTES = 1 << 20


def workloads() -> Iterator[Path]:
    """Every file with a workload in it, in the order of a hash of its path, so that the first
    hundred are a sample.
    """
    found = []
    for folder in FOLDERS:
        for top, _, names in os.walk(folder):
            for name in names:
                if name.endswith((".yaml", ".yml", ".json")):
                    path = Path(top) / name
                    if path.is_file() and path.stat().st_size <= MAX_BYTES:
                        found.append(path)
    found.sort(key=lambda path: hashlib.sha256(str(path).encode()).digest())
    for path in found:
        if WORKLOAD.search(path.read_bytes()):
            yield path
