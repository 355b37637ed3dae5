"""A long stream: its time and its memory."""

from pathlib import Path

import pytest

from tests.support.measured import measured
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
        took = measured(words, stdout=out, stderr=err)
    print(f"{DOCUMENTS} documents: {took.cpu_seconds:.1f} s, {took.peak_bytes >> 20} MB")
    assert took.code == 0
    assert printed.read_text().count("- name: boundtoken\n") == 2 * DOCUMENTS
    assert len(report.read_text().splitlines()) == DOCUMENTS
    assert took.cpu_seconds < 90
    assert took.peak_bytes >> 20 < 500
