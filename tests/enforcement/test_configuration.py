"""ConfigMaps with the cluster's configuration: which are denied, and with what words."""

from typing import Any

import msgspec
import pytest

from tests.support.builders import Json, a_review
from webhook.core import names, review
from webhook.core.decision import Decision
from webhook.core.policy import ClusterPolicy
from webhook.core.review import ValidationRequest
from webhook.enforcement import configuration, validate
from webhook.serving.configurations import find_faults

HEAD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
BAD = HEAD + "locks: {maxExpirationSecond: 60}\ndefaults: {inject: true}\n"
FAULTS = (
    "defaults.inject: must be a string (YAML reads an unquoted on, off, yes or no as true or false: quote it); it is True; "
    "locks.maxExpirationSecond: unknown field; did you mean maxExpirationSeconds?"
)
WHERE = 'configmap/boundtoken-7k2fh data["config.yaml"]'


def a_config_map(text: str | None, **more: Any) -> Json:
    data = {} if text is None else {names.CONFIG_KEY: text}
    return {"metadata": {"name": "boundtoken-7k2fh"}, "data": data, **more}


def a_request(new: Json | None, **request: Any) -> ValidationRequest:
    body = a_review(new, **{"kind": "ConfigMap", "namespace": names.NAMESPACE, **request})
    return review.decode_full(msgspec.json.encode(body))


def decision_on(new: Json | None, **request: Any) -> Decision:
    return configuration.decide(a_request(new, **request), find_faults)


def test_a_bad_configuration_is_denied_with_every_fault_by_path_under_whatever_name() -> None:
    decision = decision_on(a_config_map(BAD))
    assert (decision.reason, decision.outcome) == ("violates", "denied")
    assert decision.denial == f"{WHERE}: {FAULTS}"


@pytest.mark.parametrize("text", [HEAD, HEAD + "locks: {enforceFloor: bound}\n"])
def test_a_good_one_is_let_through_without_a_word(text: str) -> None:
    assert decision_on(a_config_map(text)) == Decision("complies")


@pytest.mark.parametrize("config_map", [a_config_map(None), a_config_map(None, data=None)])
def test_one_without_the_file_is_denied_too(config_map: Json) -> None:
    assert decision_on(config_map).denial == (
        "configmap/boundtoken-7k2fh: data must have the key config.yaml"
    )


def test_one_that_was_bad_before_is_warned_of_and_its_metadata_can_be_edited() -> None:
    decision = decision_on(
        a_config_map(BAD), operation="UPDATE", oldObject=a_config_map(BAD, metadata={})
    )
    assert (decision.outcome, decision.denial) == ("warned", "")
    assert decision.warnings[0].startswith(f"{WHERE}: ")
    worse = decision_on(a_config_map(BAD + "x: 1"), operation="UPDATE", oldObject=a_config_map(BAD))
    assert worse.outcome == "denied"


def test_nothing_of_the_text_reaches_log_or_audit() -> None:
    decision = decision_on(a_config_map(BAD))
    assert (decision.audit, decision.faults) == ({}, ())


def test_a_message_has_a_bound() -> None:
    many = HEAD + "".join(f"{'k' * 300}{number}: x\n" for number in range(200))
    assert len(decision_on(a_config_map(many)).denial) == validate.MAX_MESSAGE_CHARS


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, None),
        ({"operation": "UPDATE"}, None),
        ({"operation": "DELETE"}, "not-applicable"),
        ({"namespace": "shop"}, "not-applicable"),
        ({"subResource": "status"}, "not-applicable"),
    ],
)
def test_only_what_is_applied_in_our_own_namespace_is_looked_at(
    request_: Json, reason: str | None
) -> None:
    request = a_request(a_config_map(BAD), **request_)
    assert validate.skip_reason(request, ClusterPolicy()) == reason
