"""The Helm that is built is the one that go.mod names."""

import re
from pathlib import Path

import pytest

from tests.support.helm import helm


@pytest.mark.controlplane  # built as long as the control plane is
def test_helm_is_of_the_release_in_go_mod() -> None:
    text = (Path(__file__).parent / "go.mod").read_text()
    named = re.search(r"helm\.sh/helm/v4 (v\d+\.\d+)\.", text)
    assert named is not None
    assert helm("version", "--short").stdout.strip() == named[1]
