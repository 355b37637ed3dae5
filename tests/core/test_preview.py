"""The preview: which changes are looked at, and how what would fail is said."""

from typing import Any

import msgspec
import pytest

from tests.pods import Json, a_pod, automounted
from webhook.core import names, preview
from webhook.core.demands import Demand
from webhook.core.finals import LabelledMetadata, Namespace
from webhook.core.policy import ClusterLayer, Exemptions
from webhook.core.preview import ListedPod, Preview
from webhook.core.rules import Bounds

CHANGE: preview.Change = ("enforce", Demand("bound", "v1"))


def a_namespace(**annotations: str) -> Namespace:
    given = {names.DOMAIN + name.replace("_", "-"): value for name, value in annotations.items()}
    return Namespace(LabelledMetadata(name="shop", annotations=given))


def listed(
    pod: Json, name: str = "web-1", *, owner: tuple[str, str] | None = None, phase: str = "Running", **metadata: Any
) -> ListedPod:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    held = {**pod, "metadata": {"name": name, "ownerReferences": references, **metadata}, "status": {"phase": phase}}
    return msgspec.json.decode(msgspec.json.encode(held), type=ListedPod)


def looked(*pods: ListedPod, cluster: ClusterLayer | None = None) -> Preview:
    made = Preview("shop", cluster or ClusterLayer(), Bounds(api_audiences=("api",)), (CHANGE,))
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
        ({"enforce": "bound"}, {"enforce": "bound", "max_expiration_seconds": "600"}, [("enforce", "bound")]),
        ({"enforce": "bound"}, {"enforce": "bound", "allowed_audiences": "vault"}, [("enforce", "bound")]),
        ({"enforce": "bound"}, {"enforce": "bound", "inject": "enabled"}, []),
        ({}, {"max_expiration_seconds": "600"}, []),
    ],
)
def test_which_changes_are_looked_at(before: dict[str, str], after: dict[str, str], changed: list[tuple[str, str]]) -> None:
    _, found = preview.changes(a_namespace(**before), a_namespace(**after), ClusterLayer())
    assert [(mode, demand.level) for mode, demand in found] == changed


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
        'existing pods in namespace "shop" violate the new boundtoken enforce level "bound:v1"',
        "deployment/web (2 pods), pod/d0, pod/d1 and 2 more: spec.volumes.projected.sources.serviceAccountToken.expirationSeconds: "
        'volume "kube-api-access-*": 3607 becomes a year; set boundtoken.dev/inject: enabled, or ask for 86400',
    )


def test_nothing_is_said_where_nothing_would_fail_and_what_was_not_seen_is() -> None:
    assert looked(listed(a_pod())).warnings() == ()
    assert looked().warnings("3000 existing pods were looked at") == ("3000 existing pods were looked at",)


def test_exempt_pods_are_left_out() -> None:
    exemptions = Exemptions(service_accounts=frozenset({"shop/default"}))
    assert looked(listed(automounted(a_pod())), cluster=ClusterLayer(exemptions=exemptions)).warnings() == ()
