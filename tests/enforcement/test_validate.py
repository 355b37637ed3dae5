"""Judging: modes, levels, templates, exemptions and faults; the rules themselves are in the
conformance fixtures.
"""

import re
from typing import Any

import msgspec
import pytest

from tests.support.builders import (
    Json,
    a_container,
    a_pod,
    a_review,
    api_access,
    automounted,
    response_to,
    validating_decision,
)
from tests.support.maxima import MAXIMA
from webhook.core import levels, names, review
from webhook.core.faults import Fault
from webhook.core.levels import EnforcementPolicy, LevelVersion
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.enforcement import namespaces, rules, validate

YEAR = automounted(a_pod())


def deployment_of(
    template: Json | None = None, *, annotations: dict[str, str] | None = None, **spec: Any
) -> Json:
    pod_template = {
        "metadata": {"annotations": annotations or {}},
        "spec": {"containers": [a_container()], **spec},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": template or pod_template},
    }


DEPLOYMENT = {"kind": "Deployment", "group": "apps"}


def rules_in(text: str) -> list[str]:
    """The rules that a message names, each with its brackets before what it says."""
    return re.findall(r"\[([a-z-]+)\] ", text)


def rules_denied(object_: Json, cluster: ClusterPolicy | None = None, **options: Any) -> list[str]:
    """All the rules that a denial names; none where the object complies."""
    decision = validating_decision(object_, cluster, **options)
    rules = rules_in(decision.denial)
    outcome = ("denied", "violates") if rules else ("unchanged", "complies")
    assert (decision.outcome, decision.reason) == outcome
    return rules


def test_a_denial_says_all_at_once_who_demands_it_first_the_fix_last() -> None:
    pod = a_pod(
        a_container("a", ("t", "/t")), a_container("b", ("t", "/t")), volumes=[api_access("t")]
    )
    for container in pod["spec"]["containers"]:
        container["volumeMounts"][0]["readOnly"] = False
    decision = validating_decision(pod, enforce="strict")
    assert decision.outcome == "denied"
    assert decision.denial == (
        'namespace "shop" enforces "strict:v1": [token-lifetime] volume "t": 3607 makes a token valid for one year, not 3600 s; '
        "set expirationSeconds to 3600 or less. "
        '[token-mount] container "a" (volume t), container "b" (volume t): a token must be mounted read-only; set readOnly: true'
    )
    response = response_to(decision)
    assert response["status"] == {"message": decision.denial, "code": 403, "reason": "Forbidden"}
    assert response["allowed"] is False
    assert "warnings" not in response


@pytest.mark.parametrize(
    ("namespace", "pod", "fix"),
    [
        ("disabled", "disabled", rules.RULES[0].checks[0].fix),
        ("replace", "disabled", rules.OPTED_OUT),
        ("replace", "enabled", rules.NOT_CHANGED),
        ("enabled", "", rules.NOT_CHANGED),
    ],
)
def test_where_the_namespace_is_annotated_no_denial_advises_to_annotate_it(
    namespace: str, pod: str, fix: str
) -> None:
    created = automounted(a_pod(annotations={names.INJECT: pod} if pod else {}))
    denial = validating_decision(created, enforce="strict", inject=namespace).denial
    years, automounts = denial.split(". ")
    assert years.endswith(f"valid for one year, not 3600 s; {fix}")
    assert (f"{names.AUTOMOUNT}=disabled, inject=replace" in automounts) == (
        namespace == "disabled"
    )


def test_what_was_rewritten_in_place_is_told_how_to_be_strict() -> None:
    pod = automounted(a_pod())
    for source in pod["spec"]["volumes"][0]["projected"]["sources"]:
        if token := source.get("serviceAccountToken"):
            token["expirationSeconds"] = 3600
    denial = validating_decision(pod, enforce="strict", inject="replace").denial
    assert rules_in(denial) == ["automounted-volume"]
    assert f"{names.AUTOMOUNT}=disabled, inject=replace" in denial


def test_each_mode_does_its_own_and_a_denial_has_no_warnings() -> None:
    both = validating_decision(YEAR, enforce="bound", warn="strict", audit="strict")
    assert (both.outcome, both.warnings) == ("denied", ())
    assert both.audit["violations"].startswith("strict:v1: [token-lifetime] volume")
    warned = validating_decision(YEAR, warn="bound")
    assert (warned.outcome, warned.denial, len(warned.warnings)) == ("warned", "", 1)
    assert warned.warnings[0].startswith('would violate boundtoken "bound:v1": [token-lifetime]')
    assert len(warned.warnings[0]) <= names.MAX_WARNING_CHARS
    audited = validating_decision(YEAR, audit="bound")
    assert (audited.outcome, audited.reason, "violations" in audited.audit) == (
        "unchanged",
        "violates",
        True,
    )
    assert validating_decision(YEAR).reason == "not-enforced"
    assert validating_decision(a_pod(), enforce="strict").reason == "complies"


def test_evaluations_are_counted_once_for_each_mode() -> None:
    decision = validating_decision(YEAR, enforce="bound", warn="strict", audit="off")
    assert decision.evaluations == (("deny", "enforce", "bound"), ("deny", "warn", "strict"))


def test_where_nobody_knows_the_api_servers_audiences_any_may_be_one() -> None:
    pod = a_pod(volumes=[api_access("t", audience="elsewhere")])
    assert validating_decision(pod, ClusterPolicy(), enforce="bound").outcome == "denied"
    assert (
        validating_decision(pod, ClusterPolicy(api_audiences=("api",)), enforce="bound").reason
        == "complies"
    )


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("Bound", "strict"),
        (" strict ", "strict"),
        ("OFF", "strict"),
        ("true", "strict"),
        ("", "strict"),
        ("bond", "strict"),
    ],
)
def test_a_fault_in_enforce_counts_as_the_strictest(text: str, level: str) -> None:
    enforcement, problems = levels.read({names.ENFORCE: text})
    assert enforcement.enforce.level == level
    assert problems == [
        Fault(
            "namespace",
            names.ENFORCE,
            text,
            f'counts as "{level}", must be "off", "bound" or "strict", spelled exactly so',
        )
    ]
    audit = validating_decision(a_pod(), enforce=text).audit
    assert audit["faults"] == str(problems[0])
    assert audit.keys() <= {"policy", "faults", "violations"}


def test_a_fault_in_warn_or_audit_is_only_noted() -> None:
    enforcement, problems = levels.read({names.WARN: "Bound", names.AUDIT: "x"})
    assert enforcement == EnforcementPolicy()
    assert len(problems) == 2
    assert validating_decision(YEAR, warn="Bound").reason == "not-enforced"


def test_a_version_is_pinned_and_an_unknown_one_is_the_latest() -> None:
    assert levels.read({names.ENFORCE: "bound", names.ENFORCE_VERSION: "v1"})[
        0
    ].enforce == LevelVersion("bound", "v1")
    enforcement, problems = levels.read({names.ENFORCE: "bound", names.ENFORCE_VERSION: "v9"})
    assert (enforcement.enforce, len(problems)) == (LevelVersion("bound", levels.LATEST), 1)


@pytest.mark.parametrize(("lock", "set_here", "own", "floor", "floor_maximum", "maximum"), MAXIMA)
def test_of_own_level_and_floor_the_smaller_maximum_holds(  # noqa: PLR0917  (the columns of the table)
    lock: int | None,
    set_here: str | None,
    own: Any,
    floor: Any,
    floor_maximum: int | None,
    maximum: int,
) -> None:
    cluster = ClusterPolicy(
        locks=Locks() if lock is None else Locks(max_expiration_seconds=lock),
        api_audiences=("api",),
        enforce_floor=floor,
        enforce_floor_max_expiration_seconds=floor_maximum,
    )
    annotations = {"enforce": own} | (
        {} if set_here is None else {"max_expiration_seconds": set_here}
    )
    for seconds, found in ((maximum, []), (maximum + 1, ["token-lifetime"])):
        if seconds <= 1 << 32:
            pod = a_pod(volumes=[api_access("t", seconds=seconds)])
            assert rules_denied(pod, cluster, **annotations) == found, seconds


def test_a_year_is_allowed_where_the_maximum_is_a_year_and_refused_a_second_below() -> None:
    pod = a_pod(volumes=[api_access("t")])
    for maximum, found in (("31536000", []), ("31535999", ["token-lifetime"])):
        assert rules_denied(pod, enforce="bound", max_expiration_seconds=maximum) == found


def test_a_token_without_a_lifetime_is_judged_by_what_the_api_server_makes_of_it() -> None:
    pod = a_pod(volumes=[api_access("t", seconds=None)])
    for maximum, found in (("3600", []), ("3599", ["token-lifetime"])):
        assert rules_denied(pod, enforce="bound", max_expiration_seconds=maximum) == found


def test_a_template_is_expected_to_get_further_tokens_where_a_container_has_room_for_them() -> None:
    annotations = {
        "warn": "bound",
        "inject": "enabled",
        "automount": "disabled",
        "tokens": "a=x;90000",
    }
    for path, expected in ((names.TOKENS_PATH, False), ("/data", True)):
        deployment = deployment_of(containers=[a_container("app", ("own", path))])
        decision = validating_decision(deployment, request=DEPLOYMENT, **annotations)
        assert ("boundtoken-tokens" in "".join(decision.warnings)) is expected, path


def test_a_token_request_without_a_lifetime_is_judged_by_what_the_api_server_makes_of_it() -> None:
    enforcing = ClusterPolicy(token_requests="enforce")
    for maximum, outcome in (("3600", "unchanged"), ("3599", "denied")):
        decision = validating_decision(
            {"spec": {}}, enforcing, request=TOKEN_REQUEST, max_expiration_seconds=maximum
        )
        assert decision.outcome == outcome


def test_a_fault_in_allowed_audiences_allows_the_api_servers_own_only() -> None:
    for text in ("vault, https://a b", "x" * 8193, "vault,\x00"):
        for audience, found in ((None, []), ("api", []), ("vault", ["token-audience"])):
            pod = a_pod(volumes=[api_access("t", seconds=3600, audience=audience)])
            assert rules_denied(pod, enforce="bound", allowed_audiences=text) == found
    pod = a_pod(volumes=[api_access("t", seconds=3600, audience="é")])
    assert rules_denied(pod, enforce="bound", allowed_audiences="é") == []


def test_a_denial_under_the_floor_names_the_floor() -> None:
    floor = ClusterPolicy(enforce_floor="bound", api_audiences=("api",))
    assert validating_decision(YEAR, floor, enforce="off").denial.startswith(
        'namespace "shop" is under the cluster\'s enforceFloor "bound": ['
    )
    both = validating_decision(YEAR, floor, enforce="strict")
    assert both.denial.startswith(
        'namespace "shop" enforces "strict:v1" under the cluster\'s enforceFloor "bound": ['
    )
    assert both.evaluations == (("deny", "enforce", "strict"),)


def test_the_floor_cannot_be_lowered() -> None:
    floor = ClusterPolicy(enforce_floor="bound", api_audiences=("api",))
    assert validating_decision(YEAR, floor, enforce="off").outcome == "denied"
    assert validating_decision(YEAR, floor).outcome == "denied"
    assert (
        validating_decision(
            a_pod(volumes=[api_access("t", seconds=7200)]), floor, enforce="strict"
        ).outcome
        == "denied"
    )


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
    decision = validating_decision(
        pod, ClusterPolicy(exemptions=exemptions), enforce="strict", audit="bound"
    )
    assert (decision.outcome, decision.reason, decision.audit["exempt"]) == (
        "unchanged",
        "exempt",
        kind,
    )
    assert decision.evaluations == (("exempt", "enforce", "strict"), ("exempt", "audit", "bound"))


def test_an_empty_runtime_class_is_not_exempt() -> None:
    exemptions = Exemptions(
        runtime_classes=frozenset({"kata"}), service_accounts=frozenset({"shop/other"})
    )
    assert (
        validating_decision(YEAR, ClusterPolicy(exemptions=exemptions), enforce="bound").outcome
        == "denied"
    )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"operation": "UPDATE"}, "not-applicable"),
        ({"operation": "DELETE"}, "not-applicable"),
        ({"namespace": "kube-system"}, "excluded-namespace"),
        ({"namespace": "boundtoken-system"}, "own-namespace"),
        ({"subResource": "eviction"}, "not-applicable"),
    ],
)
def test_what_is_not_judged(request_: Json, reason: str) -> None:
    skipped = validating_decision(YEAR, request=request_, enforce="strict")
    assert (skipped.outcome, skipped.reason) == ("unchanged", reason)


def test_only_what_an_ephemeral_container_brings_is_judged() -> None:
    old = YEAR
    volume = old["spec"]["volumes"][0]["name"]
    plain, reaching = a_container("debug"), a_container("debug", (volume, "/t"))
    request = {"operation": "UPDATE", "subResource": "ephemeralcontainers", "oldObject": old}
    for newcomer, found in ((plain, []), (reaching, ["token-lifetime"])):
        pod = {**old, "spec": {**old["spec"], "ephemeralContainers": [newcomer]}}
        assert rules_denied(pod, request=request, enforce="bound") == found


TEMPLATES = [
    ("nothing asked for", {}, {}, {}, ["token-lifetime", "automounted-volume"], True),
    ("automount spelled out", {}, {"automountServiceAccountToken": True}, {}, ["token-lifetime", "automounted-volume"], False),
    ("automount refused", {}, {"automountServiceAccountToken": False}, {}, [], False),
    ("injected", {"inject": "enabled", "automount": "disabled"}, {}, {}, [], True),
    ("rewritten", {"inject": "enabled"}, {}, {}, ["automounted-volume"], True),
    ("stripped", {"automount": "disabled"}, {}, {}, [], True),
    ("replaced", {"inject": "replace", "automount": "disabled"}, {}, {}, [], True),
    ("replaced in place", {"inject": "replace"}, {}, {}, ["automounted-volume"], True),
    ("nothing to replace", {"inject": "replace", "expiration_seconds": "7200"}, {"automountServiceAccountToken": False}, {}, [], False),
    ("too long, if at all", {"inject": "replace", "automount": "disabled", "expiration_seconds": "7200"}, {}, {}, ["token-lifetime"], True),
    ("injected elsewhere", {"inject": "enabled", "mount_path": "/t"}, {}, {}, ["automounted-volume"], True),
    ("too long", {"inject": "enabled", "automount": "disabled", "expiration_seconds": "7200"}, {}, {}, ["token-lifetime"], False),
    (
        "opted out", {"inject": "enabled", "automount": "disabled"}, {},
        {"boundtoken.dev/inject": "disabled", "boundtoken.dev/automount": "enabled"},
        ["token-lifetime", "automounted-volume"], True,
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
    decision = validating_decision(
        deployment_of(annotations=own, **spec),
        request=DEPLOYMENT,
        warn="strict",
        enforce="strict",
        **annotations,
    )
    assert decision.denial == ""
    outcome = ("warned", "violates") if rules else ("unchanged", "complies")
    assert (decision.outcome, decision.reason) == outcome
    assert [rules_in(warning) for warning in decision.warnings] == [[rule] for rule in rules]
    violations = validating_decision(
        deployment_of(annotations=own, **spec), request=DEPLOYMENT, audit="strict", **annotations
    ).audit.get("violations", "")
    assert rules_in(violations) == rules
    assert (validate.CONDITION in violations) is (bool(rules) and unless)


@pytest.mark.parametrize(("inject", "reason"), [("enabled", "violates"), ("replace", "complies")])
def test_a_template_whose_containers_leave_the_plugin_nothing_to_add_is_not_replaced(
    inject: str, reason: str
) -> None:
    own = a_container("app", ("own", names.DEFAULT_PATH))
    workload = deployment_of(
        containers=[own], volumes=[{"name": "own", "emptyDir": {}}], serviceAccountName="x"
    )
    decision = validating_decision(
        workload, request=DEPLOYMENT, warn="strict", inject=inject, tokens="a=x;7200"
    )
    assert decision.reason == reason


def test_the_template_of_another_workload_is_left_to_its_owner() -> None:
    replica_set = deployment_of()
    replica_set["metadata"]["ownerReferences"] = [
        {"kind": "Deployment", "name": "web", "controller": True}
    ]
    assert (
        validating_decision(
            replica_set, request={"kind": "ReplicaSet", "group": "apps"}, warn="strict"
        ).reason
        == "left-to-owner"
    )


def test_a_cron_job_is_looked_into() -> None:
    cron_job = {"metadata": {}, "spec": {"jobTemplate": {"spec": deployment_of()["spec"]}}}
    assert (
        validating_decision(
            cron_job, request={"kind": "CronJob", "group": "batch"}, warn="bound"
        ).outcome
        == "warned"
    )


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
        (
            {"expirationSeconds": 3607, "audiences": ["api"], "boundObjectRef": {"kind": "Pod"}},
            {},
            True,
        ),
        (
            {"expirationSeconds": 99999, "audiences": ["x"]},
            {"username": "system:node:n", "groups": ["system:nodes"]},
            False,
        ),
        (
            {"expirationSeconds": 99999, "audiences": ["x"]},
            {"username": "eve", "groups": ["system:nodes"]},
            True,
        ),
        (
            {"expirationSeconds": 99999, "audiences": ["x"]},
            {"username": "system:node:n", "groups": []},
            True,
        ),
        (
            {"expirationSeconds": 99999, "audiences": ["x"]},
            {"username": "system:serviceaccount:kube-system:c"},
            False,
        ),
        (
            {"expirationSeconds": 99999, "audiences": ["x"]},
            {"username": "system:serviceaccount:kube-systems:c"},
            True,
        ),
        (
            {"expirationSeconds": 99999, "audiences": ["api"]},
            {"username": "system:kube-controller-manager"},
            False,
        ),
        (
            {
                "expirationSeconds": 99999,
                "audiences": ["x"],
                "boundObjectRef": {"kind": "MutatingWebhookConfiguration"},
            },
            {},
            False,
        ),
    ],
)
def test_token_requests_are_held_to_the_namespace(spec: Json, user: Json, *, denied: bool) -> None:
    locks = Locks(max_expiration_seconds=7200, allowed_audiences=frozenset({"vault"}))
    cluster = ClusterPolicy(locks=locks, api_audiences=("api",), token_requests="enforce")
    request = {**TOKEN_REQUEST, "userInfo": {"username": "alice", "groups": ["people"], **user}}
    for dry_run in (False, True):
        assert (
            bool(
                validating_decision(
                    {"spec": spec}, cluster, request={**request, "dryRun": dry_run}
                ).denial
            )
            is denied
        )


def test_token_requests_and_legacy_secrets_are_judged_only_where_it_is_switched_on() -> None:
    far = {"spec": {"expirationSeconds": 4294967296}}
    assert (
        validating_decision(far, request=TOKEN_REQUEST, enforce="strict").reason == "not-enforced"
    )
    secret = {"metadata": {"name": "s"}, "type": "kubernetes.io/service-account-token"}
    assert validating_decision(secret, request={"kind": "Secret"}).reason == "not-enforced"
    for mode, outcome in (("warn", "warned"), ("enforce", "denied")):
        governing = ClusterPolicy(token_requests=mode, legacy_secrets=mode)  # type: ignore[arg-type]
        decision = validating_decision(secret, governing, request={"kind": "Secret"})
        assert (
            decision.outcome,
            "kubectl create token" in (*decision.warnings, decision.denial)[0],
        ) == (
            outcome,
            True,
        )
        assert (
            validating_decision(
                {**secret, "type": "Opaque"}, governing, request={"kind": "Secret"}
            ).reason
            == "complies"
        )
        for name in ("shop", "kube-system", "boundtoken-system"):
            assert (
                validating_decision(
                    far, governing, request={**TOKEN_REQUEST, "namespace": name}
                ).outcome
                == outcome
            )


def test_a_token_request_is_told_all_that_is_wrong_and_the_flags_that_help() -> None:
    cluster = ClusterPolicy(
        api_audiences=("api",), token_requests="enforce", token_requests_max_expiration_seconds=7200
    )
    token_request = {"spec": {"expirationSeconds": 9000, "audiences": ["elsewhere", "vault"]}}
    decision = validating_decision(
        token_request,
        cluster,
        request={**TOKEN_REQUEST, "name": "ci"},
        allowed_audiences="vault, aws",
    )
    assert decision.denial == (
        'token of service account "ci" in namespace "shop": [token-lifetime] 9000 s are asked for, and at most 7200 s are allowed; '
        'use --duration=7200s or less. [token-audience] audience "elsewhere" is not allowed; leave --audience out, or use one of '
        '"vault", "aws"'
    )


@pytest.mark.parametrize(
    ("exemptions", "username", "reason"),
    [
        (Exemptions(usernames=frozenset({"alice"})), "alice", "exempt"),
        (
            Exemptions(service_accounts=frozenset({"ci/deployer"})),
            "system:serviceaccount:ci:deployer",
            "exempt",
        ),
        (Exemptions(service_accounts=frozenset({"shop/default"})), "alice", "violates"),
        (Exemptions(namespaces=frozenset({"shop"})), "alice", "violates"),
        (Exemptions(), "alice", "violates"),
    ],
)
def test_who_asks_for_a_token_is_exempt_and_not_the_account_that_is_asked_for(
    exemptions: Exemptions, username: str, reason: str
) -> None:
    far = {"spec": {"expirationSeconds": 4294967296}}
    cluster = ClusterPolicy(token_requests="enforce", exemptions=exemptions)
    request = {**TOKEN_REQUEST, "name": "default", "userInfo": {"username": username}}
    assert validating_decision(far, cluster, request=request).reason == reason


def test_a_template_where_only_pods_are_enforced_is_not_judged() -> None:
    assert (
        validating_decision(deployment_of(), request=DEPLOYMENT, enforce="strict").reason
        == "not-enforced"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("kube-system", "excluded-namespace"),
        ("boundtoken-system", "own-namespace"),
        ("shop", "not-enforced"),
    ],
)
def test_a_change_of_a_namespace_is_about_the_namespace_of_its_name(name: str, reason: str) -> None:
    """Whatever stands in `request.namespace`: a Namespace is in none."""
    body = a_review({"metadata": {"name": name}}, kind="Namespace", operation="UPDATE")
    body["request"] |= {"name": name, "namespace": ""}
    request = review.decode_full(msgspec.json.encode(body))
    assert validate.skip_reason(request, ClusterPolicy()) is None
    assert namespaces.review(request, ClusterPolicy()).decision.reason == reason
