"""One law over many pods: admission goes through twice, and the second time nothing is left to
do.
"""

import os

from tests.support.builders import (
    Json,
    a_request,
    applied,
    automounted,
    directory,
    mounts,
    mutation_of,
    volume_names,
)
from tests.support.generated import Generator
from webhook.core import names, policy
from webhook.core.decision import Decision
from webhook.core.policy import ClusterPolicy, NamespacePolicy, TokenPolicy

PODS = int(os.environ.get("BOUNDTOKEN_PODS", "300"))
"""How many; `make long` asks for 80,000."""
SEED = int(os.environ.get("BOUNDTOKEN_SEED", "0"))
CLUSTER = ClusterPolicy()


def test_plugin_and_we_come_to_rest_with_one_reason_for_every_shape_and_size() -> None:
    for number in range(PODS):
        generator = Generator(SEED + number)
        namespace = policy.resolve_namespace(CLUSTER, policy.own_annotations(generator.namespace()))
        pod = generator.pod()
        try:
            comes_to_rest(pod, namespace, opts_out=generator.account_opts_out())
        except Exception as problem:
            raise AssertionError(
                f"BOUNDTOKEN_SEED={SEED + number} BOUNDTOKEN_PODS=1 shows it"
            ) from problem


def comes_to_rest(pod: Json, namespace: NamespacePolicy, *, opts_out: bool) -> None:
    """Plugin, we, plugin, we, as the API server calls us; and then neither finds anything to do.

    `opts_out`: the service account says `automountServiceAccountToken: false`.
    """

    def plugin(pod: Json, name: str) -> Json:
        stays_out = opts_out and pod["spec"].get("automountServiceAccountToken") is None
        return pod if stays_out else automounted(pod, name)

    arrived = plugin(pod, "kube-api-access-first")
    first, once = decision_and_pod(arrived, namespace)
    second, twice = decision_and_pod(plugin(once, "kube-api-access-again"), namespace)
    third, _ = decision_and_pod(twice, namespace)
    assert plugin(twice, "kube-api-access-third") == twice
    assert third.operations == ()
    assert first.reason == second.reason == third.reason
    assert first.audit == second.audit == third.audit
    assert status(once) == status(twice)
    has_status = third.reason in ("injected", "rewritten", "stripped") or (
        third.reason == "nothing-to-replace" and not policy_of(twice, namespace).automount
    )
    shown = status(twice)
    assert (shown is not None) == has_status
    assert shown is None or (shown.startswith(f"{third.reason}: ") and len(shown) < 160)
    is_sound(arrived, twice)


def policy_of(pod: Json, namespace: NamespacePolicy) -> TokenPolicy:
    return policy.resolve(namespace, pod["metadata"].get("annotations") or {}).policy


def decision_and_pod(pod: Json, namespace: NamespacePolicy) -> tuple[Decision, Json]:
    verdict = mutation_of(a_request(pod), CLUSTER, namespace)
    return verdict, applied(pod, verdict)


def status(pod: Json) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(names.STATUS)


def is_sound(before: Json, after: Json) -> None:
    """Volumes have one name each, mounts their volume, and no directory has more mounts than its
    author gave it.
    """
    there = volume_names(after)
    assert len(set(there)) == len(there)
    missing = {name for pairs in mounts(before).values() for name, _ in pairs} - set(
        volume_names(before)
    )
    for name, pairs in mounts(after).items():
        assert {volume for volume, _ in pairs} <= {*there, *missing}
        paths, given = (
            [directory(path) for _, path in mounted] for mounted in (pairs, mounts(before)[name])
        )
        assert len({path for _, path in pairs}) == len(pairs)
        assert len(paths) - len(set(paths)) <= len(given) - len(set(given))
