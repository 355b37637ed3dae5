"""The forecast of a preview beside what the real API server refuses."""

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec

from tests.controlplane.cluster import ISSUER, StatusError
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES, Cluster, quiet
from tests.support.generated import Generator, copies_nothing
from webhook.core import names, policy
from webhook.core.policy import ClusterPolicy
from webhook.enforcement.preview import ListedPod, Preview

CLUSTER = ClusterPolicy(api_audiences=(ISSUER,))
INJECTS = {"inject": "enabled", "automount": "disabled"}
CHANGES: list[tuple[Any, Any, bool]] = [
    ({}, {}, False),
    ({}, {}, True),
    ({"inject": "enabled"}, {"inject": "enabled"}, False),
    ({"inject": "enabled"}, {"inject": "enabled"}, True),
    (INJECTS, INJECTS, False),
    (INJECTS, INJECTS, True),
    ({**INJECTS, "mount_path": "/bound", "tokens": "v=vault"}, {**INJECTS, "mount_path": "/bound", "tokens": "v=vault"}, False),
    ({"inject": "replace"}, {"inject": "replace"}, False),
    ({"inject": "replace", "automount": "disabled"}, {"inject": "replace", "automount": "disabled"}, True),
    ({}, INJECTS, False),
    ({}, {"inject": "enabled"}, False),
    (INJECTS, {}, False),
    ({"inject": "enabled", "tokens": "v=vault"}, {"allowed_audiences": "other"}, False),
    ({"inject": "enabled"}, {"inject": "enabled", "max_expiration_seconds": "1800"}, False),
]  # fmt: skip
"""Annotations when the pods were created and now, and whether the service account opts out of
automount."""
PODS = 500
RULE = re.compile(r"\[([a-z-]+)\]")


class Result(NamedTuple):
    """Of one pod, created again: the rules by which it is refused, as forecast and really."""

    pod: Json
    forecast: set[str]
    real: set[str]


def created(cluster: Cluster, namespace: str, pod: Json) -> Json:
    path = f"{NAMESPACES}/{namespace}/pods?dryRun=All"
    return dict(cluster.plane.call("POST", path, pod))


def pods_of_people(seed: int) -> Iterator[Json]:
    """Generated pods, without those that copy volumes of another pod."""
    generator, number = Generator(seed), 0
    while True:
        number += 1
        pod = generator.pod()
        (pod["metadata"].get("annotations") or {}).pop(names.STATUS, None)
        if copies_nothing(pod):
            pod["metadata"]["name"] = f"web-{number}"
            yield pod


def test_what_is_forecast_is_what_is_refused_for_500_pods_and_their_owners(
    cluster: Cluster,
) -> None:
    chance = random.Random(0)
    pods = pods_of_people(0)
    results: list[Result] = []
    with ThreadPoolExecutor(4) as pool:
        for before, after, opts_out in CHANGES:
            level = chance.choice(["bound", "strict"])
            make = (lambda **own: quiet(cluster, **own)) if opts_out else cluster.namespace
            then, now = make(**before), make(**after, enforce=level)
            work = lambda pod, then=then, now=now: compare(cluster, then, now, pod)  # noqa: E731
            number = 0
            while number < PODS / len(CHANGES):
                found = [made for made in pool.map(work, (next(pods) for _ in range(16))) if made]
                number += len(found)
                results += found
    assert len(results) >= PODS
    assert [result for result in results if result.forecast != result.real] == []
    refused = sum(bool(result.real) for result in results)
    assert 50 < refused < len(results) - 50


def compare(cluster: Cluster, then: str, now: str, pod: Json) -> Result | None:
    """A pod that was created in the namespace `then`, as its owner creates it again in `now`. None
    where the API server takes no such pod, or the pod does not show what was done to it.
    """
    try:
        exists, real = created(cluster, then, pod), cluster.denial(now, pod)
    except StatusError:
        return None
    own = pod["metadata"].get("annotations") or {}
    is_changed = annotations(cluster, then) != annotations(cluster, now)
    says = exists["spec"].get("automountServiceAccountToken") is False
    status = (exists["metadata"].get("annotations") or {}).get(names.STATUS, "")
    has_token = status.startswith(("injected", "rewritten"))
    if is_changed and says and (own.get(names.INJECT) == "enabled" or not has_token):
        return None
    owner = {"kind": "ReplicaSet", "name": "web-7d9f", "controller": True}
    exists["metadata"] |= {"ownerReferences": [owner], "labels": {"pod-template-hash": "7d9f"}}
    listed = msgspec.json.decode(msgspec.json.encode(exists), type=ListedPod)
    namespace = policy.resolve_namespace(CLUSTER, annotations(cluster, now, levels=True))
    preview = Preview(now, CLUSTER, namespace, ("enforce",))
    preview.add([listed])
    lines = preview.lines()
    refused = bool(preview.counts("enforce").refused)
    assert all("deployment/web" in line for line in lines[1:])
    told = {rule for line in lines for rule in RULE.findall(line)} if refused else set()
    return Result(pod, told, set(RULE.findall(real)))


_KNOWN: dict[str, dict[str, str]] = {}


def annotations(cluster: Cluster, namespace: str, *, levels: bool = False) -> dict[str, str]:
    """The annotations of ours on a namespace, without the level if only injection matters."""
    if namespace not in _KNOWN:
        metadata = cluster.plane.call("GET", f"{NAMESPACES}/{namespace}")["metadata"]
        _KNOWN[namespace] = policy.own_annotations(metadata.get("annotations"))
    own = _KNOWN[namespace]
    return own if levels else {name: own[name] for name in own if name != names.ENFORCE}
