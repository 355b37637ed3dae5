"""Certificates that the process makes itself: what is logged."""

import json
from typing import Any

import pytest

from webhook import options
from webhook.log import Log
from webhook.serving.managed_certificates import ManagedCertificates


@pytest.mark.parametrize(
    ("kind", "action", "level"), [("leaf", "issued", "info"), ("bundle", "failed", "error")]
)
def test_each_action_of_the_rotation_is_one_line(kind: str, action: str, level: str) -> None:
    written: list[bytes] = []
    client: Any = None
    certificates = ManagedCertificates(
        client, options.resolve({}, {}), lambda _: None, Log("info", written.append)
    )
    certificates._log_event(kind, action, "a reason")
    (line,) = (json.loads(text) for text in written)
    del line["time"]
    assert line == {
        "level": level,
        "event": "certificate rotation",
        "kind": kind,
        "action": action,
        "reason": "a reason",
    }
