"""Judging: modes, levels, templates, exemptions and faults; the rules themselves are in the conformance fixtures."""

from typing import Any

import msgspec
import pytest

from tests.pods import Json, a_container, a_namespace, a_pod, a_review, api_access, automounted
from webhook.core import demands, enforcement, names, review
from webhook.core.demands import Demand, Demands
from webhook.core.enforcement import Judgement
from webhook.core.policy import ClusterLayer, Exemptions
from webhook.core.wishes import Locks

YEAR = automounted(a_pod())


def judged(held: Json, cluster: ClusterLayer | None = None, /, *, request: Json | None = None, **annotations: str) -> Judgement:
    cluster = cluster or ClusterLayer(api_audiences=("api",))
    asked = review.decode_final(msgspec.json.encode(a_review(held, **(request or {}))))
    return enforcement.judge(asked, cluster, a_namespace(cluster, **annotations))


def a_deployment(template: Json | None = None, *, annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    held = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [a_container()], **spec}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template or held}}


DEPLOYMENT = {"kind": "Deployment", "group": "apps"}


def test_a_denial_says_all_at_once_the_field_first_the_cure_last() -> None:
    pod = a_pod(a_container("a", ("t", "/t")), a_container("b", ("t", "/t")), volumes=[api_access("t")])
    for container in pod["spec"]["containers"]:
        container["volumeMounts"][0]["readOnly"] = False
    said = judged(pod, enforce="strict")
    assert said.outcome == "denied"
    assert said.message == (
        'violates boundtoken "strict:v1": spec.volumes.projected.sources.serviceAccountToken.expirationSeconds: volume "t": 3607 '
        "becomes a year; set boundtoken.dev/inject: enabled, or ask for 3600; spec.containers.volumeMounts.readOnly: "
        'containers "a", "b": '
        'volume "t" holds a token and is mounted writable; set readOnly: true'
    )
    response = enforcement.respond("u", said)
    assert (response.allowed, response.status, response.warnings) == (
        False,
        review.Status(said.message, 403, "Forbidden"),
        msgspec.UNSET,
    )


def test_each_mode_does_its_own_and_a_denial_has_no_warnings() -> None:
    both = judged(YEAR, enforce="bound", warn="strict", audit="strict")
    assert (both.outcome, both.warnings) == ("denied", ())
    assert both.audit["violations"].startswith("strict:v1: spec.volumes")
    warned = judged(YEAR, warn="bound")
    assert (warned.outcome, warned.message, len(warned.warnings)) == ("warned", "", 1)
    assert warned.warnings[0].startswith('would violate boundtoken "bound:v1": spec.volumes')
    assert len(warned.warnings[0]) <= names.MAX_WARNING_CHARS
    audited = judged(YEAR, audit="bound")
    assert (audited.outcome, audited.reason, "violations" in audited.audit) == ("unchanged", "violates", True)
    assert judged(YEAR).reason == "not-enforced"
    assert judged(a_pod(), enforce="strict").reason == "complies"


def test_evaluations_are_counted_once_for_each_mode() -> None:
    said = judged(YEAR, enforce="bound", warn="strict", audit="off")
    assert said.evaluations == (("deny", "enforce", "bound"), ("deny", "warn", "strict"))


@pytest.mark.parametrize(
    ("annotations", "seconds", "outcome"),
    [
        ({}, 86400, "unchanged"),
        ({}, 86401, "denied"),
        ({"max_expiration_seconds": "7200"}, 7201, "denied"),
        ({"max_expiration_seconds": "100000"}, 90000, "unchanged"),
    ],
)
def test_the_maximum_of_the_namespace_stands_for_that_of_the_level(annotations: Any, seconds: int, outcome: str) -> None:
    pod = a_pod(volumes=[api_access("t", seconds=seconds)])
    assert judged(pod, enforce="bound", **annotations).outcome == outcome


def test_where_nobody_knows_the_api_servers_audiences_any_may_be_one() -> None:
    pod = a_pod(volumes=[api_access("t", audience="elsewhere")])
    assert judged(pod, ClusterLayer(), enforce="bound").outcome == "denied"
    assert judged(pod, ClusterLayer(api_audiences=("api",)), enforce="bound").outcome == "unchanged"


@pytest.mark.parametrize(
    ("text", "level"),
    [("Bound", "bound"), (" strict ", "strict"), ("OFF", "off"), ("true", "strict"), ("", "strict"), ("bond", "strict")],
)
def test_a_fault_in_enforce_counts_as_the_strictest_that_could_be_meant(text: str, level: str) -> None:
    said, problems = demands.read({names.ENFORCE: text})
    assert said.enforce.level == level
    assert problems == [(names.ENFORCE, text, f'counts as "{level}", must be "off", "bound" or "strict", spelled exactly so')]
    assert "error" in judged(a_pod(), enforce=text).audit


def test_a_fault_in_warn_or_audit_is_only_noted() -> None:
    said, problems = demands.read({names.WARN: "Bound", names.AUDIT: "x"})
    assert said == Demands()
    assert len(problems) == 2
    assert judged(YEAR, warn="Bound").outcome == "unchanged"


def test_a_version_is_pinned_and_an_unknown_one_is_the_latest() -> None:
    assert demands.read({names.ENFORCE: "bound", names.ENFORCE_VERSION: "v1"})[0].enforce == Demand("bound", "v1")
    said, problems = demands.read({names.ENFORCE: "bound", names.ENFORCE_VERSION: "v9"})
    assert (said.enforce, len(problems)) == (Demand("bound", demands.LATEST), 1)


def test_the_floor_cannot_be_lowered() -> None:
    floor = ClusterLayer(enforce_floor="bound", api_audiences=("api",))
    assert judged(YEAR, floor, enforce="off").outcome == "denied"
    assert judged(YEAR, floor).outcome == "denied"
    assert judged(a_pod(volumes=[api_access("t", seconds=7200)]), floor, enforce="strict").outcome == "denied"


@pytest.mark.parametrize(
    ("exemptions", "kind"),
    [
        (Exemptions(namespaces=frozenset({"shop"})), "namespace"),
        (Exemptions(usernames=frozenset({"alice"})), "user"),
        (Exemptions(service_accounts=frozenset({"shop/default"})), "serviceAccount"),
        (Exemptions(runtime_classes=frozenset({"kata"})), "runtimeClass"),
    ],
)
def test_who_is_exempt_is_not_judged_and_that_is_told(exemptions: Exemptions, kind: str) -> None:
    pod = automounted(a_pod(runtimeClassName="kata"))
    said = judged(pod, ClusterLayer(exemptions=exemptions), enforce="strict", audit="bound")
    assert (said.outcome, said.reason, said.audit["exempt"]) == ("unchanged", "exempt", kind)
    assert said.evaluations == (("exempt", "enforce", "strict"), ("exempt", "audit", "bound"))


def test_an_empty_runtime_class_is_not_exempt() -> None:
    exemptions = Exemptions(runtime_classes=frozenset({"kata"}), service_accounts=frozenset({"shop/other"}))
    assert judged(YEAR, ClusterLayer(exemptions=exemptions), enforce="bound").outcome == "denied"


@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE"},
        {"namespace": "kube-system"},
        {"namespace": "boundtoken-system"},
        {"subResource": "eviction"},
    ],
)
def test_what_is_not_judged(request_: Json) -> None:
    assert judged(YEAR, request=request_, enforce="strict").outcome == "unchanged"


def test_only_what_an_ephemeral_container_brings_is_judged() -> None:
    old = YEAR
    volume = old["spec"]["volumes"][0]["name"]
    plain, reaching = a_container("debug"), a_container("debug", (volume, "/t"))
    request = {"operation": "UPDATE", "subResource": "ephemeralcontainers", "oldObject": old}
    for newcomer, outcome in ((plain, "unchanged"), (reaching, "denied")):
        pod = {**old, "spec": {**old["spec"], "ephemeralContainers": [newcomer]}}
        assert judged(pod, request=request, enforce="bound").outcome == outcome


TEMPLATES = [
    ("nothing asked for", {}, {}, {}, ["token-lifetime"], True),
    ("automount spelled out", {}, {"automountServiceAccountToken": True}, {}, ["token-lifetime"], False),
    ("automount refused", {}, {"automountServiceAccountToken": False}, {}, [], False),
    ("injected", {"inject": "enabled", "automount": "disabled"}, {}, {}, [], True),
    ("rewritten", {"inject": "enabled"}, {}, {}, ["automounted-volume"], True),
    ("stripped", {"automount": "disabled"}, {}, {}, [], True),
    ("injected elsewhere", {"inject": "enabled", "mount_path": "/t"}, {}, {}, ["automounted-volume"], True),
    ("too long", {"inject": "enabled", "automount": "disabled", "expiration_seconds": "7200"}, {}, {}, ["token-lifetime"], False),
    (
        "opted out", {"inject": "enabled", "automount": "disabled"}, {},
        {"boundtoken.dev/inject": "disabled", "boundtoken.dev/automount": "enabled"}, ["token-lifetime"], True,
    ),
    (
        "skipped container", {"inject": "enabled", "automount": "disabled"}, {},
        {"boundtoken.dev/skip-containers": "app"}, ["token-lifetime", "automounted-volume"], True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("annotations", "spec", "own", "rules", "unless"), [row[1:] for row in TEMPLATES], ids=[row[0] for row in TEMPLATES])  # fmt: skip
def test_a_template_is_judged_with_what_admission_will_add(
    annotations: dict[str, str], spec: Json, own: dict[str, str], rules: list[str], unless: bool
) -> None:
    said = judged(a_deployment(annotations=own, **spec), request=DEPLOYMENT, warn="strict", enforce="strict", **annotations)
    fields = {"token-lifetime": "expirationSeconds: ", "automounted-volume": "spec.volumes.projected: "}
    assert said.message == ""
    assert said.outcome == ("warned" if rules else "unchanged")
    for rule, field in fields.items():
        if rule in rules:
            assert any(field in warning for warning in said.warnings), said.warnings
    expected = judged(a_deployment(annotations=own, **spec), request=DEPLOYMENT, audit="strict", **annotations)
    assert (enforcement.UNLESS in expected.audit.get("violations", "")) is (bool(rules) and unless)


def test_the_template_of_another_workload_is_left_to_its_owner() -> None:
    held = a_deployment()
    held["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "controller": True}]
    assert judged(held, request={"kind": "ReplicaSet", "group": "apps"}, warn="strict").reason == "left-to-owner"


def test_a_cron_job_is_looked_into() -> None:
    held = {"metadata": {}, "spec": {"jobTemplate": {"spec": a_deployment()["spec"]}}}
    assert judged(held, request={"kind": "CronJob", "group": "batch"}, warn="bound").outcome == "warned"


TOKEN_REQUEST = {
    "kind": "TokenRequest",
    "group": "authentication.k8s.io",
    "subResource": "token",
    "resource": {"group": "", "version": "v1", "resource": "serviceaccounts"},
}


@pytest.mark.parametrize(
    ("spec", "user", "denied"),
    [
        ({"expirationSeconds": 3600, "audiences": ["api"]}, {}, False),
        ({"expirationSeconds": 7201, "audiences": ["api"]}, {}, True),
        ({"expirationSeconds": 4294967296, "audiences": None}, {}, True),
        ({"expirationSeconds": 3600, "audiences": ["vault"]}, {}, False),
        ({"expirationSeconds": 3600, "audiences": ["api", "elsewhere"]}, {}, True),
        ({"expirationSeconds": 3607, "audiences": ["api"]}, {}, False),
        ({"expirationSeconds": 3607, "audiences": ["api"], "boundObjectRef": {"kind": "Pod"}}, {}, True),
        ({"expirationSeconds": 99999, "audiences": ["x"]}, {"username": "system:node:n", "groups": ["system:nodes"]}, False),
        ({"expirationSeconds": 99999, "audiences": ["api"]}, {"username": "system:kube-controller-manager"}, False),
        (
            {"expirationSeconds": 99999, "audiences": ["x"], "boundObjectRef": {"kind": "MutatingWebhookConfiguration"}},
            {},
            False,
        ),
    ],
)
def test_token_requests_are_held_to_the_namespace(spec: Json, user: Json, *, denied: bool) -> None:
    cluster = ClusterLayer(locks=Locks(7200, frozenset({"vault"})), api_audiences=("api",), governs_token_requests=True)
    request = {**TOKEN_REQUEST, "userInfo": {"username": "alice", "groups": ["people"], **user}}
    for dry_run in (False, True):
        assert bool(judged({"spec": spec}, cluster, request={**request, "dryRun": dry_run}).message) is denied


def test_token_requests_and_legacy_secrets_are_governed_only_where_it_is_switched_on() -> None:
    far = {"spec": {"expirationSeconds": 4294967296}}
    assert judged(far, request=TOKEN_REQUEST, enforce="strict").reason == "not-enforced"
    secret = {"metadata": {"name": "s"}, "type": "kubernetes.io/service-account-token"}
    assert judged(secret, request={"kind": "Secret"}).reason == "not-enforced"
    governing = ClusterLayer(governs_legacy_secrets=True, governs_token_requests=True)
    assert "kubectl create token" in judged(secret, governing, request={"kind": "Secret"}).message
    assert judged({**secret, "type": "Opaque"}, governing, request={"kind": "Secret"}).message == ""
    assert judged(far, governing, request=TOKEN_REQUEST, enforce="bound").outcome == "denied"
    assert judged(far, governing, request=TOKEN_REQUEST).outcome == "unchanged"


@pytest.mark.parametrize(
    "exemptions",
    [
        Exemptions(usernames=frozenset({"alice"})),
        Exemptions(namespaces=frozenset({"shop"})),
        Exemptions(service_accounts=frozenset({"shop/default"})),
    ],
)
def test_exemptions_hold_for_token_requests_too(exemptions: Exemptions) -> None:
    far = {"spec": {"expirationSeconds": 4294967296}}
    for spared, reason in ((exemptions, "exempt"), (Exemptions(), "violates")):
        cluster = ClusterLayer(governs_token_requests=True, exemptions=spared)
        assert judged(far, cluster, request={**TOKEN_REQUEST, "name": "default"}, enforce="bound").reason == reason


def test_a_template_where_only_pods_are_enforced_is_not_judged() -> None:
    assert judged(a_deployment(), request=DEPLOYMENT, enforce="strict").reason == "not-enforced"
