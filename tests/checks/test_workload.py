"""Every check of a workload: the usual complaints, and what is right."""

import dataclasses
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.checks.installations import NOW
from tests.support.builders import Json, a_container
from webhook.checks.model import Result, Unseen, run
from webhook.checks.workload import (
    ANNOTATE_IT_ALONE,
    NEVER_EXPIRES,
    NO_OVERRIDES,
    REFUSED,
    Frozen,
    OfSecrets,
    Pod,
    PodToken,
    Refusal,
    Secret,
    Workload,
    checks,
)
from webhook.core import names
from webhook.core.full_views import FullPod, FullSpec

TOKEN = PodToken("boundtoken", "token", "", 3600, (names.DEFAULT_PATH,))
POD = Pod("web-1", NOW - timedelta(hours=2), (TOKEN,), differs=False)


def a_workload(**fields: Any) -> Workload:
    made = Workload(
        "deployment/web",
        "shop",
        NOW,
        "web",
        is_account_missing=False,
        reason="injected",
        requested=True,
        unreached=(),
        would=(TOKEN,),
        pods=(POD,),
        restart="kubectl rollout restart deployment/web -n shop",
        bindings=("rolebinding/web",),
    )
    return dataclasses.replace(made, **fields)


def every(**fields: Any) -> dict[str, Result]:
    return {result.id: result for result in run(checks(), a_workload(**fields))}


def a_template(*, sub_path: str = "", read_only: bool = True) -> FullPod:
    mount: Json = {"name": "own", "mountPath": "/t", "readOnly": read_only}
    container = a_container() | {"volumeMounts": [{**mount, "subPath": sub_path}]}
    volume = {"name": "own", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    return msgspec.convert({"spec": {"containers": [container], "volumes": [volume]}}, FullPod)


def test_where_all_is_right_every_check_passes() -> None:
    assert {name: one.finding for name, one in every().items() if one.status != "passed"} == {}


def with_frozen(*tokens: PodToken) -> Pod:
    """A pod whose container has had these at /t for two hours."""
    frozen = (Frozen("app", "/t", NOW - timedelta(hours=2)),)
    return POD._replace(tokens=(TOKEN, *(token._replace(frozen=frozen) for token in tokens)))


YEAR = TOKEN._replace(seconds=3607)
REFUSAL = Refusal("replicaset/web-1", NOW - timedelta(hours=1), "denied")
STALE = a_template(sub_path="token")
FOREIGN = TOKEN._replace(audience="vault")
CASES: list[tuple[str, Json, str, str]] = [
    ("workload-account", {"is_account_missing": True}, "failed", "there is no serviceaccount/web"),
    ("workload-annotations", {"faults": ("bad",)}, "warning", "bad"),
    ("workload-called", {"unreached": ("no entry",)}, "failed", "no entry"),
    ("workload-called", {"unreached": ("no entry",), "requested": False}, "warning", "no entry"),
    ("workload-accepted", {"denial": "violates"}, "failed", "violates"),
    ("workload-accepted", {"refusals": (REFUSAL,)}, "failed", "event FailedCreate of replicaset/web-1 at 2026-03-01T11:00Z: denied"),
    ("workload-accepted", {"refusals": (REFUSAL._replace(times=5),)}, "failed", "T11:00Z, 5 times: denied"),
    ("workload-accepted", {"refusals": (REFUSAL._replace(time=NOW - timedelta(hours=3)),)}, "passed", "by no event"),
    ("workload-injected", {"pods": ()}, "passed", "it has no pods"),
    ("workload-injected", {"pods": (POD._replace(differs=True, causes=("older",)), POD)}, "failed", "1 of 2 pods differ from what they would get now: older"),
    ("workload-injected", {"pods": (POD._replace(differs=None),)}, "unknown", "is not known"),
    ("workload-token", {"pods": (POD._replace(tokens=()),)}, "failed", "pod/web-1 has none"),
    ("workload-token", {"pods": (POD._replace(tokens=()),), "requested": False}, "warning", "boundtoken's decision on its pods: injected"),
    ("workload-token", {"pods": (), "would": (TOKEN._replace(paths=()),)}, "failed", "its pods would have none"),
    ("workload-token", {"pods": (POD._replace(tokens=(), of_secrets=OfSecrets(("s",))),)}, "passed", "of secret/s"),
    ("workload-token", {"pods": (POD._replace(tokens=()),), "secrets": {"s": Secret(is_token=True, has_token=True)}}, "failed", "pod/web-1 has none"),
    ("workload-token", {"pods": (), "would": (), "would_of_secrets": OfSecrets(("s",))}, "passed", "of secret/s"),
    ("workload-token", {"pods": (POD._replace(tokens=(), of_secrets=OfSecrets((), ("s",))),), "secrets": {"s": Unseen("needs get")}}, "unknown", "secret/s may have the only one: needs get"),
    ("workload-token", {"pods": (POD._replace(tokens=()),), "reason": "pod-opted-out"}, "warning", "automountServiceAccountToken: false"),
    ("workload-token", {"pods": (POD._replace(tokens=()),), "reason": "nothing-to-replace"}, "warning", "only where Kubernetes has mounted one"),
    ("workload-audience", {"pods": (POD._replace(tokens=(FOREIGN,)),)}, "warning", "is for vault"),
    ("workload-audience", {"pods": (), "would": (FOREIGN,)}, "warning", "is for vault"),
    ("workload-refresh", {"template": STALE}, "failed", "container app: a file mounted by subPath is never refreshed"),
    ("workload-refresh", {"template": a_template(read_only=False)}, "warning", "a token must be mounted read-only"),
    ("workload-expired", {"pods": (with_frozen(TOKEN, YEAR),)}, "failed", "pod/web-1: container app has the same token at /t since 2026-03-01T10:00Z, and it lives 3600 s"),
    ("workload-expired", {"pods": (with_frozen(TOKEN._replace(seconds=3607, audience="vault")),), "api_audiences": ("https://api",)}, "failed", "it lives 3607 s"),
    ("workload-rights", {"bindings": ()}, "passed", "none is named; no role is bound to serviceaccount/web"),
    ("workload-rights", {"can": {"get/configmaps": False}}, "failed", "serviceaccount/web may not get configmaps"),
    ("workload-rights", {"can": {"get/configmaps": Unseen("needs a right")}}, "unknown", "needs a right"),
    ("workload-secrets", {"secrets": {"s": None}}, "failed", "secret/s is missing"),
    ("workload-secrets", {"secrets": {"s": Secret(is_token=True)}}, "failed", "secret/s has no token"),
    ("workload-secrets", {"secrets": {"s": Secret(is_token=True, has_token=True)}}, "warning", "never expires"),
    ("workload-secrets", {"secrets": {"s": Unseen("needs get")}}, "unknown", "secret/s: needs get"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "status", "text"), CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)])  # fmt: skip
def test_what_is_wrong_is_told(name: str, fields: Json, status: str, text: str) -> None:
    result = every(**fields)[name]
    assert (result.status, text in result.finding.text) == (status, True), result.finding


def test_a_denial_that_an_event_has_is_told_once() -> None:
    event = REFUSAL._replace(message="pods is forbidden: no level of this", times=3)
    text = every(denial="no level", refusals=(event,))["workload-accepted"].finding.text
    assert text == "no level; event FailedCreate of replicaset/web-1 at 2026-03-01T11:00Z, 3 times: the same"  # fmt: skip
    other = every(denial="another", refusals=(event,))["workload-accepted"].finding.text
    assert other.endswith("no level of this")


def test_of_pods_that_are_refused_nothing_is_told_while_there_is_none() -> None:
    for fields in ({"denial": "no"}, {"refusals": (REFUSAL,)}):
        found = every(pods=(), would=(), **fields)
        for name in ("workload-injected", "workload-token"):
            assert (found[name].status, found[name].finding.text) == ("unknown", REFUSED)
    found = every(denial="no")
    assert {found[f"workload-{name}"].status for name in ("injected", "token")} == {"passed"}


def test_each_check_fails_or_warns_in_some_case() -> None:
    assert {name for name, _, status, _ in CASES if status != "unknown"} == every().keys()


def test_where_nothing_was_seen_nothing_fails() -> None:
    found = {one.id: one for one in run(checks(), Workload("pod/web", "shop", NOW))}
    assert {one.status for one in found.values()} == {"passed", "unknown"}
    needs_more = ("account", "called", "injected", "token", "audience", "expired", "rights")
    assert all(found[f"workload-{name}"].status == "unknown" for name in needs_more)


def test_what_is_allowed_passes_and_a_foreign_token_elsewhere_too() -> None:
    found = every(
        can={"get/configmaps": True},
        bindings=(),
        template=a_template(),
        secrets={"s": Secret()},
        pods=(POD._replace(tokens=(TOKEN, FOREIGN._replace(paths=("/vault",)))),),
    )
    assert {one.status for one in found.values()} == {"passed"}


def test_an_audience_of_the_api_server_is_not_foreign() -> None:
    pods = (POD._replace(tokens=(TOKEN._replace(audience="https://api"),)),)
    assert every(pods=pods)["workload-audience"].status == "warning"
    found = every(pods=pods, api_audiences=("https://api",))
    assert found["workload-audience"].status == "passed"


@pytest.mark.parametrize(
    "pods", [(with_frozen(YEAR),), (with_frozen(TOKEN._replace(seconds=7201)),), (POD,)]
)
def test_a_token_that_is_refreshed_or_young_or_of_a_year_has_not_expired(
    pods: tuple[Pod, ...],
) -> None:
    assert every(template=STALE, pods=pods)["workload-expired"].status == "passed"


def test_a_command_has_no_name_that_a_shell_would_read() -> None:
    bad = every(account="x;reboot", is_account_missing=True, can={"get/pods": False})
    assert bad["workload-account"].finding.commands == ()
    assert bad["workload-rights"].finding.commands == ()
    good = every(is_account_missing=True, can={"get/pods": False})
    assert good["workload-account"].finding.commands == (
        "kubectl create serviceaccount web -n shop",
    )
    assert good["workload-rights"].finding.commands == (
        "kubectl create role web-get-pods -n shop --verb=get --resource=pods && "
        "kubectl create rolebinding web-get-pods -n shop --role=web-get-pods "
        "--serviceaccount=shop:web",
    )


def test_each_right_that_is_missing_has_a_role_of_its_own() -> None:
    can = dict.fromkeys(("get/pods", "get/secrets", "get/deployments.apps/scale"), False)
    commands = every(can=can)["workload-rights"].finding.commands
    roles = [command.split()[3] for command in commands]
    assert roles == ["web-get-pods", "web-get-secrets", "web-get-deployments.apps-scale"]


def test_the_annotation_that_helps_is_that_of_the_reason() -> None:
    def commands(reason: str, title: str = "deployment/web") -> tuple[str, ...]:
        pods = (POD._replace(tokens=()),)
        found = every(pods=pods, reason=reason, title=title, requested=False)
        return found["workload-token"].finding.commands[:-1]

    own = "kubectl annotate deployment/web -n shop boundtoken.dev/inject=enabled --overwrite"
    assert commands("pod-opted-out") == commands("nothing-to-replace") == (own,)
    assert commands("not-requested") == (
        "kubectl annotate namespace shop boundtoken.dev/inject=enabled",
    )
    assert commands("pod-opted-out", "pod/web") == commands("injected") == ()


def without_token(**fields: Any) -> Result:
    pods = (POD._replace(tokens=()),)
    fields = {"reason": "not-requested", "requested": False, **fields}
    return every(pods=pods, **fields)["workload-token"]


OPTS_OUT = FullPod(spec=FullSpec(automount_service_account_token=False))
OF_WORKLOAD = "kubectl annotate deployment/web -n shop boundtoken.dev/inject=enabled --overwrite"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"template": OPTS_OUT}, "automountServiceAccountToken: false"),
        ({"namespace_inject": "disabled"}, "namespace/shop says boundtoken.dev/inject=disabled"),
        ({"reason": "pod-opted-out"}, "automountServiceAccountToken: false"),
    ],
)
def test_where_somebody_wants_no_token_only_the_workload_is_annotated(
    fields: Json, text: str
) -> None:
    result = without_token(**fields)
    assert (result.status, text in result.finding.text) == ("warning", True)
    assert result.cure == ANNOTATE_IT_ALONE
    assert result.finding.commands[:-1] == (OF_WORKLOAD,)
    denied = without_token(**fields, can_override=False)
    assert (denied.cure, denied.finding.commands[:-1]) == (NO_OVERRIDES, ())
    assert without_token().cure.startswith("Annotate the namespace")


def test_what_is_to_be_known_of_a_restart_is_told_with_it() -> None:
    remark = "then delete its pods: its updateStrategy is OnDelete"
    differing = POD._replace(differs=True, causes=("older",))
    for name, pod in (("workload-injected", differing), ("workload-expired", with_frozen(TOKEN))):
        found = every(pods=(pod,), restart_remark=remark)[name].finding
        assert (found.status, found.text.endswith(f"; {remark}")) == ("failed", True)
    assert every(restart_remark=remark)["workload-expired"].finding.text == ""


def test_a_secret_that_has_its_token_is_not_to_be_created() -> None:
    has, lacks = Secret(is_token=True, has_token=True), Secret(is_token=True)
    assert every(secrets={"s": has})["workload-secrets"].cure == NEVER_EXPIRES
    assert every(secrets={"s": has, "t": lacks})["workload-secrets"].cure.startswith("Create the")
