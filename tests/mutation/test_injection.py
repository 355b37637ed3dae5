"""The 2x2 matrix and everything that can stand in its way; whole pods in, whole pods out, applied
by jsonpatch.
"""

import pytest

from tests.support.builders import (
    AUTOMOUNTED,
    Json,
    a_container,
    a_pod,
    api_access,
    applied,
    automounted,
    mounts,
    mutated,
    mutating_decision,
    token,
    volume,
    volume_names,
)
from webhook.core import names
from webhook.mutation import injection

PATH = names.DEFAULT_PATH
TOKENS = names.TOKENS_PATH


def test_neither_question_leaves_the_pod_untouched() -> None:
    pod = automounted(a_pod())
    verdict = mutating_decision(pod)
    assert (verdict.operations, verdict.reason) == ((), "not-requested")


def test_automount_disabled_takes_the_volume_and_its_mounts_away() -> None:
    pod = automounted(
        a_pod(a_container("app"), a_container("side"), initContainers=[a_container("init")])
    )
    after = mutated(pod, automount="disabled")
    assert volume_names(after) == []
    assert mounts(after) == {"init": [], "app": [], "side": []}
    assert after["spec"]["automountServiceAccountToken"] is False


def test_automount_disabled_says_so_to_a_pod_without_the_volume() -> None:
    after = mutated(a_pod(), automount="disabled")
    assert after["spec"] == a_pod(automountServiceAccountToken=False)["spec"]


def test_both_make_the_automounted_volume_ours_where_it_stands() -> None:
    pod = automounted(
        a_pod(a_container("app", ("data", "/data")), volumes=[{"name": "data", "emptyDir": {}}])
    )
    pod["spec"]["volumes"].append({"name": "late", "emptyDir": {}})
    after = mutated(pod, inject="enabled", automount="disabled", audience="https://vault")
    assert volume_names(after) == ["data", "boundtoken", "late"]
    assert token(after, "boundtoken") == {
        "path": "token",
        "expirationSeconds": 3600,
        "audience": "https://vault",
    }
    assert mounts(after) == {"app": [("data", "/data"), ("boundtoken", PATH)]}
    assert after["spec"]["automountServiceAccountToken"] is False


def test_inject_alone_rewrites_the_automounted_volume_where_it_stands() -> None:
    pod = automounted(a_pod())
    verdict = mutating_decision(pod, inject="enabled", expiration_seconds="1800")
    after = applied(pod, verdict)
    assert verdict.reason == "rewritten"
    assert token(after, AUTOMOUNTED) == {"path": "token", "expirationSeconds": 1800}
    assert mounts(after) == mounts(pod)
    assert "automountServiceAccountToken" not in after["spec"]


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_inject_adds_our_volume_to_a_pod_without_one(automount: str) -> None:
    after = mutated(
        a_pod(a_container("app"), initContainers=[a_container("init")]),
        inject="enabled",
        automount=automount,
    )
    assert volume(after, "boundtoken") == api_access("boundtoken", seconds=3600)
    assert mounts(after) == {"init": [("boundtoken", PATH)], "app": [("boundtoken", PATH)]}
    assert after["spec"].get("automountServiceAccountToken") is (
        None if automount == "enabled" else False
    )


def test_added_mounts_are_read_only_and_stand_last() -> None:
    pod = a_pod(a_container("app", ("data", "/data")), volumes=[{"name": "data", "emptyDir": {}}])
    after = mutated(pod, inject="enabled")
    assert after["spec"]["containers"][0]["volumeMounts"][-1] == {
        "name": "boundtoken",
        "readOnly": True,
        "mountPath": PATH,
    }
    assert volume_names(after) == ["data", "boundtoken"]


def test_another_path_with_automount_keeps_both_volumes_and_no_year() -> None:
    after = mutated(automounted(a_pod()), inject="enabled", mount_path="/bound", audience="vault")
    assert token(after, AUTOMOUNTED) == {"path": "token", "expirationSeconds": 3600}
    assert token(after, "boundtoken") == {
        "path": "token",
        "expirationSeconds": 3600,
        "audience": "vault",
    }
    assert mounts(after) == {"app": [(AUTOMOUNTED, PATH), ("boundtoken", "/bound")]}


def test_another_path_without_automount_leaves_only_ours() -> None:
    after = mutated(
        automounted(a_pod()), inject="enabled", automount="disabled", mount_path="/bound"
    )
    assert volume_names(after) == ["boundtoken"]
    assert mounts(after) == {"app": [("boundtoken", "/bound")]}


def test_another_path_brings_a_foreign_audience_back_to_the_api_server() -> None:
    pod = a_pod(a_container("app", (AUTOMOUNTED, PATH)), volumes=[api_access(audience="vault")])
    assert token(mutated(pod, inject="enabled", mount_path="/bound"), AUTOMOUNTED) == {
        "path": "token",
        "expirationSeconds": 3600,
    }


def test_mounts_elsewhere_and_with_a_sub_path_follow_the_volume() -> None:
    pod = automounted(
        a_pod(a_container("app", (AUTOMOUNTED, "/elsewhere")), volumes=[api_access()])
    )
    pod["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = "token"
    after = mutated(pod, inject="enabled", automount="disabled")
    assert mounts(after) == {"app": [("boundtoken", "/elsewhere"), ("boundtoken", PATH)]}
    assert after["spec"]["containers"][0]["volumeMounts"][0]["subPath"] == "token"
    assert mounts(mutated(pod, automount="disabled")) == {"app": []}


def test_a_fourth_source_stays_in_the_volume() -> None:
    service_ca = {
        "configMap": {
            "name": "openshift-service-ca.crt",
            "items": [{"key": "service-ca.crt", "path": "service-ca.crt"}],
        }
    }
    pod = a_pod(a_container("app", (AUTOMOUNTED, PATH)), volumes=[api_access(more=(service_ca,))])
    after = mutated(pod, inject="enabled", automount="disabled")
    assert volume(after, "boundtoken")["projected"]["sources"][3] == service_ca


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(
            {"name": "kube-api-access-mine1", "emptyDir": {}}, id="another kind of volume"
        ),
        pytest.param(
            {"name": "kube-api-access-mine1", "projected": {"sources": None}}, id="no sources"
        ),
        pytest.param(
            {**api_access("kube-api-access-mine1"), "name": "api-access"},
            id="the shape without the prefix",
        ),
        pytest.param(
            {
                "name": "kube-api-access-mine1",
                "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
            },
            id="a token alone",
        ),
        pytest.param(api_access(f"kube-api-access-{'x' * 48}"), id="a name that is too long"),
    ],
)
def test_the_automounted_volume_is_judged_by_shape_and_name_together(foreign: Json) -> None:
    pod = a_pod(a_container("app", (foreign["name"], PATH)), volumes=[foreign])
    after = mutated(pod, automount="disabled")
    assert after["spec"]["volumes"] == [foreign]
    assert mounts(after) == {"app": [(foreign["name"], PATH)]}


def test_a_skipped_container_and_its_volume_stay_as_they_came() -> None:
    skip = {names.SKIP_CONTAINERS: "side"}
    pod = automounted(a_pod(a_container("app"), a_container("side"), annotations=skip))
    after = mutated(pod, inject="enabled", automount="disabled")
    assert volume(after, AUTOMOUNTED) == api_access()
    assert mounts(after) == {"app": [("boundtoken", PATH)], "side": [(AUTOMOUNTED, PATH)]}
    assert volume_names(after) == [AUTOMOUNTED, "boundtoken"]


def test_beside_a_skipped_container_ours_is_added_under_automount_too() -> None:
    pod = automounted(
        a_pod(
            a_container("app"), a_container("side"), annotations={names.SKIP_CONTAINERS: " side , "}
        )
    )
    after = mutated(pod, inject="enabled")
    assert token(after, AUTOMOUNTED)["expirationSeconds"] == 3607
    assert mounts(after) == {"app": [("boundtoken", PATH)], "side": [(AUTOMOUNTED, PATH)]}
    assert automounted(after) == after


def test_a_skipped_container_that_mounts_nothing_gets_nothing() -> None:
    pod = a_pod(
        a_container("app"), a_container("side"), annotations={names.SKIP_CONTAINERS: "side"}
    )
    assert mounts(mutated(pod, inject="enabled")) == {"app": [("boundtoken", PATH)], "side": []}


@pytest.mark.parametrize(
    "path", [PATH, PATH + "/", PATH + "/.", "/" + PATH, PATH[1:], PATH.replace("/run", "/./run")]
)
@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_a_container_keeps_what_it_mounts_at_our_path_itself(path: str, automount: str) -> None:
    pod = a_pod(
        a_container("app", ("own", path)),
        a_container("side"),
        volumes=[{"name": "own", "emptyDir": {}}],
    )
    after = mutated(pod, inject="enabled", automount=automount)
    assert mounts(after) == {"app": [("own", path)], "side": [("boundtoken", PATH)]}


def test_the_plugins_second_mount_beside_a_slashed_one_goes() -> None:
    pod = automounted(
        a_pod(a_container("app", ("own", PATH + "/")), volumes=[{"name": "own", "emptyDir": {}}])
    )
    assert mounts(pod) == {"app": [("own", PATH + "/"), (AUTOMOUNTED, PATH)]}
    assert mounts(mutated(pod, inject="enabled", automount="disabled")) == {
        "app": [("own", PATH + "/")]
    }


@pytest.mark.parametrize("own_first", [True, False])
@pytest.mark.parametrize("respelled", [PATH + "/", PATH + "/.", PATH[1:]])
def test_two_mounts_at_our_path_are_never_left(respelled: str, own_first: bool) -> None:
    own, theirs = ("own", respelled), (AUTOMOUNTED, PATH)
    pair = (own, theirs) if own_first else (theirs, own)
    pod = a_pod(
        a_container("app", *pair),
        a_container("side"),
        volumes=[{"name": "own", "emptyDir": {}}, api_access()],
    )
    after = mutated(pod, inject="enabled", automount="disabled")
    assert mounts(after) == {"app": [own], "side": [("boundtoken", PATH)]}
    assert mutated(after, inject="enabled", automount="disabled") == after


def test_what_the_plugin_would_put_back_stays_beside_an_own_mount() -> None:
    pod = automounted(
        a_pod(a_container("app", ("own", PATH + "/")), volumes=[{"name": "own", "emptyDir": {}}])
    )
    after = mutated(pod, inject="enabled")
    assert mounts(after) == {"app": [("own", PATH + "/"), (AUTOMOUNTED, PATH)]}
    elsewhere = a_pod(
        a_container("app", (AUTOMOUNTED, "/bound"), ("own", "/bound/")),
        volumes=[{"name": "own", "emptyDir": {}}, api_access()],
    )
    after = mutated(automounted(elsewhere), inject="enabled", mount_path="/bound")
    assert mounts(after) == {"app": [("own", "/bound/"), (AUTOMOUNTED, PATH)]}


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_of_two_mounts_that_become_ours_at_our_path_one_stays(automount: str) -> None:
    pod = a_pod(a_container("app", ("boundtoken", PATH + "/")), volumes=[api_access("boundtoken")])
    after = mutated(automounted(pod), inject="enabled", automount=automount)
    assert mounts(after) == {"app": [("boundtoken", PATH)]}


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_a_container_with_a_device_at_our_path_keeps_it_and_gets_no_mount(automount: str) -> None:
    devices = {"volumeDevices": [{"name": "disk", "devicePath": "/bound/"}]}
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]
    pod = a_pod(a_container("app", **devices), a_container("side"), volumes=volumes)
    after = mutated(
        automounted(pod), inject="enabled", automount=automount, mount_path="/bound", tokens="a=x"
    )
    kept = [(AUTOMOUNTED, PATH)] if automount == "enabled" else []
    assert mounts(after) == {
        "app": [*kept, ("boundtoken-tokens", TOKENS)],
        "side": [*kept, ("boundtoken", "/bound"), ("boundtoken-tokens", TOKENS)],
    }


def test_a_container_with_a_device_where_the_further_tokens_go_gets_none() -> None:
    devices = {"volumeDevices": [{"name": "disk", "devicePath": TOKENS}]}
    after = mutated(a_pod(a_container("app", **devices)), inject="enabled", tokens="a=x")
    assert mounts(after) == {"app": [("boundtoken", PATH)]}
    assert volume_names(after) == ["boundtoken"]


def test_the_plugins_mount_at_the_path_of_a_device_goes() -> None:
    devices = {"volumeDevices": [{"name": "disk", "devicePath": PATH}]}
    after = mutated(
        automounted(a_pod(a_container("app", **devices))), inject="enabled", automount="disabled"
    )
    assert mounts(after) == {"app": []}


def test_no_volume_where_no_container_needs_the_mount() -> None:
    pod = a_pod(a_container("app", ("own", PATH)), volumes=[{"name": "own", "emptyDir": {}}])
    verdict = mutating_decision(pod, inject="enabled")
    assert (verdict.operations, verdict.reason) == ((), "unchanged")


def test_a_foreign_volume_with_our_name_stays_and_ours_gets_a_stable_other_one() -> None:
    pod = a_pod(volumes=[{"name": "boundtoken", "emptyDir": {}}])
    after = mutated(pod, inject="enabled")
    name = volume_names(after)[1]
    assert volume_names(after) == ["boundtoken", name]
    assert name == volume_names(mutated(pod, inject="enabled"))[1]
    assert name.startswith("boundtoken-")
    assert mutating_decision(after, inject="enabled").operations == ()


def test_a_mount_that_names_our_volume_before_it_is_there_brings_it() -> None:
    after = mutated(a_pod(a_container("app", ("boundtoken", PATH))), inject="enabled")
    assert volume_names(after) == ["boundtoken"]


def test_our_volume_of_an_older_policy_is_brought_to_the_one_that_holds_now() -> None:
    old = mutated(
        a_pod(), inject="enabled", automount="disabled", audience="old", expiration_seconds="7200"
    )
    assert token(mutated(old, inject="enabled", audience="new"), "boundtoken") == {
        "path": "token",
        "expirationSeconds": 3600,
        "audience": "new",
    }
    assert "audience" not in token(mutated(old, inject="enabled"), "boundtoken")


def test_the_plugins_volume_for_a_late_sidecar_is_folded_into_ours() -> None:
    pod = mutated(a_pod(), inject="enabled")
    pod["spec"]["containers"].append(a_container("late", ("kube-api-access-again", PATH)))
    pod["spec"]["volumes"].append(api_access("kube-api-access-again"))
    after = mutated(pod, inject="enabled")
    assert volume_names(after) == ["boundtoken"]
    assert mounts(after) == {"app": [("boundtoken", PATH)], "late": [("boundtoken", PATH)]}


def test_further_tokens_stand_in_a_second_volume() -> None:
    after = mutated(
        a_pod(), inject="enabled", tokens="vault=https://vault;900, aws=sts.amazonaws.com"
    )
    sources = volume(after, "boundtoken-tokens")["projected"]["sources"]
    assert sources == [
        {
            "serviceAccountToken": {
                "path": "vault",
                "expirationSeconds": 900,
                "audience": "https://vault",
            }
        },
        {
            "serviceAccountToken": {
                "path": "aws",
                "expirationSeconds": 3600,
                "audience": "sts.amazonaws.com",
            }
        },
    ]
    assert mounts(after) == {"app": [("boundtoken", PATH), ("boundtoken-tokens", TOKENS)]}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param("a=x,b=y", "a=x", id="one less"),
        pytest.param("a=x", "a=x,b=y;900,c=z", id="two more"),
        pytest.param("a=x,b=y", "b=y,a=x", id="another order"),
        pytest.param("a=x", "a=y;1200", id="another audience and lifetime"),
    ],
)
def test_further_tokens_follow_the_policy_source_by_source(before: str, now: str) -> None:
    old = mutated(a_pod(), inject="enabled", tokens=before)
    after = mutated(old, inject="enabled", tokens=now)
    assert volume(after, "boundtoken-tokens") == volume(
        mutated(a_pod(), inject="enabled", tokens=now), "boundtoken-tokens"
    )


def test_further_tokens_that_nobody_wants_any_more_go() -> None:
    old = mutated(a_pod(), inject="enabled", tokens="a=x")
    after = mutated(old, inject="enabled")
    assert volume_names(after) == ["boundtoken"]
    assert mounts(after) == {"app": [("boundtoken", PATH)]}


def test_further_tokens_need_inject() -> None:
    assert mutating_decision(a_pod(), tokens="a=x").operations == ()


def test_lists_that_are_null_or_empty_count_as_absent() -> None:
    pod = a_pod(volumes=None, initContainers=None)
    pod["spec"]["volumes"] = None
    pod["metadata"]["annotations"] = None
    pod["spec"]["containers"][0]["volumeMounts"] = []
    after = mutated(pod, inject="enabled", automount="disabled")
    assert volume_names(after) == ["boundtoken"]
    assert after["metadata"]["annotations"][names.STATUS].startswith("injected: ")


def test_several_automounted_volumes_are_all_taken_care_of() -> None:
    pod = a_pod(
        a_container("one", ("kube-api-access-aaaaa", PATH)),
        a_container("two", ("kube-api-access-bbbbb", PATH)),
        volumes=[
            api_access("kube-api-access-aaaaa"),
            {"name": "data", "emptyDir": {}},
            api_access("kube-api-access-bbbbb"),
        ],
    )
    assert volume_names(mutated(pod, automount="disabled")) == ["data"]
    ours = mutated(pod, inject="enabled", automount="disabled")
    assert (volume_names(ours), mounts(ours)) == (
        ["boundtoken", "data"],
        {"one": [("boundtoken", PATH)], "two": [("boundtoken", PATH)]},
    )
    kept = mutated(pod, inject="enabled")
    assert [
        token(kept, name)["expirationSeconds"]
        for name in ("kube-api-access-aaaaa", "kube-api-access-bbbbb")
    ] == [
        3600,
        3600,
    ]


@pytest.mark.parametrize("last", [{}, {"seconds": None}, {"audience": "b"}, {"seconds": 3600}])
def test_automounted_volumes_get_the_same_token_whatever_they_came_with(last: Json) -> None:
    """The second is exactly as the plugin adds it."""
    ours = [
        api_access("kube-api-access-a", audience="vault"),
        api_access("kube-api-access-b"),
        api_access("kube-api-access-c", **last),
    ]
    pod = a_pod(a_container("app", ("kube-api-access-a", PATH)), volumes=ours)
    after = mutated(pod, inject="enabled", audience="vault", expiration_seconds="7200")
    expected = {"path": "token", "audience": "vault", "expirationSeconds": 7200}
    assert [token(after, volume["name"]) for volume in ours] == [expected] * 3


def test_the_folders_around_a_very_long_path_are_not_made() -> None:
    injection._parents.cache_clear()
    assert injection._parents("/a" * 2047) == frozenset()
    assert injection._parents("/a/b") == {"/", "/a", "/a/"}
