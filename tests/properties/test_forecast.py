"""One law over many pods: what a preview forecasts of a pod that exists is what becomes of it when
its owner creates it again.
"""

import copy
import random

import msgspec
import pytest

from tests.support.builders import (
    Json,
    a_container,
    a_namespace_policy,
    a_pod,
    a_request,
    applied,
    automounted,
    mutation_of,
)
from tests.support.generated import Generator, copies_nothing
from webhook.core import names
from webhook.core.full_views import FullPod
from webhook.core.policy import ClusterPolicy, NamespacePolicy
from webhook.enforcement import forecast, preview, rules, validate
from webhook.enforcement.facts import Facts

CLUSTER = ClusterPolicy(api_audiences=("api",))
POLICIES: list[dict[str, str]] = [
    {},
    {"inject": "enabled"},
    {"inject": "enabled", "automount": "disabled"},
    {"automount": "disabled"},
    {"inject": "enabled", "mount_path": "/bound"},
    {
        "inject": "enabled",
        "automount": "disabled",
        "mount_path": "/bound",
        "tokens": "v=vault",
    },
    {"inject": "enabled", "tokens": "v=vault"},
    {"inject": "replace"},
    {"inject": "replace", "automount": "disabled"},
]


def admitted(pod: Json, namespace: NamespacePolicy, *, opts_out: bool) -> Json:
    """The pod after the plugin and us, twice. `opts_out`: its service account does."""
    pod = copy.deepcopy(pod)
    for _ in range(2):
        says = pod["spec"].get("automountServiceAccountToken")
        if says or not opts_out:
            pod = automounted(pod)
        pod = applied(pod, mutation_of(a_request(pod), CLUSTER, namespace))
    return pod


def refusals(pod: FullPod, namespace: NamespacePolicy) -> list[str]:
    found = validate.violations_of("enforce", Facts(pod), CLUSTER, namespace)
    return rules.sentences(map(preview.unnumbered, found))


def as_view(pod: Json) -> FullPod:
    return msgspec.json.decode(msgspec.json.encode(pod), type=FullPod)


@pytest.mark.parametrize("seed", range(2))
def test_the_forecast_is_what_becomes_of_the_pod(seed: int) -> None:
    generator, chance = Generator(seed), random.Random(seed)
    same = changed = refused = 0
    for _ in range(1000):
        pod, before = generator.pod(), chance.choice(POLICIES)
        after = before if chance.random() < 0.5 else chance.choice(POLICIES)
        opts_out = chance.random() < 0.2
        if not copies_nothing(pod):
            continue
        (pod["metadata"].get("annotations") or {}).pop(names.STATUS, None)
        level = chance.choice(["bound", "strict"])
        then, now = (
            a_namespace_policy(CLUSTER, **before),
            a_namespace_policy(CLUSTER, **after, enforce=level),
        )
        exists = admitted(pod, then, opts_out=opts_out)
        again = as_view(admitted(pod, now, opts_out=opts_out))
        forecasted = forecast.created_again(as_view(exists), "shop", CLUSTER, now)
        if before == after:
            same += 1
        elif opts_out or is_unreadable(pod, exists):
            continue
        else:
            changed += 1
        refused += bool(refusals(again, now))
        assert refusals(forecasted, now) == refusals(again, now), (pod, before, after)
    assert (same > 80, changed > 20, refused > 40) == (True, True, True), (same, changed, refused)


def test_a_skipped_container_without_the_automounted_volume_never_had_it() -> None:
    """Its service account opts out, so the plugin adds no volume again."""
    pod = a_pod(a_container("app"), annotations={names.SKIP_CONTAINERS: "app"})
    namespace = a_namespace_policy(CLUSTER, inject="enabled", automount="disabled", enforce="bound")
    exists = as_view(admitted(pod, namespace, opts_out=True))
    assert refusals(forecast.created_again(exists, "shop", CLUSTER, namespace), namespace) == []


def test_the_containers_of_kubectl_debug_are_not_created_again() -> None:
    pod = as_view(a_pod(a_container("app"), ephemeralContainers=[a_container("debug")]))
    again = forecast.created_again(pod, "shop", CLUSTER, a_namespace_policy(CLUSTER))
    assert again.spec.ephemeral_containers is None


def is_unreadable(posted: Json, exists: Json) -> bool:
    """Whether the pod does not show what was done to it, as `forecast` lists. It matters only where
    the settings of injection have changed since.
    """
    own = posted["metadata"].get("annotations") or {}
    status = (exists["metadata"].get("annotations") or {}).get(names.STATUS, "")
    has_no_token = not status.startswith(("injected", "rewritten"))
    says = exists["spec"].get("automountServiceAccountToken") is False
    return says and (has_no_token or own.get(names.INJECT) == "enabled")
