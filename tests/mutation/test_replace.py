"""`inject: replace`: a token of ours in place of the one that Kubernetes has mounted, or none."""

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
    volume_names,
)
from webhook.core import names

PATH = names.DEFAULT_PATH
ARRIVES_WITH = automounted(a_pod())
ARRIVES_WITHOUT = a_pod()
"""Its service account has opted out."""


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"audience": "vault", "expiration_seconds": "1200"},
        {"mount_path": "/bound"},
        {"tokens": "vault=https://vault;900"},
        {"mount_path": "/bound", "tokens": "vault=https://vault;900"},
    ],
    ids=["plain", "another token", "another path", "further tokens", "both"],
)
def test_a_pod_with_the_automounted_volume_becomes_what_enabled_makes_of_it(
    automount: str, options: dict[str, str]
) -> None:
    given = {"automount": automount, **options}
    replaced = mutating_decision(ARRIVES_WITH, inject="replace", **given)
    enabled = mutating_decision(ARRIVES_WITH, inject="enabled", **given)
    assert replaced.reason == enabled.reason
    pods = [applied(ARRIVES_WITH, verdict) for verdict in (replaced, enabled)]
    assert pods[0]["spec"] == pods[1]["spec"]
    again = mutating_decision(pods[0], inject="replace", **given)
    assert (again.reason, again.operations) == (replaced.reason, ())


@pytest.mark.parametrize(
    "options", [{}, {"mount_path": "/bound"}, {"tokens": "vault=https://vault"}]
)
def test_a_pod_without_it_stays_out(options: dict[str, str]) -> None:
    verdict = mutating_decision(ARRIVES_WITHOUT, inject="replace", **options)
    assert (verdict.reason, verdict.operations) == ("nothing-to-replace", ())
    given = {"inject": "replace", "automount": "disabled", **options}
    verdict = mutating_decision(ARRIVES_WITHOUT, **given)
    after = applied(ARRIVES_WITHOUT, verdict)
    assert (verdict.reason, verdict.outcome) == ("nothing-to-replace", "patched")
    assert after["spec"] == ARRIVES_WITHOUT["spec"] | {"automountServiceAccountToken": False}
    again = mutating_decision(after, **given)
    assert (again.reason, again.operations) == ("nothing-to-replace", ())


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_a_spec_that_asks_for_no_token_gets_none(automount: str) -> None:
    pod = a_pod(automountServiceAccountToken=False)
    for own in ({}, {names.INJECT: "replace"}):
        asking = {**pod, "metadata": {**pod["metadata"], "annotations": own}}
        verdict = mutating_decision(asking, inject="replace", automount=automount)
        assert (verdict.reason, mounts(applied(asking, verdict))) == (
            "nothing-to-replace",
            {"app": []},
        )


def test_a_false_that_we_wrote_ourselves_does_not_stop_the_second_call() -> None:
    pod = mutated(ARRIVES_WITH, inject="replace", automount="disabled")
    pod["spec"]["containers"].append(a_container("late"))
    after = mutated(pod, inject="replace", automount="disabled")
    assert mounts(after) == {"app": [("boundtoken", PATH)], "late": [("boundtoken", PATH)]}


def test_a_volume_of_ours_counts_as_mounted() -> None:
    """The pod was copied from a living one into a namespace with another policy."""
    pod = mutated(a_pod(), inject="enabled", automount="disabled", audience="old")
    after = mutated(pod, inject="replace", automount="disabled", expiration_seconds="1200")
    assert token(after, "boundtoken") == {"path": "token", "expirationSeconds": 1200}


def test_further_tokens_of_an_earlier_call_count_where_the_policy_has_some() -> None:
    own = a_pod(a_container("app", ("own", "/bound")), volumes=[{"name": "own", "emptyDir": {}}])
    given = {"inject": "replace", "automount": "disabled", "mount_path": "/bound", "tokens": "a=x"}
    once = mutated(automounted(own), **given)
    assert volume_names(once) == ["own", "boundtoken-tokens"]
    assert mutating_decision(once, **given).operations == ()
    del given["tokens"]
    assert volume_names(mutated(once, **given)) == ["own"]


@pytest.mark.parametrize("automount", ["enabled", "disabled"])
def test_a_foreign_volume_of_the_plugins_name_is_no_token_that_is_mounted(automount: str) -> None:
    pod = a_pod(volumes=[{"name": AUTOMOUNTED, "emptyDir": {}}])
    assert mutating_decision(pod, inject="replace", automount=automount).reason == (
        "nothing-to-replace"
    )


def own_mounts(*volumes: Json) -> Json:
    return a_pod(
        a_container("app", ("own", PATH)), volumes=[{"name": "own", "emptyDir": {}}, *volumes]
    )


@pytest.mark.parametrize("pod", [own_mounts(), own_mounts(api_access())])
def test_a_pod_where_no_container_needs_a_token_has_one_reason(pod: Json) -> None:
    given = {"inject": "replace", "automount": "disabled"}
    first = mutating_decision(pod, **given)
    second = mutating_decision(applied(pod, first), **given)
    assert first.reason == second.reason
    assert second.operations == ()


def test_a_pod_may_ask_for_it_itself() -> None:
    own = {names.INJECT: "replace", names.AUTOMOUNT: "disabled"}
    assert volume_names(mutated(automounted(a_pod(annotations=own)))) == ["boundtoken"]
    assert mutating_decision(a_pod(annotations=own)).reason == "nothing-to-replace"
