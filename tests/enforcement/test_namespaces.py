"""Requests on namespaces, decided by their annotations and labels alone."""

from typing import Any

import msgspec
import pytest

from tests.support.builders import Json, a_review
from webhook.core import names, review
from webhook.core.decision import Decision
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, Exemptions, TokenPolicy
from webhook.enforcement import namespaces, validate
from webhook.enforcement.namespaces import Review

PLAIN = ClusterPolicy()
POLICY = "enforce=off:v1,warn=off:v1,audit=off:v1"
INJECT = 'boundtoken.dev/inject="true": must be "enabled", "replace" or "disabled", spelled exactly so (did you mean "enabled"?)'
IGNORED = 'boundtoken.dev/inject="true" on namespace "shop": ignored, must be "enabled", "replace" or "disabled", spelled exactly so'


def a_namespace(name: str = "shop", labels: dict[str, str] | None = None, **own: str) -> Json:
    annotations = {names.DOMAIN + key.replace("_", "-"): value for key, value in own.items()}
    return {"metadata": {"name": name, "annotations": annotations, "labels": labels or {}}}


def reviewed(
    new: Json, old: Json | None = None, cluster: ClusterPolicy = PLAIN, **request: Any
) -> Review:
    """The review of an update, or without `old` of a create."""
    body = a_review(
        new,
        kind="Namespace",
        operation="CREATE" if old is None else "UPDATE",
        name=new["metadata"]["name"],
        oldObject=old,
        **request,
    )
    decoded = review.decode_full(msgspec.json.encode(body))
    assert validate.skip_reason(decoded, cluster) is None
    return namespaces.review(decoded, cluster)


def decided(*given: Any, **more: Any) -> Decision:
    return reviewed(*given, **more).decision


def test_a_create_or_an_update_that_brings_bad_values_is_denied_with_all_of_them() -> None:
    new = a_namespace(inject="true", automount="disabled", enforce="restricted", autmount="x")
    for old in (None, a_namespace(), a_namespace(inject="enabled")):
        decision = decided(new, old)
        assert (decision.reason, decision.outcome) == ("bad-annotations", "denied")
        assert decision.denial == (
            'namespace "shop": boundtoken.dev/enforce="restricted": must be "off", "bound" or "strict", spelled exactly so (did '
            f'you mean "strict"?); {INJECT}'
        )
        assert decision.warnings == (
            'boundtoken.dev/autmount="x" on namespace "shop": ignored, there is no such annotation; did you mean '
            "boundtoken.dev/automount?",
        )
        assert {fault.annotation for fault in decision.faults} >= {names.INJECT, names.ENFORCE}
        assert "inject" in decision.audit["faults"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="another label"),
        pytest.param({"automount": "disabled"}, id="a good value beside it"),
    ],
)
def test_a_fault_that_was_there_is_warned_of_and_the_namespace_stays_editable(
    change: dict[str, str],
) -> None:
    old = a_namespace(inject="true")
    decision = decided(a_namespace(labels={"team": "a"}, inject="true", **change), old)
    assert (decision.reason, decision.outcome, decision.denial) == ("not-enforced", "warned", "")
    assert decision.warnings[0].startswith(IGNORED)


def test_another_bad_value_or_a_second_one_is_introduced() -> None:
    old = a_namespace(inject="true")
    assert decided(a_namespace(inject="yes"), old).denial
    decision = decided(a_namespace(inject="true", automount="no"), old)
    assert "automount" in decision.denial
    assert "inject" not in decision.denial
    assert IGNORED in decision.warnings


def test_a_value_that_this_request_makes_bad_is_introduced() -> None:
    old = a_namespace(audience="aws", allowed_audiences="aws,vault")
    text = decided(a_namespace(audience="aws", allowed_audiences="vault"), old).denial
    assert text == (
        'namespace "shop": boundtoken.dev/audience="aws": must be one of the allowed audiences: "vault"'
    )


def test_a_value_that_a_lock_makes_bad_is_denied_when_it_is_written_and_not_later() -> None:
    locked = ClusterPolicy(locks=Locks(allowed_audiences=frozenset({"vault"})))
    new = a_namespace(audience="aws")
    assert "must be one of the allowed audiences" in decided(new, cluster=locked).denial
    assert decided(new, a_namespace(), cluster=locked).denial
    later = decided(new, new, cluster=locked)
    assert (later.denial, len(later.warnings)) == ("", 1)


@pytest.mark.parametrize(
    ("own", "labels", "told"),
    [
        ({"audiance": "vault"}, {}, "did you mean boundtoken.dev/audience?"),
        ({"skip_containers": "app"}, {}, "ignored, it belongs on pods only"),
        ({"status": "x"}, {}, "it is written by boundtoken and belongs on pods"),
        ({"expiration_seconds": "60"}, {}, "600 is used: 600 is the shortest"),
        ({}, {"boundtoken.dev/inject": "enabled"}, "ignored, it is a label, and boundtoken reads annotations only"),
    ],
)  # fmt: skip
def test_other_faults_are_warned_of(own: Any, labels: dict[str, str], told: str) -> None:
    decision = decided(a_namespace(labels=labels, **own))
    assert (decision.denial, decision.outcome) == ("", "warned")
    (warning,) = decision.warnings
    assert told in warning
    assert decision.audit["faults"].replace("the namespace", 'namespace "shop"', 1) == warning


def test_the_label_of_an_earlier_release_is_nobodys_fault() -> None:
    labels = {names.LEFTOVER_LABEL: "true", "team": "a"}
    assert decided(a_namespace(labels=labels)) == Decision("not-enforced", audit={"policy": POLICY})


@pytest.mark.parametrize(
    ("name", "cluster", "reason", "who"),
    [
        ("kube-system", PLAIN, "excluded-namespace", "excluded from boundtoken"),
        ("cni", ClusterPolicy(excluded=frozenset({"cni"})), "excluded-namespace", "excluded from boundtoken"),
        (names.NAMESPACE, PLAIN, "own-namespace", "boundtoken's own"),
    ],
)  # fmt: skip
def test_where_nothing_has_an_effect_nothing_is_denied(
    name: str, cluster: ClusterPolicy, reason: str, who: str
) -> None:
    decision = decided(a_namespace(name, inject="true", enforce="bound"), cluster=cluster)
    assert (decision.reason, decision.denial) == (reason, "")
    assert decision.warnings == (
        f'namespace "{name}" is {who}, and these have no effect: boundtoken.dev/enforce, boundtoken.dev/inject',
        IGNORED.replace("shop", name),
    )
    assert not decided(a_namespace(name), cluster=cluster).warnings


def test_an_exempt_namespace_hears_that_its_demands_are_ignored_and_its_faults_are_denied() -> None:
    cluster = ClusterPolicy(exemptions=Exemptions(namespaces=frozenset({"shop"})))
    told = (
        'namespace "shop" is exempt from enforcement (exemptions.namespaces), and these are ignored: boundtoken.dev/enforce, '
        "boundtoken.dev/warn",
    )
    new = a_namespace(enforce="bound", warn="strict")
    for old, dry_run, expected in (
        (None, False, told),
        (a_namespace(), False, told),
        (new, True, told),
        (new, False, ()),
    ):
        answer = reviewed(new, old, cluster, dryRun=dry_run)
        assert (answer.decision.reason, answer.decision.warnings) == ("exempt", expected)
        assert answer.modes == ()
    assert decided(a_namespace(inject="true"), cluster=cluster).reason == "bad-annotations"


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"enforce": "off"}, 'boundtoken.dev/enforce="off" on namespace "shop": the cluster\'s enforceFloor "bound" is stricter, and decides'),
        ({"enforce": "bound"}, ""),
        ({"enforce": "strict"}, ""),
        ({"inject": "enabled"}, ""),
    ],
)  # fmt: skip
def test_a_level_below_the_floor_is_told(own: Any, told: str) -> None:
    floor = ClusterPolicy(enforce_floor="bound")
    answer = reviewed(a_namespace(**own), a_namespace(), floor, dryRun=True)
    assert answer.modes == ("enforce",)
    for decision in (answer.decision, decided(a_namespace(**own), cluster=floor)):
        assert decision.warnings == ((told,) if told else ())


def test_pods_are_a_question_of_updates_that_demand_something() -> None:
    new = a_namespace(enforce="bound")
    assert reviewed(new).modes == ()  # a new namespace has no pods
    assert reviewed(new, a_namespace()).modes == ("enforce",)
    assert reviewed(new, new).modes == ()
    assert reviewed(new, new, dryRun=True).modes == ("enforce",)
    assert reviewed(a_namespace(enforce="Bound"), a_namespace(), dryRun=True).modes == ()


@pytest.mark.parametrize(
    ("operation", "sub_resource", "metadata"),
    [
        ("UPDATE", "status", {}),
        ("UPDATE", "finalize", {}),
        ("DELETE", "", {}),
        ("UPDATE", "", {"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ],
)
def test_subresources_and_terminating_namespaces_are_left_alone(
    operation: str, sub_resource: str, metadata: Json
) -> None:
    new = a_namespace(inject="true")
    new["metadata"] |= metadata
    body = a_review(
        new,
        kind="Namespace",
        operation=operation,
        subResource=sub_resource,
        oldObject=a_namespace(),
    )
    request = review.decode_full(msgspec.json.encode(body))
    assert validate.skip_reason(request, PLAIN) == "not-applicable"


def test_texts_and_their_number_are_bounded() -> None:
    known: dict[str, Any] = {
        name.removeprefix(names.DOMAIN): "x\n" * 40_000 for name in names.FOR_NAMESPACES
    }
    unknown: Any = {f"unknown-{number}": "y" * 1000 for number in range(2000)}
    labels = {f"boundtoken.dev/l{number}": "z" for number in range(500)}
    new = a_namespace(labels=labels, **known, **unknown)
    decision = decided(new)
    assert 1000 < len(decision.denial) <= validate.MAX_MESSAGE_CHARS
    assert len(decision.warnings) <= namespaces.MAX_FAULT_WARNINGS + 1
    assert max(map(len, decision.warnings)) <= names.MAX_WARNING_CHARS
    assert len(decision.audit["faults"].encode()) <= names.MAX_AUDIT_BYTES
    assert len(decision.faults) < 100
    later = decided(new, new)
    assert (later.denial, len(later.warnings)) == ("", namespaces.MAX_FAULT_WARNINGS + 1)
    assert later.warnings[-1].endswith(" more; the audit annotation faults has them all")


def test_a_denial_and_its_warnings_are_in_one_answer() -> None:
    decision = decided(a_namespace(inject="true", autmount="x"))
    response = msgspec.json.decode(review.respond("u", decision))["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, 403)
    assert len(response["warnings"]) == 1


def test_a_default_of_the_cluster_that_the_namespace_forbids_denies_no_edit_of_it() -> None:
    """The namespace's own value is good; whoever writes it cannot change the default."""
    cluster = ClusterPolicy(defaults=TokenPolicy(audience="vault"))
    decision = decided(a_namespace(allowed_audiences="other"), a_namespace(), cluster)
    assert decision.denial == ""
    assert "vault" in decision.warnings[0]
