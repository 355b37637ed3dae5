"""Rules beside the fixtures of tests/conformance, which are released and never change."""

import msgspec
import pytest

from tests.support.builders import Json, a_pod
from webhook.core.full_views import FullPod
from webhook.core.levels import LevelVersion
from webhook.core.limits import Limits
from webhook.enforcement import rules
from webhook.enforcement.facts import Facts

LEGACY = Limits(maximum=86400, legacy_tokens=frozenset({"legacy"}))
DRIVERS = ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"]


@pytest.mark.parametrize(
    ("field", "source"),
    [
        ("azureFile.secretName", {"azureFile": {"secretName": "legacy", "shareName": "x"}}),
        (
            "csi.nodePublishSecretRef.name",
            {"csi": {"driver": "x", "nodePublishSecretRef": {"name": "legacy"}}},
        ),
        *(
            (f"{kind}.secretRef.name", {kind: {"secretRef": {"name": "legacy"}}})
            for kind in DRIVERS
        ),
    ],
)
def test_a_legacy_token_is_found_in_whatever_a_volume_takes_from_a_secret(
    field: str, source: Json
) -> None:
    for name, found in (
        ("legacy", [("legacy-token", f"spec.volumes.{field}", ("volume", "v"))]),
        ("ordinary", []),
    ):
        text = msgspec.json.encode({"name": "v", **source}).replace(b"legacy", name.encode())
        pod = msgspec.convert(a_pod(volumes=[msgspec.json.decode(text)]), FullPod)
        violations = rules.evaluate(Facts(pod), LevelVersion("bound", "v1"), LEGACY)
        assert [
            (violation.rule, violation.field, violation.place) for violation in violations
        ] == found


@pytest.mark.parametrize("kind", ["azureFile", "csi", *DRIVERS])
@pytest.mark.parametrize("source", [{}, {"secretRef": None, "nodePublishSecretRef": None}])
def test_a_volume_that_takes_nothing_from_a_secret_complies(kind: str, source: Json) -> None:
    pod = msgspec.convert(a_pod(volumes=[{"name": "v", kind: source}]), FullPod)
    assert rules.evaluate(Facts(pod), LevelVersion("bound", "v1"), LEGACY) == ()
