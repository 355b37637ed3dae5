"""The preview: which requests are answered, the three groups of pods, and how they are told."""

from typing import Any

import msgspec
import pytest

from tests.support.builders import Json, a_container, a_pod, api_access, automounted
from webhook.core import names, policy
from webhook.core.policy import ClusterPolicy, Exemptions, NamespacePolicy
from webhook.enforcement import preview
from webhook.enforcement.preview import Counts, ListedPod, Preview

API = ClusterPolicy(api_audiences=("api",))


YEAR = (
    '[token-lifetime] volume "kube-api-access-*": the automounted token is valid for one year, not 86400 s; annotate namespace or pod template '
    "with boundtoken.dev/inject=replace"
)


def resolved(cluster: ClusterPolicy, **annotations: str) -> NamespacePolicy:
    given = {names.DOMAIN + name.replace("_", "-"): value for name, value in annotations.items()}
    return policy.resolve_namespace(cluster, given)


def listed(
    pod: Json,
    name: str = "web-1",
    *,
    owner: tuple[str, str] | None = None,
    phase: str = "Running",
    **metadata: Any,
) -> ListedPod:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    object_ = {
        **pod,
        "metadata": {"name": name, "ownerReferences": references, **metadata},
        "status": {"phase": phase},
    }
    return msgspec.json.decode(msgspec.json.encode(object_), type=ListedPod)


def looked(*pods: ListedPod, cluster: ClusterPolicy = API, **annotations: str) -> Preview:
    made = Preview(
        "shop", cluster, resolved(cluster, **(annotations or {"enforce": "bound"})), ("enforce",)
    )
    made.add(pods)
    return made


@pytest.mark.parametrize(
    ("before", "after", "changed", "required"),
    [
        ({}, {"enforce": "bound"}, ["enforce"], ["enforce"]),
        ({"enforce": "bound"}, {"enforce": "bound"}, [], ["enforce"]),
        ({"enforce": "bound"}, {"enforce": "off"}, [], []),
        ({}, {"warn": "strict"}, ["warn"], ["warn"]),
        ({"enforce": "bound"}, {"enforce": "bound", "warn": "strict"}, ["warn"], ["enforce", "warn"]),
        ({}, {"audit": "strict"}, [], []),
        ({}, {"enforce": "bound", "warn": "bound"}, ["enforce"], ["enforce"]),
        ({"enforce": "bound"}, {"enforce": "bound", "max_expiration_seconds": "600"}, ["enforce"], ["enforce"]),
        ({"enforce": "bound"}, {"enforce": "bound", "allowed_audiences": "vault"}, ["enforce"], ["enforce"]),
        ({"enforce": "bound"}, {"enforce": "bound", "inject": "enabled"}, ["enforce"], ["enforce"]),
        ({"enforce": "bound"}, {"enforce": "bound", "pod_overrides": "denied"}, ["enforce"], ["enforce"]),
        ({}, {"max_expiration_seconds": "600"}, [], []),
    ],
)  # fmt: skip
def test_a_change_is_answered_and_under_dry_run_every_demand(
    before: dict[str, str], after: dict[str, str], changed: list[str], required: list[str]
) -> None:
    policies = resolved(API, **before), resolved(API, **after)
    assert list(preview.modes(*policies, API, every=False)) == changed
    assert list(preview.modes(*policies, API, every=True)) == required


def test_pods_are_in_three_groups_with_their_owners() -> None:
    year = automounted(a_pod())
    hashed: Any = {"labels": {"pod-template-hash": "7d9f"}}
    out: Any = {"annotations": {names.INJECT: "disabled"}, **hashed}
    pods = [
        *[listed(year, f"a{n}", owner=("ReplicaSet", "web-7d9f"), **hashed) for n in range(30)],
        listed(year, "b", owner=("ReplicaSet", "optout-7d9f"), **out),
        listed(year, "c", phase="Succeeded"),
        *[listed(a_pod(automountServiceAccountToken=False), f"d{n}") for n in range(9)],
    ]
    made = looked(*pods, enforce="bound", inject="enabled")
    assert made.lines() == [
        '31 existing pods in namespace "shop" violate "bound": 30 comply after a restart, 1 will be refused (deployment/optout); 9 comply',
        f"deployment/optout: {YEAR.partition('; ')[0]}; the pod says boundtoken.dev/inject: disabled; take that off the pod template",
        "deployment/web (30 pods): comply after a restart, such as by kubectl rollout restart",
    ]
    assert made.counts("enforce") == Counts(9, 30, 1)


def test_a_pod_that_complies_and_could_not_be_created_again_is_told() -> None:
    pod = a_pod(
        a_container("app", ("boundtoken", names.DEFAULT_PATH)),
        volumes=[api_access("boundtoken", seconds=3600)],
        automountServiceAccountToken=False,
    )
    injected = listed(pod, annotations={names.STATUS: "injected policy=12345678"})
    made = looked(injected, enforce="bound")
    assert made.lines() == [
        '1 existing pod in namespace "shop" complies with "bound" now, and will be refused when created again (pod/web-1)',
        f"pod/web-1: {YEAR}",
    ]
    assert made.counts("enforce") == Counts(0, 0, 1)
    made = looked(injected, enforce="bound", inject="enabled")
    assert (made.lines(), made.lines(every=False)) == ([f"pod/web-1: {preview.RELYING}"], [])


def test_each_thing_is_said_once_with_all_its_owners() -> None:
    year = automounted(a_pod())
    other = automounted(a_pod(), "kube-api-access-other")
    hashed: Any = {"labels": {"pod-template-hash": "7d9f"}}
    pods = [
        listed(year, "a", owner=("ReplicaSet", "web-7d9f"), **hashed),
        listed(other, "b", owner=("ReplicaSet", "web-7d9f"), **hashed),
        listed(other, "c", owner=("ReplicaSet", "bare")),
        *[listed(year, f"d{number}") for number in range(3)],
        listed(year, "done", phase="Succeeded"),
        listed(a_pod(), "fine"),
    ]
    owners = "deployment/web (2 pods), pod/d0, pod/d1 and 2 more"
    assert looked(*pods).lines() == [
        f'6 existing pods in namespace "shop" violate "bound": 6 will be refused ({owners}); 1 complies',
        f"{owners}: {YEAR}",
    ]


def test_a_mode_that_only_warns_says_so() -> None:
    made = Preview("shop", API, resolved(API, warn="strict"), ("warn",))
    made.add([listed(automounted(a_pod()))])
    assert (
        made.lines()[0]
        == '1 existing pod in namespace "shop" violates the warn level "strict": 1 will be warned of (pod/web-1)'
    )


def test_nothing_is_told_where_all_comply() -> None:
    assert looked(listed(a_pod())).lines() == []


def test_pods_that_are_alike_are_evaluated_once() -> None:
    pods = [listed(automounted(a_pod(), f"kube-api-access-{n:05}"), f"a{n}") for n in range(50)]
    made, evaluated = looked(), []
    evaluate = made._evaluate
    made._evaluate = lambda pod: evaluated.append(pod) or evaluate(pod)  # type: ignore[func-returns-value,method-assign]
    made.add(pods)
    assert (len(evaluated), made.counts("enforce")) == (1, Counts(0, 0, 50))


def test_exempt_pods_are_left_out() -> None:
    exemptions = Exemptions(service_accounts=frozenset({"shop/default"}))
    assert (
        looked(listed(automounted(a_pod())), cluster=ClusterPolicy(exemptions=exemptions)).lines()
        == []
    )


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"max_expiration_seconds": "600"}, 'the cluster\'s enforceFloor "bound"'),
        ({"enforce": "off"}, 'the cluster\'s enforceFloor "bound"'),
        ({"enforce": "strict"}, '"strict" and the cluster\'s enforceFloor "bound"'),
    ],
)
def test_a_floor_is_looked_at_and_named(own: dict[str, str], named: str) -> None:
    floor = ClusterPolicy(enforce_floor="bound")
    found = preview.modes(resolved(floor), resolved(floor, **own), floor, every=True)
    assert found == ("enforce",)
    texts = looked(listed(automounted(a_pod())), cluster=floor, **own).lines()
    assert texts[0] == (
        f'1 existing pod in namespace "shop" violates {named}: 1 will be refused (pod/web-1)'
    )


def test_those_that_the_cluster_surely_needs_come_first() -> None:
    pod = a_pod(volumes=[api_access("boundtoken", seconds=3600)])
    made = looked(listed(pod, "a"), listed(pod, "b", owner=("DaemonSet", "cni")))
    assert [line.partition(":")[0] for line in made.lines()] == ["daemonset/cni", "pod/a"]
    assert [line.partition(":")[0] for line in made.lines(every=False)] == ["daemonset/cni"]
    assert not made.finds_violations


@pytest.mark.parametrize(
    ("spec", "owner", "told"),
    [
        ({"hostNetwork": True}, None, True),
        ({"priorityClassName": "system-node-critical"}, None, True),
        ({}, ("DaemonSet", "cni"), True),
        ({}, ("ReplicaSet", "mesh"), True),
        ({"hostNetwork": True, "volumes": []}, None, False),
        (
            {"hostNetwork": True, "volumes": [api_access("boundtoken-tokens", seconds=3600)]},
            None,
            False,
        ),
    ],
)
def test_pods_that_only_injection_lets_in_are_named(
    spec: Json, owner: tuple[str, str] | None, *, told: bool
) -> None:
    pod = a_pod(**{"volumes": [api_access("boundtoken", seconds=3600)], **spec})
    texts = looked(listed(pod, owner=owner)).lines()
    assert bool(texts) is told
    if told:
        whose = f"{owner[0].lower()}/{owner[1]}" if owner else "pod/web-1"
        assert texts[0].startswith(
            f"{whose}: complies by injection only, and is refused while boundtoken is down; "
        )
        assert len(texts[0]) < 200
