"""Rules beside the fixtures of tests/conformance, which are released and never change."""

import msgspec
import pytest

from tests.support.builders import Json, a_pod
from webhook.core import names
from webhook.core.full_views import FullPod
from webhook.core.levels import LevelVersion
from webhook.core.limits import Limits
from webhook.core.text import truncate
from webhook.enforcement import rules, templates, validate
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


@pytest.mark.parametrize("maximum", [86400, 31_535_999])
def test_a_warning_about_a_template_has_room_for_the_annotation_to_set(maximum: int) -> None:
    """With the longest level and the condition, and cut as the API server would."""
    for rule, annotations in (
        ("token-lifetime", [f"{names.INJECT}=replace"]),
        ("automounted-volume", [f"{names.AUTOMOUNT}=disabled", "inject=replace"]),
    ):
        (check,) = [
            check
            for record in rules.RULES
            if record.slug == rule
            for check in record.checks
            if names.DOMAIN in check.fix
        ]
        violation = rules.Violation(
            rule,
            "",
            ("volume", templates.AUTOMOUNTED),
            "",
            check.problem.format(maximum=maximum),
            check.fix,
            validate.CONDITION,
        )
        level = "strict" if rule == "automounted-volume" else "bound"
        (sentence,) = rules.sentences([violation])
        warning = truncate(f'would violate boundtoken "{level}:v1": {sentence}')
        assert [annotation in warning for annotation in annotations] == [True] * len(annotations)
