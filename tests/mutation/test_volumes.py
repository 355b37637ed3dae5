"""Volumes of ours from elsewhere: in pods that were copied from living ones, or made under another
policy.
"""

import copy
from typing import Any

import pytest

from tests.support.builders import (
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

PATH, TOKENS = names.DEFAULT_PATH, names.TOKENS_PATH


def from_elsewhere(seconds: int | None = 86400, audience: str | None = None, **spec: Any) -> Json:
    """A pod with volumes of ours that were made under another policy."""
    further = [
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 7200}},
        {"serviceAccountToken": {"path": "aws", "audience": "aws"}},
    ]
    tokens = {"name": "boundtoken-tokens", "projected": {"sources": further}}
    app = a_container("app", ("boundtoken", PATH), ("boundtoken-tokens", TOKENS))
    return a_pod(
        app, volumes=[api_access("boundtoken", seconds=seconds, audience=audience), tokens], **spec
    )


def test_without_a_token_of_ours_one_from_elsewhere_goes_with_the_automounted_one() -> None:
    pod = from_elsewhere(annotations={names.STATUS: "injected policy=00000000", "team": "shop"})
    verdict = mutating_decision(pod, automount="disabled")
    after = applied(pod, verdict)
    assert (verdict.reason, volume_names(after), mounts(after)) == ("stripped", [], {"app": []})
    status = after["metadata"]["annotations"].pop(names.STATUS)
    assert status.startswith("stripped: automount=disabled ")
    assert after["metadata"]["annotations"] == {"team": "shop"}


@pytest.mark.parametrize(
    "requested", [{}, {"inject": "enabled"}], ids=["nothing", "but the pod opts out"]
)
def test_without_injection_a_volume_of_ours_from_elsewhere_is_held_to_the_locks(
    requested: dict[str, str],
) -> None:
    annotations = {names.INJECT: "disabled"} if requested else {}
    pod = from_elsewhere(
        audience="other", annotations={names.STATUS: "injected policy=00000000", **annotations}
    )
    verdict = mutating_decision(
        pod, max_expiration_seconds="1200", allowed_audiences="vault", **requested
    )
    assert verdict.reason == ("pod-opted-out" if requested else "not-requested")
    after = applied(pod, verdict)
    assert token(after, "boundtoken") == {"path": "token", "expirationSeconds": 1200}
    assert volume(after, "boundtoken-tokens")["projected"]["sources"] == [
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 1200}}
    ]
    assert (mounts(after), after["metadata"]["annotations"]) == (mounts(pod), annotations)
    assert (
        mutating_decision(
            after, max_expiration_seconds="1200", allowed_audiences="vault", **requested
        ).operations
        == ()
    )


@pytest.mark.parametrize(
    ("seconds", "maximum", "want"),
    # Without a lifetime it is the API server's 3600 that counts, whatever our own default is.
    [
        (None, "1200", 1200),
        (None, "3599", 3599),
        (None, "3600", None),
        (3607, "7200", 3600),
        (600, "1200", 600),
    ],
)
def test_only_what_the_locks_do_not_allow_is_changed(
    seconds: int | None, maximum: str, want: int | None
) -> None:
    pod = a_pod(volumes=[api_access("boundtoken", seconds=seconds)])
    after = mutated(pod, max_expiration_seconds=maximum)
    assert token(after, "boundtoken").get("expirationSeconds") == want


def test_a_volume_of_ours_that_a_skipped_container_mounts_stays_within_the_locks() -> None:
    pod = from_elsewhere(audience="other", annotations={names.SKIP_CONTAINERS: "app"})
    after = mutated(
        pod, automount="disabled", max_expiration_seconds="1200", allowed_audiences="vault"
    )
    assert (mounts(after), token(after, "boundtoken")) == (
        mounts(pod),
        {"path": "token", "expirationSeconds": 1200},
    )
    assert [
        operation.path
        for operation in mutating_decision(from_elsewhere(), automount="disabled").operations
    ] == [
        "/spec/containers/0/volumeMounts/1",
        "/spec/containers/0/volumeMounts/0",
        "/spec/volumes/1",
        "/spec/volumes/0",
        "/spec/automountServiceAccountToken",
        "/metadata/annotations",
    ]
    after = mutated(pod, inject="enabled", max_expiration_seconds="1200")
    lives = [
        source["serviceAccountToken"]["expirationSeconds"]
        for source in after["spec"]["volumes"][1]["projected"]["sources"]
    ]
    assert (mounts(after), lives) == (mounts(pod), [1200, 1200])


def test_a_foreign_volume_of_our_name_is_not_held_to_anything() -> None:
    own = {
        "name": "boundtoken",
        "projected": {
            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 86400}}]
        },
    }
    pod = a_pod(a_container("app", ("boundtoken", PATH)), volumes=[own])
    for requested in ({}, {"automount": "disabled"}):
        assert mutated(pod, max_expiration_seconds="600", **requested)["spec"]["volumes"] == [own]


@pytest.mark.parametrize("tokens", ["", "a=x"])
def test_several_volumes_that_look_like_further_tokens_are_settled_in_one_call(tokens: str) -> None:
    old = mutated(a_pod(), inject="enabled", tokens="a=old,b=old")
    second = {
        **copy.deepcopy(volume(old, "boundtoken-tokens")),
        "name": "boundtoken-tokens-0a1b2c3d",
    }
    old["spec"]["volumes"].append(second)
    old["spec"]["containers"].append(a_container("side", (second["name"], TOKENS)))
    after = mutated(old, inject="enabled", tokens=tokens)
    assert mutating_decision(after, inject="enabled", tokens=tokens).operations == ()
    there = [added["projected"]["sources"] for added in after["spec"]["volumes"][1:]]
    expected = [{"serviceAccountToken": {"path": "a", "expirationSeconds": 3600, "audience": "x"}}]
    assert there == ([expected, expected] if tokens else [])
    if not tokens:
        assert mounts(after) == {"app": [("boundtoken", PATH)], "side": [("boundtoken", PATH)]}


def test_where_further_tokens_go_from_our_path_ours_comes_before_the_plugin_sees_a_gap() -> None:
    tokens = {
        "name": "boundtoken-tokens",
        "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "a"}}]},
    }
    pod = a_pod(a_container("app", ("boundtoken-tokens", PATH)), volumes=[tokens])
    after = mutated(pod, inject="enabled")
    assert (volume_names(after), mounts(after)) == (["boundtoken"], {"app": [("boundtoken", PATH)]})


def test_further_tokens_at_the_default_path_that_nobody_asks_for_leave_no_gap_for_the_plugin() -> (
    None
):
    """Our path is another, and the automounted token stays: in the gap the plugin would mount its
    own, and a second call would say something else than the first.
    """
    tokens = {
        "name": "boundtoken-tokens",
        "projected": {
            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 86400}}]
        },
    }
    pod = a_pod(a_container("app", ("boundtoken-tokens", PATH)), volumes=[tokens])
    annotations = {"inject": "enabled", "mount_path": "/vault", "max_expiration_seconds": "1200"}
    after = mutated(pod, **annotations)
    assert volume_names(after) == ["boundtoken-tokens", "boundtoken"]
    assert mounts(after) == {"app": [("boundtoken-tokens", PATH), ("boundtoken", "/vault")]}
    source = after["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert source["expirationSeconds"] == 1200
    assert mutated(automounted(after), **annotations) == after


def test_without_automount_further_tokens_at_the_default_path_go() -> None:
    """The plugin mounts nothing there any more."""
    tokens = {
        "name": "boundtoken-tokens",
        "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
    }
    pod = a_pod(a_container("app", ("boundtoken-tokens", PATH)), volumes=[tokens])
    after = mutated(pod, inject="enabled", automount="disabled", mount_path="/vault")
    assert volume_names(after) == ["boundtoken"]
    assert mounts(after) == {"app": [("boundtoken", "/vault")]}
