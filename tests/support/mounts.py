"""What a container sees: a command in a mount namespace of its own."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

SCRIPT = """
mount -t tmpfs none "$(realpath /var/run)" && mkdir -p /var/run/secrets &&
mount --bind "$0" /var/run/secrets && exec "$@"
"""
"""Over an empty folder, so that this machine gets no new one."""


def in_a_pod(
    secrets: Path, command: Sequence[str], environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command where `secrets` is what a pod has at /var/run/secrets. Skips the test where this
    machine lets us make no mount namespace.
    """
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", SCRIPT, str(secrets), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, **(environ or {})},
    )
    if "unshare:" in result.stderr or "mount:" in result.stderr:
        pytest.skip("no mount namespaces here")
    return result
