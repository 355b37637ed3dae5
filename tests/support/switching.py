"""Taking boundtoken away, as people type it, while pods are created all the while."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import a_bare_pod
from tests.support.cluster import Cluster

LONGEST_SECONDS = 2.9
"""Of the creation of a pod on a busy machine; who waits for a replica that is not there waits for
3 s."""


def typed(plane: ControlPlane, script: str, folder: Path) -> None:
    """Run commands as a person types them, in a folder with their overlay."""
    (folder / "bin").mkdir()
    kubectl = folder / "bin/kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {build.binary()} kubectl "$@"\n')
    kubectl.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{kubectl.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(plane.kubeconfig()),
    }
    result = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=480,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@contextlib.contextmanager
def pods_all_the_while(
    cluster: Cluster, *namespaces: str
) -> Iterator[list[tuple[str, float, str]]]:
    """Pods asked for while the block runs: of each its namespace, the seconds it took, and why it
    was refused.
    """
    results: list[tuple[str, float, str]] = []
    stop = threading.Event()

    def create(namespace: str) -> None:
        while not stop.is_set():
            start, problem = time.monotonic(), ""
            try:
                cluster.create(namespace, a_bare_pod(), query="?dryRun=All")
            except StatusError as refused:
                problem = str(refused)
            results.append((namespace, time.monotonic() - start, problem))
            time.sleep(0.05)

    threads = [threading.Thread(target=create, args=(name,)) for name in namespaces]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        stop.set()
        for thread in threads:
            thread.join()
