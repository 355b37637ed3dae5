"""The preview: which changes are looked at, and how what would fail is said."""

from typing import Any

import msgspec
import pytest

from tests.support.builders import Json, a_pod, api_access, automounted
from webhook.core import names, policy
from webhook.core.full_views import Namespace
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.core.views import Metadata
from webhook.enforcement import preview
from webhook.enforcement.preview import ListedPod, Preview

API = ClusterPolicy(api_audiences=("api",))


def a_namespace_view(**annotations: str) -> Namespace:
    given = {names.DOMAIN + name.replace("_", "-"): value for name, value in annotations.items()}
    return Namespace(Metadata(name="shop", annotations=given))


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
    demanded = policy.own_annotations(
        a_namespace_view(**(annotations or {"enforce": "bound"})).metadata.annotations
    )
    made = Preview("shop", cluster, policy.resolve_namespace(cluster, demanded), ("enforce",))
    made.add(pods)
    return made


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({}, {"enforce": "bound"}, [("enforce", "bound")]),
        ({"enforce": "bound"}, {"enforce": "bound"}, []),
        ({"enforce": "bound"}, {"enforce": "off"}, []),
        ({}, {"warn": "strict"}, [("warn", "strict")]),
        ({}, {"audit": "strict"}, []),
        ({}, {"enforce": "bound", "warn": "bound"}, [("enforce", "bound")]),
        (
            {"enforce": "bound"},
            {"enforce": "bound", "max_expiration_seconds": "600"},
            [("enforce", "bound")],
        ),
        (
            {"enforce": "bound"},
            {"enforce": "bound", "allowed_audiences": "vault"},
            [("enforce", "bound")],
        ),
        ({"enforce": "bound"}, {"enforce": "bound", "inject": "enabled"}, []),
        ({}, {"max_expiration_seconds": "600"}, []),
    ],
)
def test_which_changes_are_looked_at(
    before: dict[str, str], after: dict[str, str], changed: list[tuple[str, str]]
) -> None:
    layer, found = preview.changes(
        a_namespace_view(**before), a_namespace_view(**after), ClusterPolicy()
    )
    assert [(mode, layer.enforcement.of(mode).level) for mode in found] == changed


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
    assert looked(*pods).warnings() == (
        'existing pods in namespace "shop" violate the boundtoken enforce level "bound:v1"',
        'deployment/web (2 pods), pod/d0, pod/d1 and 2 more: [token-lifetime] volume "kube-api-access-*": 3607 makes a token valid '
        "for one year, not 86400 s; annotate namespace or pod with boundtoken.dev/inject=enabled",
    )


def test_nothing_is_said_where_nothing_would_fail_and_what_was_not_seen_is() -> None:
    assert looked(listed(a_pod())).warnings() == ()
    assert looked().warnings("3000 existing pods were looked at") == (
        "3000 existing pods were looked at",
    )


def test_exempt_pods_are_left_out() -> None:
    exemptions = Exemptions(service_accounts=frozenset({"shop/default"}))
    assert (
        looked(
            listed(automounted(a_pod())), cluster=ClusterPolicy(exemptions=exemptions)
        ).warnings()
        == ()
    )


def test_a_change_of_the_maximum_under_a_floor_is_looked_at_and_names_the_floor() -> None:
    floor = ClusterPolicy(enforce_floor="bound")
    layer, found = preview.changes(
        a_namespace_view(), a_namespace_view(max_expiration_seconds="600"), floor
    )
    assert (layer.max_expiration_seconds, found) == (600, ("enforce",))
    texts = looked(
        listed(automounted(a_pod())), cluster=floor, max_expiration_seconds="600"
    ).warnings()
    assert (
        texts[0] == 'existing pods in namespace "shop" violate the cluster\'s enforceFloor "bound"'
    )


def test_those_that_the_cluster_surely_needs_come_first() -> None:
    pod = a_pod(volumes=[api_access("boundtoken", seconds=3600)])
    made = looked(listed(pod, "a"), listed(pod, "b", owner=("DaemonSet", "cni")))
    assert [line.partition(":")[0] for line in made.warnings()] == ["daemonset/cni", "pod/a"]
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
    texts = looked(listed(pod, owner=owner)).warnings()
    assert bool(texts) is told
    if told:
        whose = f"{owner[0].lower()}/{owner[1]}" if owner else "pod/web-1"
        assert texts[0].startswith(
            f"{whose}: complies by injection only, and is refused while boundtoken is away; "
        )
        assert len(texts[0]) < 200
