"""Certificates that the process makes itself: what is logged."""

import json
from typing import Any

import pytest

from webhook import options
from webhook.log import Log
from webhook.serving.managed_certificates import ManagedCertificates


def logged(*event: str) -> dict[str, str]:
    """The line of an event, without its time."""
    written: list[bytes] = []
    client: Any = None
    certificates = ManagedCertificates(
        client, options.resolve({}, {}), lambda _: None, Log("info", written.append)
    )
    certificates._log_event(*event)
    (line,) = (json.loads(text) for text in written)
    del line["time"]
    return dict(line)


@pytest.mark.parametrize(
    ("kind", "action", "level"), [("leaf", "issued", "info"), ("bundle", "failed", "error")]
)
def test_each_action_of_the_rotation_is_one_line(kind: str, action: str, level: str) -> None:
    assert logged(kind, action, "a reason") == {
        "level": level,
        "event": "certificate rotation",
        "kind": kind,
        "action": action,
        "reason": "a reason",
    }


def test_a_new_ca_bundle_names_its_configuration_and_what_it_differed_from() -> None:
    configuration, reason = (
        "validatingwebhookconfiguration/boundtoken",
        "it differed from Secret boundtoken-ca",
    )
    assert logged("bundle", "published", reason, configuration) == {
        "level": "info",
        "event": "caBundle updated",
        "configuration": configuration,
        "reason": reason,
    }
