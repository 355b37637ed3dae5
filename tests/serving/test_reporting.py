"""What is said of a review: its log line, and the violations that are counted."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.support.builders import Json, a_pod, a_review, automounted
from tests.support.service import running
from webhook import metrics
from webhook.core import names, policy, review
from webhook.core.decision import REASONS, Decision, Reason
from webhook.core.levels import MODES
from webhook.core.policy import ClusterPolicy
from webhook.enforcement import validate
from webhook.enforcement.rules import RULES
from webhook.log import Log
from webhook.serving import reporting
from webhook.serving.reporting import Reporter

USER = "alice"


def reported(
    request: Any, decision: Decision | None = None, *, reporter: Reporter | None = None
) -> Json:
    """The log line of a review and its decision."""
    lines: list[bytes] = []
    reporter = reporter or a_reporter()
    reporter._log = Log("info", lines.append)
    reporter.record(request, decision or Decision("not-requested"), 1000)
    reporter.flush()
    (line,) = lines
    return dict(json.loads(line))


def a_reporter(*, namespace_metrics: bool = False) -> Reporter:
    return Reporter(Log("info", lambda _: None), lambda _, __: None, namespace_metrics)


def to_validate(resource: Json, kind: tuple[str, str, str], **request: Any) -> Any:
    group, name, plural = kind
    body = a_review(resource)
    body["request"] |= {
        "kind": {"group": group, "version": "v1", "kind": name},
        "resource": {"group": group, "version": "v1", "resource": plural},
        "userInfo": {"username": USER},
        **request,
    }
    return review.decode_full(json.dumps(body).encode())


POD = ("", "Pod", "pods")
TOKEN_REQUEST = ("authentication.k8s.io", "TokenRequest", "serviceaccounts")


def a_year_long_pod() -> Any:
    return to_validate(automounted(a_pod()), POD)


def judged(request: Any, **annotations: str) -> Decision:
    given = {names.DOMAIN + name: value for name, value in annotations.items()}
    cluster = ClusterPolicy(token_requests="warn", token_requests_max_expiration_seconds=3600)
    return validate.decide(request, cluster, policy.resolve_namespace(cluster, given))


def counted(rule: str, mode: str, namespace: str = "") -> float:
    return float(metrics.VIOLATIONS.labels(rule, mode, namespace)._value.get())


def test_the_line_of_a_mutated_pod_names_the_webhook() -> None:
    line = reported(review.decode(json.dumps(a_review(a_pod())).encode()))
    assert line["webhook"] == "pods"
    assert list(line) == list(reporting.ReviewLine.__struct_fields__)


@pytest.mark.parametrize(
    ("controls", "expected"),
    [([], ""), ([False, None], ""), ([None, True, True], "Job/1"), ([True], "Job/0")],
)
def test_the_owner_in_the_line_is_the_first_that_controls_the_pod(
    controls: list[bool | None], expected: str
) -> None:
    pod = a_pod()
    pod["metadata"]["ownerReferences"] = [
        {"kind": "Job", "name": str(number), "controller": controller}
        for number, controller in enumerate(controls)
    ]
    assert reported(review.decode(json.dumps(a_review(pod)).encode()))["owner"] == expected


def test_a_denied_pod_names_webhook_user_rule_and_level() -> None:
    request = a_year_long_pod()
    line = reported(request, judged(request, enforce="bound", warn="strict"))
    assert (line["webhook"], line["user"], line["outcome"]) == ("enforced", USER, "denied")
    assert line["rules"] == ["token-lifetime", "automounted-volume"]
    assert line["enforcement_level"] == "bound"
    assert "expiration_seconds" not in line


def test_a_token_request_names_user_lifetime_and_audience() -> None:
    spec = {"expirationSeconds": 31_536_000, "audiences": ["https://vault.example", "\x1b[2J"]}
    request = to_validate({"spec": spec}, TOKEN_REQUEST, subResource="token", name="default")
    line = reported(request, judged(request))
    assert (line["webhook"], line["user"], line["name"]) == ("tokenrequests", USER, "default")
    assert (line["reason"], line["rules"]) == ("violates", ["token-lifetime"])
    assert line["expiration_seconds"] == 31_536_000
    assert line["audiences"] == "https://vault.example, \x1b[2J"


@pytest.mark.parametrize("seconds", [10**40, -(10**40)])
def test_a_token_request_of_nobody_makes_no_long_line(seconds: int) -> None:
    spec = {"expirationSeconds": seconds, "audiences": ["a" * 600] * 90}
    request = to_validate({"spec": spec}, TOKEN_REQUEST, subResource="token")
    line = reported(request)
    assert abs(line["expiration_seconds"]) == reporting.MAX_SECONDS
    reporter = a_reporter()
    reporter.record(request, Decision("complies"), 1000)
    (waiting,) = reporter._gathered  # the log cuts long names only where lines are long on average
    assert isinstance(waiting, reporting.ValidationLine)
    assert len(waiting.audiences) == reporting.MAX_AUDIENCES_CHARS


def test_a_user_name_is_cut_as_every_name() -> None:
    request = to_validate(a_pod(), POD, userInfo={"username": "u" * 5000})
    assert reported(request)["user"] == "u" * 252 + "…"


@pytest.mark.parametrize(
    ("kind", "sub_resource", "webhook"),
    [
        (POD, "", "enforced"),
        (POD, "ephemeralcontainers", "enforced"),
        (("apps", "Deployment", "deployments"), "", "templates"),
        (TOKEN_REQUEST, "token", "tokenrequests"),
        (("", "Secret", "secrets"), "", "legacysecrets"),
        (("", "Namespace", "namespaces"), "", "previews"),
        (("", "ConfigMap", "configmaps"), "", "configurations"),
    ],
)
def test_each_webhook_has_its_name(
    kind: tuple[str, str, str], sub_resource: str, webhook: str
) -> None:
    assert reported(to_validate({}, kind, subResource=sub_resource))["webhook"] == webhook


def test_violations_are_counted_by_rule_and_mode_and_without_a_namespace() -> None:
    request = a_year_long_pod()
    before = counted("token-lifetime", "enforce"), counted("automounted-volume", "warn")
    reported(request, judged(request, enforce="bound", warn="strict"))
    after = counted("token-lifetime", "enforce"), counted("automounted-volume", "warn")
    assert after == (before[0] + 1, before[1] + 1)


def test_every_series_of_violations_is_there_from_the_start() -> None:
    there = set(metrics.VIOLATIONS._metrics)
    assert {(rule.slug, mode, "") for rule in RULES for mode in MODES} <= there


def test_with_the_flag_so_many_namespaces_have_a_series_and_no_more() -> None:
    reporter = a_reporter(namespace_metrics=True)
    decision = judged(a_year_long_pod(), enforce="bound")
    for number in range(reporting.MAX_NAMESPACES + 20):
        request = to_validate(automounted(a_pod()), POD, namespace=f"n{number}")
        reporter.record(request, decision, 1000)
    namespaces = {
        namespace for rule, _, namespace in metrics.VIOLATIONS._metrics if rule == "token-lifetime"
    } - {""}
    assert len(namespaces) == reporting.MAX_NAMESPACES + 1
    assert counted("token-lifetime", "enforce", "n0") == 1
    assert counted("token-lifetime", "enforce", "other") == 20
    for labels in list(metrics.VIOLATIONS._metrics):
        if labels[2]:
            metrics.VIOLATIONS.remove(*labels)


@pytest.mark.parametrize("reasons", [[], ["injected"] * 3, ["injected", "stripped", "injected"]])
def test_the_reviews_of_one_write_are_counted_by_their_labels(reasons: list[Reason]) -> None:
    def reviews(reason: Reason) -> float:
        series = metrics.ADMISSION_REQUESTS.labels("CREATE", "pods", "unchanged", reason)
        return float(series._value.get())

    before = {reason: reviews(reason) for reason in REASONS}
    reporter = a_reporter()
    request = review.decode(json.dumps(a_review(a_pod())).encode())
    for reason in reasons:
        reporter.record(request, Decision(reason), 1000)
    reporter.flush()
    assert {reason: reviews(reason) for reason in REASONS} == {
        reason: before[reason] + reasons.count(reason) for reason in REASONS
    }


def test_a_duration_is_in_the_buckets_whose_bound_it_does_not_exceed() -> None:
    registry = CollectorRegistry()
    histogram = metrics.Durations("durations", "", registry)
    writes = [[], [50], [3_000_001, 0, 51, 3_000_000], [20] * 5, [10**7, 10**8], [200, 201, 199]]
    for durations in writes:
        histogram.observe(durations)
    everything = sorted(itertools.chain(*writes))
    assert registry.get_sample_value("durations_sum") == sum(everything) / 1e6
    for bound in (*metrics.Durations.BOUNDS, math.inf):
        label = {"le": "+Inf" if bound == math.inf else str(bound)}
        expected = sum(duration / 1e6 <= bound for duration in everything)
        assert registry.get_sample_value("durations_bucket", label) == expected, bound


@pytest.mark.parametrize(("flags", "namespace"), [({}, ""), ({"namespace_metrics": "on"}, "shop")])
async def test_the_flag_of_the_process_decides_whether_namespaces_are_counted(
    tmp_path: Path, flags: dict[str, Any], namespace: str
) -> None:
    head = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
    (tmp_path / "config.yaml").write_text(head + "locks: {enforceFloor: bound}\n")
    async with running(tmp_path, config=str(tmp_path / "config.yaml"), **flags) as service:
        before = counted("token-lifetime", "enforce", namespace)
        await service.post(a_review(automounted(a_pod())), path="/validate")
        assert counted("token-lifetime", "enforce", namespace) == before + 1


def year_long_pods() -> float:
    return float(metrics.YEAR_LONG_TOKEN_PODS._value.get())


def a_pod_of(seconds: int, audience: str) -> Json:
    pod = a_pod()
    token = {"path": "token", "expirationSeconds": seconds, "audience": audience}
    pod["spec"]["volumes"] = [
        {"name": "own", "projected": {"sources": [{"serviceAccountToken": token}]}}
    ]
    return pod


@pytest.mark.parametrize(
    ("pod", "request_fields", "number"),
    [
        (automounted(a_pod()), {}, 1),
        (a_pod_of(3607, ""), {}, 1),
        (a_pod_of(3607, "https://api"), {}, 1),
        (a_pod_of(3607, "https://vault"), {}, 0),
        (a_pod_of(3600, ""), {}, 0),
        (a_pod(), {}, 0),
        (automounted(a_pod()), {"dryRun": True}, 0),
        (
            automounted(a_pod()),
            {"subResource": "ephemeralcontainers", "operation": "UPDATE", "oldObject": a_pod()},
            0,
        ),
    ],
    ids=["automounted", "own", "api", "vault", "an hour", "no token", "dry run", "debugged"],
)
def test_a_pod_that_is_created_with_a_token_of_a_year_is_counted(
    pod: Json, request_fields: dict[str, Any], number: int
) -> None:
    cluster = ClusterPolicy(api_audiences=("https://api",))
    request = to_validate(pod, POD, **request_fields)
    before = year_long_pods()
    reported(request, validate.decide(request, cluster, policy.resolve_namespace(cluster, {})))
    assert year_long_pods() - before == number


def test_a_pod_that_is_denied_is_not_created_with_any_token() -> None:
    request, before = a_year_long_pod(), year_long_pods()
    reported(request, judged(request, warn="bound"))
    assert year_long_pods() - before == 1
    reported(request, judged(request, enforce="bound"))
    assert year_long_pods() - before == 1


def test_every_layer_of_a_fault_has_a_series_from_the_start() -> None:
    """An alert on an increase does not see the first of a series that begins with it."""
    assert {(layer,) for layer in reporting.FAULT_LAYERS} == set(metrics.POLICY_FAULTS._metrics)
