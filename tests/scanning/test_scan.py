"""What a scan finds of typed objects: rows, findings, accounts, Secrets."""

import msgspec
import pytest

from tests.scanning.objects import (
    ISSUER,
    KNOWN,
    ON,
    TIME,
    a_secret,
    a_space,
    a_workload,
    account,
    codes,
    living,
    rows,
    scanned,
    with_token,
)
from tests.support.builders import (
    AUTOMOUNTED,
    Json,
    a_container,
    a_pod,
    api_access,
    automounted,
    mutated,
)
from webhook.core import names
from webhook.core.policy import ClusterPolicy, TokenPolicy
from webhook.core.views import Metadata
from webhook.scanning import views
from webhook.scanning.report import lifetime_text
from webhook.scanning.scan import Scan, Surroundings
from webhook.simulation.calling import Configuration


@pytest.mark.parametrize(
    ("seconds", "audience", "expected"),
    [
        (None, None, (3600, "1 h", "strict")),
        (600, "vault", (600, "10 min", "strict")),
        (3607, None, (31_536_000, "1 year", "none")),
        (3607, "", (31_536_000, "1 year", "none")),
        (3607, ISSUER, (31_536_000, "1 year", "none")),
        (3607, "vault", (3607, "1 h 7 s", "bound")),
        (86_400, None, (86_400, "1 day", "bound")),
        (86_401, None, (86_401, "1 day 1 s", "none")),
        (31_536_000, "vault", (31_536_000, "1 year", "none")),
        (1 << 32, None, (1 << 32, "136 years 70 days", "none")),
    ],
)
def test_what_a_projected_token_lives_and_which_level_it_reaches(
    seconds: int | None, audience: str | None, expected: tuple[int, str, str]
) -> None:
    (row,) = scanned(living(with_token(seconds, audience)), around=KNOWN).tokens
    assert (row.lifetime_seconds, row.lifetime, row.level) == expected
    assert (row.requested_seconds, row.audience) == (seconds, audience or "")
    assert (row.source, row.volume, row.file, row.rotated) == ("projected", "own", "token", True)
    assert row.mounts[0] == type(row.mounts[0])("app", "/own")


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({}, ("strict", True)),
        ({"readOnly": False}, ("bound", True)),
        ({"subPath": "token"}, ("bound", False)),
        ({"subPathExpr": "$(X)"}, ("bound", False)),
    ],
)
def test_a_writable_mount_and_a_sub_path_are_not_strict(
    mount: Json, expected: tuple[str, bool]
) -> None:
    report = scanned(living(with_token(3600, None, **mount)))
    (row,) = report.tokens
    assert (row.level, row.rotated) == expected
    (seen,) = row.mounts
    assert seen.read_only is (mount.get("readOnly") is not False)
    assert seen.sub_path is bool(mount.keys() - {"readOnly"})
    assert ("strict" in codes(report)) is (expected[0] != "strict")


def test_the_sources_of_kubernetes_and_of_ours() -> None:
    plain = automounted(a_pod())
    assert rows(scanned(living(plain))) == [("pod/web", "automounted", "1 year", "none")]
    ours = mutated(plain, **ON)
    assert rows(scanned(living(ours), space=a_space(**ON))) == [("pod/web", "boundtoken", "1 h", "strict")]  # fmt: skip
    rewritten = mutated(plain, inject="enabled")
    report = scanned(living(rewritten), space=a_space(inject="enabled"))
    assert rows(report) == [("pod/web", "boundtoken", "1 h", "bound")]
    assert report.tokens[0].volume == "kube-api-access-*"


def test_a_token_of_a_secret_in_a_volume_and_in_the_environment() -> None:
    key = {"secretKeyRef": {"name": "old", "key": "token"}}
    container = a_container("app", ("old", "/old"), env=[{"name": "T", "valueFrom": key}])
    pod = a_pod(container, volumes=[{"name": "old", "secret": {"secretName": "old"}}])
    report = scanned(living(pod), secrets=("old", "other"))
    found = [(one.source, one.volume, one.secret, one.mounts[0].path) for one in report.tokens]
    assert sorted(found) == [("legacy-secret", "", "old", "env"), ("legacy-secret", "old", "old", "/old")]  # fmt: skip
    assert {one.lifetime_seconds for one in report.tokens} == {None}
    assert {(one.lifetime, one.rotated, one.level) for one in report.tokens} == {("never", False, "none")}  # fmt: skip
    assert [one.mounted_by for one in report.secrets] == [("pod/web",), ()]
    legacy = {one.object: one for one in report.findings if one.code == "legacy"}
    assert legacy["secret/old"].fix == ""
    assert legacy["secret/other"].fix == "kubectl delete secret/other -n shop"
    assert rows(scanned(living(pod))) == []


def test_a_secret_that_was_used_is_not_told_to_be_deleted() -> None:
    scan = Scan(Surroundings())
    scan.add_namespace(a_space())
    scan.accounts.add_secret(a_secret("old", "2026-01-31"))
    (finding,) = (one for one in scan.report(TIME).findings if one.code == "legacy")
    assert "last used on 2026-01-31" in finding.message
    assert finding.fix == ""


@pytest.mark.parametrize("is_known", [True, False])
def test_tokens_of_csi_drivers(is_known: bool) -> None:
    volume = {"name": "v", "csi": {"driver": "vault.example.com"}}
    pod = a_pod(volumes=[volume, {"name": "w", "csi": {"driver": "no.example.com"}}])
    scan = Scan(Surroundings())
    scan.add_namespace(a_space())
    requests = (views.DriverToken("vault", 600), views.DriverToken(""))
    spec = views.DriverSpec(requests, requires_republish=True)
    scan.add_driver(views.CsiDriver(Metadata(name="vault.example.com"), spec))
    scan.add_driver(views.CsiDriver(Metadata(name="no.example.com")))
    scan.drivers = scan.drivers if is_known else None
    scan.add_pod(living(pod))
    found = [(one.volume, one.lifetime, one.audience, one.rotated, one.source) for one in scan.report(TIME).tokens]  # fmt: skip
    if is_known:
        assert found == [("v", "1 h", "", True, "csi"), ("v", "10 min", "vault", True, "csi")]
    else:
        assert found == [("v", "unknown", "", False, "csi"), ("w", "unknown", "", False, "csi")]


def test_a_year_comes_first_then_what_never_expires_and_what_is_not_known_last() -> None:
    volumes = [
        {"name": "v", "csi": {"driver": "x"}},
        {"name": "old", "secret": {"secretName": "old"}},
        api_access("short", seconds=600, audience="x"),
        api_access("long", seconds=86_400, audience="x"),
    ]
    scan = Scan(Surroundings())
    scan.add_namespace(a_space())
    scan.accounts.add_secret(a_secret("old"))
    scan.drivers = None
    scan.add_pod(living(automounted(a_pod(volumes=volumes))))
    report = scan.report(TIME)
    assert [one.lifetime for one in report.tokens] == ["1 year", "never", "1 day", "10 min", "unknown"]  # fmt: skip
    space = report.namespaces[0]
    assert (space.tokens, space.year_long, space.pods, space.level) == (5, 1, 1, "none")


def test_what_is_missing_and_what_is_stale_is_told_with_the_owner_to_restart() -> None:
    plain, ours = automounted(a_pod()), mutated(automounted(a_pod()), **ON)
    now = a_space(**ON, expiration_seconds="1200")
    report = scanned(
        *(living(plain, f"cart-{number}", "cart") for number in range(3)),
        living(ours, "old-1", "old"),
        living(mutated(automounted(a_pod()), **ON, expiration_seconds="1200"), "new-1", "new"),
        space=now,
    )
    found = {(one.object, one.code): one for one in report.findings}
    missing = found["deployment/cart", "missing"]
    assert missing.message.startswith("3 of 3 pods have no token of boundtoken")
    assert missing.fix == "kubectl rollout restart deployment/cart -n shop"
    assert found["deployment/old", "stale"].fix == "kubectl rollout restart deployment/old -n shop"
    assert not [key for key in found if key[0] == "deployment/new"]
    assert ("deployment/cart", "year-long") in found
    assert report.namespaces[0].after_restart == "strict"


def test_the_same_tokens_under_another_policy_are_not_stale() -> None:
    ours = mutated(automounted(a_pod()), **ON)
    report = scanned(living(ours), space=a_space(**ON, max_expiration_seconds="7200"))
    assert codes(report) == []


def test_where_the_configuration_was_not_seen_a_pod_of_ours_is_not_stale() -> None:
    ours = mutated(automounted(a_pod()), **ON, expiration_seconds="1200")
    unseen = Surroundings(is_configured=False)
    assert codes(scanned(living(ours), space=a_space(**ON))) == ["stale"]
    assert codes(scanned(living(ours), space=a_space(**ON), around=unseen)) == []
    plain = living(automounted(a_pod()))
    assert "missing" in codes(scanned(plain, space=a_space(**ON), around=unseen))


def test_of_a_namespace_that_may_not_be_read_nothing_is_missing() -> None:
    scan = Scan(Surroundings())
    scan.add_pod(living(automounted(a_pod())))
    report = scan.report(TIME)
    assert codes(report) == ["year-long", "strict"]
    assert report.namespaces[0].inject == ""


def test_a_template_is_told_where_it_has_no_pods() -> None:
    report = scanned(workloads=(a_workload(),))
    assert rows(report) == [("deployment/cart", "automounted", "1 year", "none")]
    assert report.tokens[0].owner == ""
    report = scanned(living(automounted(a_pod()), "cart-1", "cart"), workloads=(a_workload(),))
    assert rows(report) == [("pod/cart-1", "automounted", "1 year", "none")]
    assert report.tokens[0].owner == "deployment/cart"


def test_a_pod_is_compared_with_its_template_and_not_with_itself() -> None:
    workload = a_workload()
    workload["spec"]["template"]["metadata"]["annotations"] = {names.EXPIRATION_SECONDS: "900"}
    ours = mutated(automounted(a_pod()), **ON)
    alone = scanned(living(ours, "cart-1", "cart"), space=a_space(**ON))
    assert codes(alone, "deployment/") == []
    report = scanned(living(ours, "cart-1", "cart"), space=a_space(**ON), workloads=(workload,))
    assert codes(report, "deployment/") == ["stale"]


def test_the_jobs_of_a_cron_job_are_its_own() -> None:
    job = a_workload("c-1", "Job")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "controller": True}
    job["metadata"]["ownerReferences"] = [owner]
    pod = automounted(a_pod())
    owned = {"apiVersion": "batch/v1", "kind": "Job", "name": "c-1", "controller": True}
    pod["metadata"]["ownerReferences"] = [owned]
    report = scanned(living(pod), space=a_space(**ON), workloads=(job,))
    assert report.tokens[0].owner == "cronjob/c"
    (missing,) = (one for one in report.findings if one.code == "missing")
    assert "from its next Job on" in missing.message


def test_an_owner_of_a_foreign_group_is_not_restarted_as_one_of_kubernetes() -> None:
    pod = automounted(a_pod())
    owner = {"apiVersion": "apps.kruise.io/v1", "kind": "StatefulSet", "name": "s", "controller": True}  # fmt: skip
    pod["metadata"]["ownerReferences"] = [owner]
    (finding,) = (one for one in scanned(living(pod), space=a_space(**ON)).findings if one.code == "missing")  # fmt: skip
    assert finding.object == "statefulset.apps.kruise.io/s"
    assert finding.fix == "kubectl delete pod/web -n shop"


def test_a_pod_that_has_ended_has_no_tokens() -> None:
    pod = {**automounted(a_pod()), "status": {"phase": "Succeeded"}}
    report = scanned(living(pod))
    assert (report.tokens, report.namespaces[0].pods) == ((), 0)


def test_a_pod_that_is_being_deleted_has_its_tokens_and_is_not_restarted() -> None:
    pod = automounted(a_pod())
    pod["metadata"]["deletionTimestamp"] = TIME
    report = scanned(living(pod), space=a_space(**ON))
    assert codes(report) == ["year-long", "strict"]


def test_service_accounts_that_nobody_uses_or_that_need_not_automount() -> None:
    opted_out = a_pod(automountServiceAccountToken=False, serviceAccountName="out")
    pods = [living(automounted(a_pod(serviceAccountName=name)), name) for name in ("used", "old")]
    report = scanned(
        *pods,
        living(opted_out, "out"),
        accounts=(
            *(account("used"), account("out"), account("no", automounts=False)),
            *(account("idle", "a"), account("old", "b"), account("quiet", "c", automounts=False)),
        ),
        secrets=("d",),
    )
    found = {one.name: (one.used_by, one.secrets, one.automount) for one in report.service_accounts}
    assert found == {"out": (1, (), True), "idle": (0, ("a",), True), "quiet": (0, ("c",), False)}
    assert codes(report, "serviceaccount/") == ["unused-account", "unused-account", "automount", "automount"]  # fmt: skip


def test_an_account_whose_secret_somebody_mounts_is_no_unused_one() -> None:
    workload = a_workload()
    volumes = [{"name": "old", "secret": {"secretName": "old"}}]
    workload["spec"]["template"]["spec"] = a_pod(volumes=volumes)["spec"]
    accounts = (account("idle", "old"), account("quiet", "old", automounts=False))
    report = scanned(workloads=(workload,), accounts=accounts, secrets=("old",))
    assert codes(report, "serviceaccount/") == ["automount"]
    (row,) = report.service_accounts
    assert (row.name, row.mounted_by) == ("idle", ("deployment/cart",))
    unused = scanned(accounts=accounts, secrets=("old",))
    assert codes(unused, "serviceaccount/").count("unused-account") == 2


def strict_finding(*pods: views.Pod, space: views.Namespace) -> tuple[str, str]:
    report = scanned(*pods, workloads=(a_workload(),), space=space)
    (found,) = [one for one in report.findings if one.code == "strict"]
    return found.message, found.fix


def test_where_a_restart_makes_it_strict_no_annotation_is_advised() -> None:
    old = living(automounted(a_pod()), "cart-1", "cart")
    replaced = a_space(inject="replace", automount="disabled")
    restart = "kubectl rollout restart deployment/cart -n shop"
    text = "the tokens reach no level; made again they reach strict"
    assert strict_finding(old, space=replaced) == (text, restart)
    message, fix = strict_finding(old, space=a_space())
    assert "annotate namespace or pod template" in message
    assert (fix, "made again" in message) == ("", False)
    # Its automounted volume stays, with a shorter token.
    message, fix = strict_finding(old, space=a_space(inject="replace", automount="enabled"))
    assert "token-lifetime" not in message
    assert "made again they do not reach it: [automounted-volume]" in message
    assert fix == restart


def test_under_enabled_and_automount_disabled_no_account_needs_to_automount() -> None:
    accounts = (account("default"),)
    report = scanned(workloads=(a_workload(),), accounts=accounts, space=a_space(**ON))
    assert [one.automount for one in report.service_accounts] == [True]
    replaced = a_space(inject="replace", automount="disabled")
    assert scanned(workloads=(a_workload(),), accounts=accounts, space=replaced).service_accounts == ()  # fmt: skip


def test_what_nobody_uses_is_told_only_where_everything_was_seen() -> None:
    scan = Scan(Surroundings())
    scan.add_namespace(a_space())
    scan.accounts.add(account("idle", "a"))
    scan.is_whole = False
    assert scan.report(TIME).service_accounts == ()
    scan = Scan(Surroundings())
    scan.add_namespace(a_space())
    scan.accounts.add(account("idle", "a"))
    assert scan.report(TIME, complete=False).service_accounts == ()


CALLED = {
    "metadata": {"name": "boundtoken"},
    "webhooks": [
        {
            "name": "pods.boundtoken.dev",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]},
        }
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("configurations", "name", "labels", "expected"),
    [
        ((CALLED,), "shop", {}, ""),
        ((CALLED,), "shop", {"x": ""}, "boundtoken/pods.boundtoken.dev: namespaceSelector leaves it out (!x)"),
        ((CALLED,), "kube-system", {}, "the configuration excludes it (namespaces.excluded)"),
        ((CALLED,), "boundtoken-system", {}, "it is boundtoken's own namespace"),
        ((), "shop", {}, "boundtoken's mutating webhook is not installed"),
        (None, "shop", {}, ""),
    ],
)  # fmt: skip
def test_why_a_namespace_is_not_reached(
    configurations: tuple[Json, ...] | None, name: str, labels: dict[str, str], expected: str
) -> None:
    read = None
    if configurations is not None:
        read = tuple(msgspec.convert(one, Configuration) for one in configurations)
    scan = Scan(Surroundings(mutating=read))
    scan.add_namespace(views.Namespace(views.ScannedMetadata(name=name, labels=labels)))
    report = scan.report(TIME)
    assert (report.namespaces[0].why, report.namespaces[0].covered) == (expected, not expected)
    assert [one.code for one in report.findings] == ["uncovered"] * bool(expected)


def test_what_is_not_reached_is_not_told_to_be_restarted() -> None:
    report = scanned(living(automounted(a_pod())), space=a_space(**ON), around=Surroundings(mutating=()))  # fmt: skip
    (missing,) = (one for one in report.findings if one.code == "missing")
    assert (missing.fix, "is not installed" in missing.message) == ("", True)


def test_faults_are_told_once_where_they_stand() -> None:
    workload = a_workload()
    workload["spec"]["template"]["metadata"]["annotations"] = {names.MOUNT_PATH: "x"}
    report = scanned(workloads=(workload,), space=a_space(inject="true"))
    found = [(one.object, one.message.split("=")[0]) for one in report.findings if one.code == "fault"]  # fmt: skip
    assert sorted(found) == [("", names.INJECT), ("deployment/cart", names.MOUNT_PATH)]
    assert "missing" in codes(report, "deployment/")


def test_pods_that_are_alike_are_judged_once_and_differ_by_name_only() -> None:
    pods = [living(automounted(a_pod(), f"{names.AUTOMOUNTED_PREFIX}a{n}bcd"), f"p{n}") for n in range(5)]  # fmt: skip
    report = scanned(*pods)
    assert [one.object for one in report.tokens] == [f"pod/p{number}" for number in range(5)]
    assert len({msgspec.structs.astuple(one)[3:] for one in report.tokens}) == 1
    assert AUTOMOUNTED not in str(report)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (3600, "1 h"), (3661, "1 h 1 min"), (172_800, "2 days"), (31_536_000, "1 year"), (63_072_060, "2 years 1 min")],
)  # fmt: skip
def test_a_lifetime_for_people(seconds: int, text: str) -> None:
    assert lifetime_text(seconds) == text


def test_mounts_of_init_containers_count() -> None:
    init = {"name": "init", "volumeMounts": [{"name": "own", "mountPath": "/own"}]}
    pod = with_token(3600, None)
    pod["spec"]["initContainers"] = [init]
    (row,) = scanned(living(pod)).tokens
    assert (row.level, [mount.container for mount in row.mounts]) == ("bound", ["init", "app"])


def test_a_secret_that_is_twice_in_an_environment_is_one_row() -> None:
    key = {"secretKeyRef": {"name": "old", "key": "token"}}
    env = [{"name": name, "valueFrom": key} for name in "AB"]
    report = scanned(living(a_pod(a_container("app", env=env))), secrets=("old",))
    assert len(report.tokens) == 1


def test_what_another_webhook_took_off_is_missing() -> None:
    ours = mutated(automounted(a_pod()), **ON)
    ours["spec"]["volumes"] = []
    ours["spec"]["containers"][0]["volumeMounts"] = []
    report = scanned(living(ours, "cart-1", "cart"), space=a_space(**ON), workloads=(a_workload(),))
    assert codes(report, "deployment/") == ["missing"]


def test_a_token_that_would_be_taken_off_now_is_stale() -> None:
    report = scanned(living(automounted(a_pod())), space=a_space(automount="disabled"))
    assert codes(report) == ["year-long", "stale", "strict"]


def test_a_sidecar_of_another_webhook_is_no_difference() -> None:
    ours = mutated(automounted(a_pod()), **ON)
    sidecar = {**ours["spec"]["containers"][0], "name": "sidecar"}
    ours["spec"]["containers"].append(sidecar)
    report = scanned(living(ours, "cart-1", "cart"), space=a_space(**ON), workloads=(a_workload(),))
    assert codes(report, "deployment/") == []


def test_a_year_is_not_told_to_end_by_a_restart_that_nobody_would_see() -> None:
    pod, space = living(automounted(a_pod()), "cart-1", "cart"), a_space(**ON)
    for mutating, fix in ((None, "kubectl rollout restart deployment/cart -n shop"), ((), "")):
        report = scanned(pod, space=space, around=Surroundings(mutating=mutating))
        (finding,) = (one for one in report.findings if one.code == "year-long")
        assert finding.fix == fix


@pytest.mark.parametrize(
    ("enforce", "severity"), [("off", "note"), ("bound", "note"), ("strict", "warning")]
)
def test_what_is_enforced_and_not_reached_is_a_warning(enforce: str, severity: str) -> None:
    pod = living(with_token(3600, None, readOnly=False))
    report = scanned(pod, space=a_space(enforce=enforce))
    (finding,) = (one for one in report.findings if one.code == "strict")
    assert finding.severity == severity
    assert report.namespaces[0].enforce == ("" if enforce == "off" else enforce)


def test_the_floor_of_the_cluster_is_enforced_everywhere() -> None:
    around = Surroundings(ClusterPolicy(enforce_floor="bound"))
    assert scanned(around=around).namespaces[0].enforce == "bound"


def test_pods_that_are_alike_in_two_namespaces_are_judged_by_their_own() -> None:
    scan = Scan(Surroundings())
    scan.add_namespace(a_space())
    scan.add_namespace(a_space("other", max_expiration_seconds="700"))
    pod = with_token(3600, None)
    scan.add_pod(living(pod))
    there = {**pod, "metadata": {"name": "web", "namespace": "other"}}
    scan.add_pod(msgspec.convert(there, views.Pod))
    found = {row.namespace: row.level for row in scan.report(TIME).tokens}
    assert found == {"shop": "strict", "other": "none"}


def test_a_living_job_that_has_ended_has_no_tokens_and_one_of_a_file_has() -> None:
    job = a_workload("c-1", "Job")
    (row,) = scanned(workloads=(job,)).tokens  # it may be suspended
    assert row.object == "job/c-1"
    for ended in ("Complete", "Failed"):
        done = {**job, "status": {"conditions": [{"type": ended, "status": "True"}]}}
        assert scanned(workloads=(done,)).tokens == ()
    going = {**job, "status": {"conditions": [{"type": "Complete", "status": "False"}, 7]}}
    assert len(scanned(workloads=(going,)).tokens) == 1
    (row,) = scanned(workloads=(job,), around=Surroundings(is_living=False)).tokens
    assert row.object == "job/c-1"


def test_of_a_template_in_a_namespace_that_may_not_be_read_nothing_is_missing() -> None:
    cluster = ClusterPolicy(defaults=TokenPolicy(inject="enabled"))
    workload = a_workload()
    container = a_container("app", ("own", names.DEFAULT_PATH))
    workload["spec"]["template"]["spec"]["containers"] = [container]
    for is_known in (True, False):
        scan = Scan(Surroundings(cluster))
        if is_known:
            scan.add_namespace(a_space(inject="enabled"))
        scan.add_workload(workload, "shop")
        assert ("missing" in codes(scan.report(TIME), "deployment/")) is is_known


def test_a_template_whose_service_account_opts_out_has_no_token() -> None:
    report = scanned(workloads=(a_workload(),), accounts=(account("default", automounts=False),))
    assert (report.tokens, report.service_accounts) == ((), ())
