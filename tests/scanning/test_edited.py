"""A template that was edited and is not rolled out, beside its living pods: both are told."""

from typing import Any

import pytest

from tests.scanning.objects import (
    ON,
    a_space,
    a_workload,
    account,
    codes,
    living,
    rows,
    scanned,
    with_token,
)
from tests.support.builders import Json, a_container, a_pod, automounted, mutated
from webhook.scanning.report import Report


def edited(template: Json, *pods: Json, **given: Any) -> Report:
    """A Deployment `cart` with this pod as its template, and pods of it."""
    workload = a_workload("cart", **given.pop("metadata", {}))
    workload["spec"]["paused"] = True
    workload["spec"]["template"]["spec"] = template["spec"]
    made = [living(pod, f"cart-{number}", "cart") for number, pod in enumerate(pods)]
    return scanned(*made, workloads=(workload,), **given)


OPTED_OUT = a_pod(automountServiceAccountToken=False)


def test_a_token_that_only_new_pods_would_have_is_told() -> None:
    report = edited(with_token(31_536_000, "vault"), automounted(a_pod()))
    assert sorted(rows(report)) == [
        ("deployment/cart", "projected", "1 year", "none"),
        ("pod/cart-0", "automounted", "1 year", "none"),
    ]
    messages = [one.message for one in report.findings if one.code == "year-long"]
    assert sorted(messages) == [
        "1 of 1 pods have a token that lives a year or more",
        "its template differs from its pods, and new ones would have a token that lives a year or more",
    ]
    (space,) = report.namespaces
    assert (space.tokens, space.year_long, space.pods) == (2, 2, 1)


def test_an_automounted_token_that_only_new_pods_would_have_is_told() -> None:
    report = edited(a_pod(), OPTED_OUT, OPTED_OUT)
    assert rows(report) == [("deployment/cart", "automounted", "1 year", "none")]
    assert codes(report, "deployment/") == ["year-long", "strict"]


def test_one_pod_of_the_new_template_is_enough() -> None:
    report = edited(a_pod(), OPTED_OUT, automounted(a_pod()))
    assert rows(report) == [("pod/cart-1", "automounted", "1 year", "none")]


def test_containers_of_other_webhooks_are_no_difference() -> None:
    pod = automounted(a_pod())
    pod["spec"]["containers"].append({**pod["spec"]["containers"][0], "name": "proxy"})
    assert [row[0] for row in rows(edited(a_pod(), pod))] == ["pod/cart-0"]


@pytest.mark.parametrize("mount", [{"readOnly": False}, {"mountPath": "/x"}, {"subPath": "token"}])
def test_another_mount_is_another_token(mount: Json) -> None:
    report = edited(with_token(600, "vault", **mount), with_token(600, "vault"))
    assert "deployment/cart" in [row[0] for row in rows(report)]


def test_what_is_missing_or_stale_is_not_told_twice() -> None:
    report = edited(a_pod(), automounted(a_pod()), space=a_space(**ON))
    assert rows(report) == [("pod/cart-0", "automounted", "1 year", "none")]
    assert codes(report, "deployment/") == ["missing", "year-long", "strict"]
    report = edited(a_pod(), mutated(automounted(a_pod()), **ON))
    assert [row[:2] for row in rows(report)] == [
        ("deployment/cart", "automounted"),
        ("pod/cart-0", "boundtoken"),
    ]
    assert sorted(codes(report, "deployment/")) == ["stale", "strict", "year-long"]


def test_an_account_and_a_secret_that_only_new_pods_would_use_are_used() -> None:
    container = a_container("app", ("old", "/old"))
    volumes = [{"name": "old", "secret": {"secretName": "old"}}]
    template = a_pod(container, volumes=volumes, serviceAccountName="new")
    accounts = (account("new", "old"), account("default"))
    report = edited(template, automounted(a_pod()), accounts=accounts, secrets=("old",))
    assert report.service_accounts == ()
    (secret,) = report.secrets
    assert secret.mounted_by == ("deployment/cart",)
    assert [one.fix for one in report.findings if one.code == "legacy"] == [""]


def test_faults_of_an_edited_template_are_told_once() -> None:
    workload = a_workload()
    workload["spec"]["template"]["metadata"]["annotations"] = {"boundtoken.dev/mount-path": "x"}
    report = scanned(living(OPTED_OUT, "cart-1", "cart"), workloads=(workload,))
    assert codes(report, "deployment/").count("fault") == 1
    assert "deployment/cart" in [row[0] for row in rows(report)]
