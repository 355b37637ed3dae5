"""The whole decision: who is left alone, what is said, one reason each."""

from typing import Any

import msgspec
import pytest

from tests.support.builders import (
    Json,
    a_container,
    a_namespace_policy,
    a_pod,
    a_request,
    api_access,
    applied,
    automounted,
    mutated,
    mutating_decision,
    mutation_of,
    response_to,
)
from tests.support.strategies import POOLS
from webhook.core import names, review, self_probe
from webhook.core.decision import Decision, Reason
from webhook.core.policy import ClusterPolicy, TokenPolicy
from webhook.core.views import Pod
from webhook.mutation import mutate

CLUSTER = ClusterPolicy(excluded=names.NEVER_TOUCHED | {"legacy"})


def verdict_of(object_: Json | None, **request: Any) -> Decision:
    return mutation_of(
        a_request(object_, **request),
        CLUSTER,
        a_namespace_policy(inject="enabled", automount="disabled"),
    )


OWN = {"namespace": "boundtoken-system"}


@pytest.mark.parametrize("cluster", [ClusterPolicy(), ClusterPolicy(excluded=frozenset(OWN.values()))])  # fmt: skip
def test_the_pod_of_a_self_probe_is_injected_in_our_own_namespace(cluster: ClusterPolicy) -> None:
    request = a_request(self_probe.pod(), dryRun=True, **OWN)
    decision = mutation_of(request, cluster, a_namespace_policy())
    assert (decision.reason, decision.outcome) == ("injected", "patched")
    came_back = applied(self_probe.pod(), decision)
    assert self_probe.result_of(msgspec.convert(came_back, Pod)) == "injected"


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
@pytest.mark.parametrize("overrides", ["allowed", "denied"])
def test_whatever_the_cluster_says_the_pod_of_a_self_probe_shows_that_we_were_called(
    automount: str, overrides: str
) -> None:
    pod = self_probe.pod()
    pod["spec"]["volumes"] = [api_access()]
    request = a_request(pod, dryRun=True, **OWN)
    namespace = a_namespace_policy(automount=automount, pod_overrides=overrides)
    came_back = applied(pod, mutation_of(request, ClusterPolicy(), namespace))
    assert self_probe.result_of(msgspec.convert(came_back, Pod)) == "injected"


def renamed(name: str) -> Json:
    pod = self_probe.pod()
    pod["metadata"]["generateName"] = name
    return pod


@pytest.mark.parametrize(
    ("object_", "request_"),
    [
        pytest.param(self_probe.pod(), {"dryRun": False}, id="a real pod"),
        pytest.param(self_probe.pod(), {"dryRun": None}, id="nothing about a dry run"),
        pytest.param(renamed("boundtoken-self-prob"), {"dryRun": True}, id="a shorter name"),
        pytest.param(renamed("boundtoken-self-probe-x-"), {"dryRun": True}, id="a longer name"),
        pytest.param(renamed(""), {"dryRun": True, "name": names.SELF_PROBE}, id="a name"),
        pytest.param(
            self_probe.pod(), {"dryRun": True, "kind": "Deployment", "group": "apps"}, id="no pod"
        ),
    ],
)
def test_nothing_else_of_our_own_namespace_is_changed(object_: Json, request_: Json) -> None:
    request = a_request(object_, **OWN, **request_)
    decision = mutation_of(request, ClusterPolicy(), a_namespace_policy(inject="enabled"))
    assert (decision.reason, decision.operations) == ("own-namespace", ())


@pytest.mark.parametrize(
    ("object_", "request_", "reason"),
    [
        pytest.param(a_pod(annotations={names.MIRROR_POD: "x"}), {}, "mirror-pod", id="mirror pod"),
        pytest.param(a_pod(), {"namespace": "kube-system"}, "excluded-namespace", id="kube-system"),
        pytest.param(
            a_pod(), {"namespace": "legacy"}, "excluded-namespace", id="excluded by configuration"
        ),
        pytest.param(
            a_pod(), {"namespace": "boundtoken-system"}, "own-namespace", id="our own namespace"
        ),
        pytest.param(a_pod(), {"operation": "UPDATE"}, "not-applicable", id="an update"),
        pytest.param(None, {"operation": "DELETE"}, "not-applicable", id="a delete"),
        pytest.param(a_pod(), {"operation": "CONNECT"}, "not-applicable", id="a connect"),
        pytest.param(
            a_pod(), {"subResource": "ephemeralcontainers"}, "not-applicable", id="a subresource"
        ),
        pytest.param(a_pod(), {"subResource": "binding"}, "not-applicable", id="binding"),
        pytest.param(a_pod(), {"kind": "Gadget"}, "not-applicable", id="another kind"),
        pytest.param(None, {}, "not-applicable", id="no object"),
        pytest.param(
            {},
            {"kind": "Job", "group": "batch", "operation": "UPDATE"},
            "not-applicable",
            id="update of a job",
        ),
        pytest.param(
            {
                "metadata": {
                    "ownerReferences": [{"kind": "Deployment", "name": "x", "controller": True}]
                }
            },
            {"kind": "ReplicaSet", "group": "apps"},
            "left-to-owner",
            id="a replica set of a deployment",
        ),
        pytest.param(
            {
                "metadata": {
                    "ownerReferences": [{"kind": "CronJob", "name": "x", "controller": True}]
                }
            },
            {"kind": "Job", "group": "batch"},
            "left-to-owner",
            id="a job of a cron job",
        ),
    ],
)
def test_these_are_never_touched(
    object_: Json | None, request_: dict[str, Any], reason: Reason
) -> None:
    assert verdict_of(object_, **request_) == Decision(reason)


def test_the_kind_is_judged_and_not_what_was_asked_for() -> None:
    request_kind = {"group": "", "version": "v2", "kind": "Pod"}
    assert verdict_of(a_pod(), requestKind=request_kind).reason == "injected"


@pytest.mark.parametrize("namespace", ["kube-public", "boundtoken-system"])
def test_the_namespace_is_not_looked_up_where_it_cannot_matter(namespace: str) -> None:
    assert mutate.skip_reason(a_request(a_pod(), namespace=namespace), CLUSTER) is not None
    assert mutate.skip_reason(a_request(a_pod()), CLUSTER) is None


def test_a_pod_that_says_no_is_left_alone() -> None:
    verdict = mutating_decision(
        automounted(a_pod(annotations={names.INJECT: "disabled"})), inject="enabled"
    )
    assert (verdict.reason, verdict.operations) == ("pod-opted-out", ())


def test_a_spec_that_asks_for_no_token_gets_none_from_the_namespace() -> None:
    pod = a_pod(automountServiceAccountToken=False)
    verdict = mutating_decision(pod, inject="enabled", automount="disabled")
    assert (verdict.reason, verdict.operations) == ("pod-opted-out", ())


def test_a_spec_that_asks_for_no_token_gets_one_when_the_pod_itself_asks_for_ours() -> None:
    pod = a_pod(automountServiceAccountToken=False, annotations={names.INJECT: "enabled"})
    assert mutating_decision(pod).reason == "injected"


def test_a_false_that_we_wrote_ourselves_is_told_by_our_volume() -> None:
    pod = mutated(automounted(a_pod()), inject="enabled", automount="disabled")
    pod["spec"]["containers"].append(a_container("late"))
    verdict = mutating_decision(pod, inject="enabled", automount="disabled")
    assert [operation.path for operation in verdict.operations] == [
        "/spec/containers/1/volumeMounts"
    ]


@pytest.mark.parametrize(
    ("pod", "annotations"),
    [
        pytest.param(automounted(a_pod()), {"inject": "enabled"}, id="rewritten"),
        pytest.param(
            automounted(a_pod()), {"inject": "enabled", "automount": "disabled"}, id="injected"
        ),
        pytest.param(automounted(a_pod()), {"automount": "disabled"}, id="stripped"),
        pytest.param(
            automounted(a_pod()),
            {"inject": "enabled", "mount_path": "/x", "tokens": "a=b"},
            id="beside",
        ),
        pytest.param(
            a_pod(annotations={names.INJECT: "disabled"}),
            {"inject": "enabled", "automount": "disabled"},
            id="mixed",
        ),
    ],
)
def test_our_own_output_gives_no_patch_and_the_same_reason(
    pod: Json, annotations: dict[str, str]
) -> None:
    first = mutating_decision(pod, **annotations)
    second = mutating_decision(applied(pod, first), **annotations)
    assert (first.outcome, second.outcome) == ("patched", "unchanged")
    assert (second.reason, second.operations, second.audit["policy"]) == (
        first.reason,
        (),
        first.audit["policy"],
    )


OWN_MOUNTS = a_pod(
    a_container("app", ("own", names.DEFAULT_PATH)), volumes=[{"name": "own", "emptyDir": {}}]
)
NO_TOKEN: dict[str, Any] = {"automountServiceAccountToken": False}


@pytest.mark.parametrize(
    ("pod", "more", "reason"),
    [
        pytest.param(
            OWN_MOUNTS, {}, "stripped", id="every container has something of its own there"
        ),
        pytest.param(
            a_pod(
                automounted(a_pod())["spec"]["containers"][0],
                annotations={names.SKIP_CONTAINERS: "app"},
            ),
            {},
            "stripped",
            id="every container is skipped",
        ),
        pytest.param(OWN_MOUNTS, {"tokens": "a=x"}, "injected", id="further tokens only"),
        pytest.param(
            {**OWN_MOUNTS, "spec": OWN_MOUNTS["spec"] | NO_TOKEN},
            {},
            "stripped",
            id="it says no to nothing",
        ),
        pytest.param(a_pod(**NO_TOKEN), {}, "pod-opted-out", id="it says no"),
        pytest.param(
            a_pod(
                a_container(
                    "app", ("own", names.DEFAULT_PATH), (api_access()["name"], "/elsewhere")
                ),
                volumes=[{"name": "own", "emptyDir": {}}, api_access()],
                **NO_TOKEN,
            ),
            {},
            "stripped",
            id="it says no and mounts the automounted volume elsewhere",
        ),
        pytest.param(
            a_pod(
                a_container("app", ("boundtoken-tokens", "/t")),
                volumes=[
                    {
                        "name": "boundtoken-tokens",
                        "projected": {
                            "sources": [{"serviceAccountToken": {"path": "t", "audience": "a"}}]
                        },
                    }
                ],
                **NO_TOKEN,
            ),
            {},
            "pod-opted-out",
            id="it says no and has further tokens that nobody wants",
        ),
    ],
)
def test_one_pod_has_one_reason_where_injection_is_asked_for_and_none_is_needed(
    pod: Json, more: dict[str, str], reason: Reason
) -> None:
    annotations = {"inject": "enabled", "automount": "disabled", **more}
    first = mutating_decision(pod, **annotations)
    second = mutating_decision(applied(pod, first), **annotations)
    assert (first.reason, second.reason, second.operations) == (reason, reason, ())


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({}, id="nothing is asked for"),
        pytest.param({"inject": "replace"}, id="nothing to replace"),
        pytest.param(
            {"inject": "enabled", "mount_path": "/own"}, id="no container needs the mount"
        ),
    ],
)
def test_a_status_that_somebody_else_wrote_goes_from_a_pod_that_is_not_changed(
    annotations: dict[str, str],
) -> None:
    own = a_container("app", ("own", "/own"))
    pod = a_pod(
        own,
        annotations={names.STATUS: "injected policy=00000000"},
        volumes=[{"name": "own", "emptyDir": {}}],
    )
    verdict = mutating_decision(pod, **annotations)
    assert applied(pod, verdict)["metadata"]["annotations"] == {}
    assert verdict.outcome == "patched"


@pytest.mark.parametrize("own", [{names.INJECT: "disabled"}, {"x": "y"}])
def test_it_goes_from_a_pod_that_opts_out_too(own: dict[str, str]) -> None:
    spoofed = own | {names.STATUS: "injected: audience=(API server)"}
    pod = a_pod(annotations=spoofed, automountServiceAccountToken=False)
    verdict = mutating_decision(pod, inject="enabled")
    assert verdict.reason == "pod-opted-out"
    assert applied(pod, verdict)["metadata"]["annotations"] == own


@pytest.mark.parametrize(
    ("namespace", "own", "expected"),
    [
        pytest.param(
            {"inject": "enabled", "automount": "disabled"},
            {},
            "injected: audience=(API server) expires=3600 set-by=namespace",
            id="injected",
        ),
        pytest.param(
            {"inject": "enabled", "audience": "https://vault"},
            {names.EXPIRATION_SECONDS: "900"},
            'rewritten: audience="https://vault" expires=900 set-by=pod',
            id="rewritten",
        ),
        pytest.param(
            {"inject": "disabled", "audience": "vault"},
            {names.INJECT: "replace"},
            'rewritten: audience="vault" expires=3600 set-by=pod',
            id="by the pod",
        ),
        pytest.param(
            {"automount": "disabled"},
            {},
            "stripped: automount=disabled set-by=namespace",
            id="stripped",
        ),
        pytest.param(
            {"inject": "enabled", "automount": "disabled"},
            {names.INJECT: "disabled"},
            "stripped: automount=disabled set-by=pod",
            id="stripped by the pod",
        ),
        pytest.param(
            {"inject": "enabled"},
            {names.AUDIENCE: "x" * 512},
            f'rewritten: audience="{"x" * 59}…" expires=3600 set-by=pod',
            id="a long audience",
        ),
    ],
)
def test_the_owner_of_a_pod_reads_what_was_done_and_who_decided(
    namespace: dict[str, str], own: dict[str, str], expected: str
) -> None:
    pod = automounted(a_pod(annotations=own))
    verdict = mutating_decision(pod, **namespace)
    after = applied(pod, verdict)
    status = after["metadata"]["annotations"][names.STATUS]
    assert status == f"{expected} policy={verdict.audit['policy']}"
    assert mutating_decision(after, **namespace).operations == ()


def test_the_defaults_of_the_configuration_are_named_too() -> None:
    cluster = ClusterPolicy(TokenPolicy(inject="enabled", automount=False))
    status = mutated(a_pod(), cluster)["metadata"]["annotations"][names.STATUS]
    assert "set-by=defaults" in status


def test_a_token_that_is_only_shortened_keeps_the_audience_of_the_api_server() -> None:
    """Our path is another one, and no container needs our volume there."""
    own = a_pod(a_container("app", ("own", "/own")), volumes=[{"name": "own", "emptyDir": {}}])
    after = mutated(automounted(own), inject="enabled", audience="vault", mount_path="/own")
    status = after["metadata"]["annotations"][names.STATUS]
    assert status.startswith("rewritten: audience=(API server) expires=3600 set-by=namespace ")


def test_a_pod_that_replace_keeps_without_a_token_says_so() -> None:
    after = mutated(a_pod(), inject="replace", automount="disabled")
    status = after["metadata"]["annotations"][names.STATUS]
    assert status.startswith("nothing-to-replace: automount=disabled set-by=namespace policy=")


def test_a_status_that_somebody_made_up_is_overwritten() -> None:
    pod = mutated(
        a_pod(annotations={names.STATUS: "injected policy=ffffffff", "team": "shop"}),
        inject="enabled",
    )
    assert pod["metadata"]["annotations"][names.STATUS] != "injected policy=ffffffff"
    assert pod["metadata"]["annotations"]["team"] == "shop"


def test_the_response_tells_reason_policy_and_faults_to_the_audit_log() -> None:
    verdict = mutating_decision(a_pod(annotations={names.AUDIENCE: "a b"}), inject="enabled")
    response = response_to(verdict)
    fault = 'boundtoken.dev/audience="a b" on the pod: ignored, must be one audience of at most 512 printable characters, no whitespace'
    assert response["auditAnnotations"] == {
        "reason": "injected",
        "policy": verdict.audit["policy"],
        "faults": fault,
    }
    assert response["warnings"] == [fault]
    assert response["patchType"] == "JSONPatch"


def test_an_untouched_pod_is_answered_without_a_patch() -> None:
    reply = msgspec.json.decode(review.respond("1", mutating_decision(a_pod())))
    assert sorted(reply["response"]) == ["allowed", "auditAnnotations", "uid"]
    assert (reply["response"]["uid"], reply["response"]["allowed"]) == ("1", True)


def test_a_foreign_audience_at_the_default_path_is_warned_about() -> None:
    assert mutating_decision(a_pod(), inject="enabled", audience="https://vault").warnings == (
        'boundtoken.dev/audience="https://vault": replaces the Kubernetes API token: API clients in this pod will get 401. '
        "To keep both, remove it and set boundtoken.dev/tokens: file=https://vault",
    )
    for odd in ("a,b", "a;b", "x" * 61):
        (warning,) = mutating_decision(a_pod(), inject="enabled", audience=odd).warnings
        assert warning.endswith("set boundtoken.dev/tokens: file=audience")
    assert (
        mutating_decision(
            a_pod(), inject="enabled", audience="https://vault", mount_path="/v"
        ).warnings
        == ()
    )
    own = ClusterPolicy(api_audiences=("https://vault",))
    assert (
        mutating_decision(a_pod(), own, inject="enabled", audience="https://vault").warnings == ()
    )


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_a_container_that_keeps_its_own_at_our_path_is_reported(automount: str) -> None:
    legacy = "default-token-abc12"
    pod = a_pod(
        a_container("app", (legacy, names.DEFAULT_PATH + "/")),
        a_container("side"),
        volumes=[{"name": legacy, "secret": {"secretName": legacy}}],
    )
    assert mutating_decision(automounted(pod), inject="enabled", automount=automount).warnings == (
        'boundtoken.dev/mount-path="/var/run/secrets/kubernetes.io/serviceaccount": container "app" mounts volume '
        '"default-token-abc12" there, and no token of ours; by its name it is a legacy token, which never expires',
    )
    assert mutating_decision(automounted(pod), automount=automount).warnings == ()
    device = a_container("app", volumeDevices=[{"name": "disk", "devicePath": "/bound"}])
    assert mutating_decision(a_pod(device), inject="enabled", mount_path="/bound").warnings == (
        'boundtoken.dev/mount-path="/bound": container "app" has a block device there, and no token of ours',
    )


@pytest.mark.parametrize(
    ("at", "warned"),
    [
        ("/var/run/secrets", True),
        ("/var/run/", True),
        ("/", True),
        (names.DEFAULT_PATH + "/more", True),
        ("/var/run/sec", False),
    ],
)
def test_a_mount_around_ours_or_inside_of_it_is_warned_of(at: str, warned: bool) -> None:
    pod = a_pod(a_container("app", ("own", at)), volumes=[{"name": "own", "emptyDir": {}}])
    verdict = mutating_decision(pod, inject="enabled")
    expected = warned * (
        'boundtoken.dev/mount-path="/var/run/secrets/kubernetes.io/serviceaccount": container "app" mounts volume "own" at '
        f'"{at}"; a runtime may fail to mount one of the two inside the other',
    )
    assert verdict.warnings == expected
    assert mutating_decision(applied(pod, verdict), inject="enabled").operations == ()
    if not at.startswith(names.DEFAULT_PATH):  # such a pod does not start, with us or without
        for automount in ("enabled", "disabled"):
            arrived = mutating_decision(automounted(pod), inject="replace", automount=automount)
            assert arrived.warnings == expected
    for automount in ("enabled", "disabled"):
        assert mutating_decision(automounted(pod), automount=automount).warnings == ()


STRIPPING = 'boundtoken.dev/inject="disabled": the pod is left without any token, because boundtoken.dev/automount is disabled here'


@pytest.mark.parametrize(
    ("namespace", "own", "expected"),
    [
        pytest.param(
            {"inject": "enabled", "automount": "disabled"},
            {names.INJECT: "disabled"},
            (
                f"{STRIPPING}; to keep the one of Kubernetes, also set boundtoken.dev/automount: enabled",
            ),
            id="meant to opt out",
        ),
        pytest.param(
            {"inject": "enabled", "automount": "disabled", "pod_overrides": "denied"},
            {names.INJECT: "disabled"},
            (STRIPPING,),
            id="may not keep one",
        ),
        pytest.param(
            {"inject": "enabled", "automount": "disabled"},
            {names.INJECT: "disabled", names.AUTOMOUNT: "enabled"},
            (),
            id="knows how",
        ),
        pytest.param(
            {"inject": "enabled"},
            {names.INJECT: "disabled", names.AUTOMOUNT: "disabled"},
            (),
            id="wants none",
        ),
        pytest.param({"inject": "enabled"}, {names.INJECT: "disabled"}, (), id="keeps one"),
        pytest.param({"automount": "disabled"}, {}, (), id="the namespace strips"),
    ],
)
def test_an_opt_out_that_leaves_no_token_is_warned_of(
    namespace: dict[str, str], own: dict[str, str], expected: tuple[str, ...]
) -> None:
    pod = automounted(a_pod(annotations=own))
    assert mutating_decision(pod, **namespace).warnings == expected
    says_no = a_pod(annotations=own, automountServiceAccountToken=False)
    assert mutating_decision(says_no, **namespace).warnings == ()


def test_an_empty_default_path_is_warned_of() -> None:
    pod = automounted(a_pod(annotations={names.MOUNT_PATH: "/var/run/vault"}))
    assert mutating_decision(pod, inject="enabled", automount="disabled").warnings == (
        'boundtoken.dev/mount-path="/var/run/vault": nothing is left at /var/run/secrets/kubernetes.io/serviceaccount, where '
        "API clients look; to have both, set boundtoken.dev/automount: enabled",
    )
    assert mutating_decision(pod, inject="enabled").warnings == ()
    assert mutating_decision(pod, automount="disabled").warnings == ()


def test_a_skipped_name_that_no_container_has_is_warned_about() -> None:
    pod = a_pod(a_container("app"), annotations={names.SKIP_CONTAINERS: "app,ap"})
    assert mutating_decision(pod, inject="enabled").warnings == (
        'boundtoken.dev/skip-containers="app,ap" on the pod: there is no container "ap"',
    )


def test_many_faults_are_cut_with_a_count_and_none_is_lost() -> None:
    verdict = mutating_decision(
        a_pod(annotations={f"{names.DOMAIN}x{number}": "y" * 500 for number in range(30)})
    )
    assert len(verdict.warnings) == names.MAX_WARNINGS + 1
    assert (
        verdict.warnings[-1]
        == "boundtoken.dev/*: and 15 more; the audit annotation faults has them all"
    )
    assert sum(map(len, verdict.warnings)) <= 4096
    assert len(verdict.faults) == 30


def test_host_network_windows_and_ephemeral_fields_change_nothing() -> None:
    plain = mutating_decision(a_pod(), inject="enabled").operations
    odd = a_pod(
        hostNetwork=True, nodeSelector={"kubernetes.io/os": "windows"}, os={"name": "windows"}
    )
    assert mutating_decision(odd, inject="enabled").operations == plain


def test_a_sidecar_of_another_webhook_that_took_our_mount_away_gets_it_back_once() -> None:
    pod = mutated(a_pod(a_container("app"), a_container("two")), inject="enabled")
    del pod["spec"]["containers"][0]["volumeMounts"]
    after = mutated(pod, inject="enabled")
    assert after == mutated(after, inject="enabled")
    assert after["spec"]["containers"][0]["volumeMounts"][0]["name"] == "boundtoken"


def test_the_patch_grows_with_containers_and_not_with_the_pod() -> None:
    small = automounted(a_pod(*(a_container(f"c{number}") for number in range(25))))
    big = automounted(
        a_pod(
            *(a_container(f"c{number}") for number in range(25)),
            annotations={"notes": "x" * 200_000},
        )
    )
    verdicts = [
        mutating_decision(pod, inject="enabled", automount="disabled") for pod in (small, big)
    ]
    sizes = [len(msgspec.json.encode(verdict.operations)) for verdict in verdicts]
    assert abs(sizes[0] - sizes[1]) < 50
    assert sizes[0] < 25 * 120 + 700


def test_a_token_of_the_users_own_elsewhere_is_untouched() -> None:
    own = {
        "name": "vault",
        "projected": {
            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3607}}]
        },
    }
    pod = a_pod(a_container("app", ("vault", "/vault")), volumes=[own, api_access()])
    assert mutated(pod, inject="enabled", automount="disabled")["spec"]["volumes"][0] == own


def test_a_pod_with_no_place_for_any_token_did_not_opt_out_of_one() -> None:
    for path, reason in ((names.TOKENS_PATH, "stripped"), ("/data", "pod-opted-out")):
        app = a_container("app", ("own", names.DEFAULT_PATH), ("more", path))
        pod = a_pod(app, automountServiceAccountToken=False)
        decision = mutating_decision(pod, inject="enabled", automount="disabled", tokens="a=x")
        assert decision.reason == reason, path


@pytest.mark.parametrize("name", sorted(names.FOR_PODS))
def test_every_annotation_of_a_pod_changes_what_becomes_of_one(name: str) -> None:
    """With one of the values from which the laws draw: else it would be read and do nothing."""
    annotations = {names.INJECT: "enabled", names.TOKENS: "a=x"}
    annotations.pop(name, None)

    def spec(annotations: dict[str, str]) -> Json:
        return dict(mutated(automounted(a_pod(annotations=annotations)))["spec"])

    assert [
        value for value in POOLS[name] if spec({**annotations, name: value}) != spec(annotations)
    ]


@pytest.mark.parametrize("at", ["/var/run", names.DEFAULT_PATH, f"{names.DEFAULT_PATH}/a"])
def test_texts_are_made_for_as_many_mounts_as_warnings_have_room_for(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of each of 60,000 took longer than all else together."""
    calls: list[str] = []

    def counting(text: str, limit: int = 60) -> str:
        calls.append(text)
        return text[:limit]

    monkeypatch.setattr("webhook.mutation.injection.quote", counting)
    containers = [a_container(f"c{number}", *[("own", at)] * 10) for number in range(100)]
    pod = a_pod(*containers, volumes=[{"name": "own", "emptyDir": {}}])
    verdict = mutating_decision(pod, inject="enabled")
    assert len(verdict.warnings) == names.MAX_WARNINGS + 1
    assert len(calls) <= 2 * 3 * (names.MAX_WARNINGS + 1)


def test_who_skips_containers_is_not_told_that_no_token_is_left() -> None:
    """A skipped container keeps the token of Kubernetes."""
    for skip, warned in (("", True), ("app", False)):
        own = {names.INJECT: "disabled", names.SKIP_CONTAINERS: skip}
        pod = automounted(a_pod(annotations=own))
        warnings = mutating_decision(pod, automount="disabled").warnings
        assert ("left without any token" in str(warnings)) is warned
