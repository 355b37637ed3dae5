"""Certificates that the process makes itself: what is logged."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import a_namespace_object, an_event, api_server
from tests.support.certificates import an_authority
from tests.support.waiting import eventually
from webhook import metrics, options
from webhook.log import Log
from webhook.pki.ca_secret import CertificateAuthorities
from webhook.pki.store import KINDS
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


def test_the_lifetime_of_the_ca_is_measured_from_its_begin_to_its_end(tmp_path: Path) -> None:
    """An alert looks at how much of it is left."""
    client: Any = None
    given = options.resolve({}, {})
    certificates = ManagedCertificates(client, given, lambda _: None, Log("info", lambda _: None))
    root = an_authority(tmp_path)
    certificates._rotation.authorities = CertificateAuthorities(root, None, (), None)
    certificates._log_event("ca", "used", "a reason")
    measured = {
        metrics.REGISTRY.get_sample_value(
            f"boundtoken_certificate_{end}_timestamp_seconds", {"kind": "ca"}
        )
        for end in ("not_before", "not_after")
    }
    certificate = root.certificate
    assert measured == {certificate.not_before.timestamp(), certificate.not_after.timestamp()}


async def test_a_change_of_what_is_watched_wakes_the_rotation_at_once() -> None:
    """Without it a spoilt caBundle is found when all is read again, within half a minute."""
    async with api_server() as (api, client):
        certificates = ManagedCertificates(
            client, options.resolve({}, {}), lambda _: None, Log("info", lambda _: None)
        )
        changes = asyncio.Event()
        api.watches = [
            [changes.wait, an_event("MODIFIED", a_namespace_object("x", 101)), api.never]
        ]
        woken = certificates._rotation._woken
        assert len(certificates.loops()) == len(["the rotation", *KINDS, "the Secret"])
        task = asyncio.create_task(certificates._wake_on_changes("/api/v1/namespaces", "x"))
        await eventually(lambda: len(api.watched) == 1)
        woken.clear()
        changes.set()
        await eventually(woken.is_set)
        assert api.watched[0].query["fieldSelector"] == "metadata.name=x"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
