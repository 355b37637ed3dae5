"""A long stream: its time and its memory."""

import resource
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
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(BOUNDTOKEN), "inject", str(path), "--inject=enabled", "--automount=disabled"]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime
    print(f"{DOCUMENTS} documents: {seconds:.1f} s, {after.ru_maxrss >> 10} MB")
    assert result.stdout.count("- name: boundtoken\n") == 2 * DOCUMENTS
    assert len(result.stderr.splitlines()) == DOCUMENTS
    assert seconds < 90
    assert after.ru_maxrss >> 10 < 500
