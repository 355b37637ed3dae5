"""A long stream: its time and its memory."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import BOUNDTOKEN

DOCUMENTS = 5_000
DEPLOYMENT = """\
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{}   # one of many
  namespace: shop
  labels:
    app: web
spec:
  template:
    metadata:
      labels: {{app: web}}
    spec:
      containers:
      - name: app
        image: "registry.example/app:1"
        # the end
"""


@pytest.mark.slow("5,000 documents: half a minute")
def test_a_stream_of_5000_documents_takes_seconds_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "stream.yaml"
    path.write_text("".join(DEPLOYMENT.format(number) for number in range(DOCUMENTS)))
    words = [str(BOUNDTOKEN), "inject", str(path), "--inject=enabled", "--automount=disabled"]
    printed, report = tmp_path / "out", tmp_path / "err"
    with printed.open("wb") as out, report.open("wb") as err:
        process = subprocess.Popen(words, stdout=out, stderr=err)
        # Not the usage of all children, whose memory is that of the largest.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    print(f"{DOCUMENTS} documents: {usage.ru_utime:.1f} s, {usage.ru_maxrss >> 10} MB")
    assert process.returncode == 0
    assert printed.read_text().count("- name: boundtoken\n") == 2 * DOCUMENTS
    assert len(report.read_text().splitlines()) == DOCUMENTS
    assert usage.ru_utime < 90
    assert usage.ru_maxrss >> 10 < 500
