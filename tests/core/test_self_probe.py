"""What a pod that came back from a dry run tells, and what a refusal does."""

import msgspec
import pytest

from tests.support.builders import Json, a_pod, api_access
from webhook import metrics
from webhook.core import names, self_probe
from webhook.core.self_probe import RESULTS, Result
from webhook.core.views import Pod

SUMMARY = "audience=(API server) expires=3600 set-by=pod policy=6740ae57"


def result_of(status: str | None, *volumes: Json) -> Result:
    annotations = {names.INJECT: "enabled"} | ({names.STATUS: status} if status else {})
    pod = a_pod(annotations=annotations, volumes=list(volumes))
    return self_probe.result_of(msgspec.convert(pod, Pod))


@pytest.mark.parametrize("reason", ["injected", "rewritten", "stripped", "nothing-to-replace"])
def test_a_pod_with_a_status_of_ours_is_injected(reason: str) -> None:
    assert result_of(f"{reason}: {SUMMARY}", api_access(seconds=3600)) == "injected"
    assert result_of(f"{reason}: {SUMMARY}") == "injected"


@pytest.mark.parametrize("status", [None, "injected-by-another: x", "x", ": injected"])
def test_a_pod_without_one_is_not(status: str | None) -> None:
    assert result_of(status, api_access(seconds=3600)) == "not-injected"


def test_a_token_of_a_year_that_is_back_counts_and_another_of_somebody_does_not() -> None:
    status = f"rewritten: {SUMMARY}"
    assert result_of(status, api_access(seconds=3607)) == "not-injected"
    assert result_of(status, api_access(seconds=3607, audience="mesh")) == "injected"
    assert result_of(status, {"name": "data", "emptyDir": {}}) == "injected"


@pytest.mark.parametrize(
    ("status", "message", "result"),
    [
        (403, 'pods "x" is forbidden: exceeded quota: all', "refused"),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "refused"),
        (400, 'admission webhook "x.example.com" does not support dry run', "refused"),
        (409, "already exists", "refused"),
        (422, "Pod is invalid", "refused"),
        (500, 'Internal error occurred: failed calling webhook "x.example.com": EOF', "refused"),
        (403, 'User "u" cannot create resource "pods" in API group ""', "could-not-ask"),
        (404, 'namespaces "boundtoken-system" not found', "could-not-ask"),
        (401, "Unauthorized", "could-not-ask"),
        (429, "too many requests", "could-not-ask"),
        (500, "etcdserver: request timed out", "could-not-ask"),
        (0, "POST: ClientConnectorError", "could-not-ask"),
    ],
)
def test_who_refuses_is_told_from_who_does_not_answer(
    status: int, message: str, result: str
) -> None:
    assert self_probe.result_of_refusal(status, message) == result


def test_every_result_is_a_series_from_the_start() -> None:
    for metric in (metrics.SELF_PROBES, metrics.SELF_PROBE_RESULT):
        samples = [sample for family in metric.collect() for sample in family.samples]
        assert [sample.labels["result"] for sample in samples] == list(RESULTS)
