"""From the release before to this one, to the chart, and back, under load: no call fails, no pod
that should be injected is not, no pod that complies is refused, none that violates is created.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import VIOLATING, Json, a_bare_pod, with_tokens
from tests.support.cluster import NAMESPACES, Cluster, rolled_out, starved
from tests.support.helm import CHART, helm
from tests.support.load import FEW, calls, everyday_load, namespace, why_refused
from tests.support.paths import ROOT
from tests.support.releases import (
    BEFORE,
    FLOOR,
    both_answer,
    install,
    overlay,
    unpacked,
)
from tests.support.threads import repeating
from tests.support.waiting import wait_for
from webhook.core import names
from webhook.pki.store import GROUP, KINDS

pytestmark = [
    pytest.mark.slow("attacks by CPU succeed or fail by the time that they take"),
    pytest.mark.timeout(1800),
]


class Releases(NamedTuple):
    """The overlays of the release before and of this one, and the code of the one before."""

    before: Path
    now: Path
    code: Path


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    code = unpacked(BEFORE, tmp_path / "code")
    return Releases(overlay(tmp_path / "before", code, code), overlay(tmp_path / "now", ROOT), code)


WAYS = (
    "a maximum of its own",
    "a big pod",
    "many tokens",
    "an expensive neighbour",
    "idle connections",
)


OPEN_ON_EVERY_MACHINE = WAYS[:2]
"""The others kept a replica of the release before busy for longer than the API server waits. A
faster machine answers in time: whether they led past the floor there says nothing of this release.
"""


def is_closed(refusal: str) -> bool:
    """Whether we refused it, or the API server gave up on a slow machine: for a pod of 20,000
    tokens it has 34 s.
    """
    return "boundtoken" in refusal or "request did not complete within" in refusal


class Ways:
    """The ways past a floor that an attack on the release before found; each pod gets a token of a
    year.
    """

    def __init__(self, plane: ControlPlane, kubelet: Kubelet) -> None:
        self._plane, self._kubelet = plane, kubelet
        self.lowered = namespace(plane, "lowered", max_expiration_seconds="31536000")
        self._plain = namespace(plane, "plain")
        self._listed = namespace(
            plane,
            "listed",
            allowed_audiences=",".join(
                f"https://audience-{number}.example" for number in range(100)
            ),
        )

    def past_the_floor(self) -> dict[str, str]:
        """Why each way was refused at last: empty where a pod that violates was created."""
        fat, many = (
            with_tokens({"expirationSeconds": 3607}),
            with_tokens(*[{"audience": "x"}] * 20_000),
        )
        fat["spec"]["containers"][0]["env"] = [
            {"name": f"E{number}", "value": "<" * 120_000} for number in range(11)
        ]
        many["spec"].pop("automountServiceAccountToken")
        found = {
            WAYS[0]: self._refusal(self.lowered, a_bare_pod()),
            WAYS[1]: self._refusal(self._plain, fat),
        }
        found[WAYS[2]] = self._refusal(self._listed, many)
        assert self._refusal(self._plain, VIOLATING)
        with self._expensive_neighbour():
            found[WAYS[3]] = self._refusal(self._plain, VIOLATING, tries=10)
        wait_for(lambda: self._refusal(self._plain, VIOLATING), 60)
        found[WAYS[4]] = self._refusal_while_starved()
        return found

    def _refusal(self, namespace: str, pod: Json, tries: int = 1) -> str:
        message = ""
        for _ in range(tries):
            message = why_refused(self._plane, namespace, pod)
            if not message:
                break
        return message

    def _refusal_while_starved(self) -> str:
        """An attacker does it again where the API server opens a connection between the cut and the
        last of ours.
        """
        message = ""
        for _ in range(3):
            self._plane.egress.cut()
            with starved(self._kubelet):
                message = self._refusal(self._plain, VIOLATING, tries=10)
            if not message:
                break
        return message

    @contextlib.contextmanager
    def _expensive_neighbour(self) -> Iterator[None]:
        """Pods of 390 KB under dry run, in a namespace that asks for nothing."""
        pod = a_bare_pod(*({"name": f"c{number}", "image": "i"} for number in range(4000)))
        skip = ",".join(map(str, range(50_000)))[:250_000]
        pod["metadata"]["annotations"] = {
            "boundtoken.dev/inject": "enabled",
            "boundtoken.dev/skip-containers": skip,
        }
        neighbour = namespace(self._plane, f"neighbour-{time.time_ns()}")
        with repeating(*[lambda: why_refused(self._plane, neighbour, pod)] * 4):
            time.sleep(2)
            yield


def upgraded(plane: ControlPlane, kubelet: Kubelet, releases: Releases) -> None:
    """By kustomize; replicas of both releases answer for a while."""
    plane.kubectl("apply", "-k", str(releases.now))
    both_answer(kubelet, releases.code)
    install(plane, kubelet, releases.now)


def downgraded(plane: ControlPlane, kubelet: Kubelet, releases: Releases) -> None:
    plane.kubectl("apply", "-k", str(releases.before))
    both_answer(kubelet, releases.code)
    install(plane, kubelet, releases.before)


def moved_to_the_chart_and_back(plane: ControlPlane, kubelet: Kubelet, now: Path) -> None:
    """By the commands of the chart's README, with the values that the overlay has."""
    as_helm = ("--server-side", "--field-manager=helm", "--force-conflicts")
    values = yaml.safe_dump({"config": {"locks": yaml.safe_load(FLOOR)["locks"]}})
    place = ("-n", names.NAMESPACE)
    plane.kubectl("apply", "-k", str(now), *as_helm)
    moved = helm(
        *("install", names.APP, str(CHART), *place, "-f", "-", "--take-ownership"),
        kubeconfig=plane.kubeconfig(),
        stdin=values,
    )
    assert moved.returncode == 0, moved.stderr
    rolled_out(Cluster(plane, kubelet))
    plane.kubectl("apply", "-k", str(now), *as_helm)
    plane.kubectl("apply", "-k", str(now))
    plane.kubectl("delete", "secrets", *place, "-l", f"owner=helm,name={names.APP}")
    rolled_out(Cluster(plane, kubelet))


def conditions(plane: ControlPlane) -> dict[str, list[str]]:
    """The names of the matchConditions of each entry of both webhook configurations."""
    return {
        entry["name"]: [condition["name"] for condition in entry.get("matchConditions") or ()]
        for kind in KINDS
        for entry in plane.call("GET", f"{GROUP}/{kind}/{names.APP}")["webhooks"]
    }


def is_labelled(plane: ControlPlane, namespace: str) -> bool:
    labels = plane.call("GET", f"{NAMESPACES}/{namespace}")["metadata"]["labels"]
    return bool(labels.get(names.LEFTOVER_LABEL) == "true")


def test_an_upgrade_and_the_way_back_under_load(releases: Releases) -> None:
    before, now, _ = releases
    with ControlPlane() as plane:
        plane.kubectl("apply", "-k", str(before))
        with Kubelet(plane) as kubelet:
            install(plane, kubelet, before)
            enforced = namespace(plane, "enforced", enforce="bound")
            wait_for(lambda: "violates boundtoken" in why_refused(plane, enforced, VIOLATING), 20)
            ways = Ways(plane, kubelet)
            refusals = ways.past_the_floor()
            print("before:", {way: refusal[:200] for way, refusal in refusals.items()})
            assert not any(refusals[way] for way in OPEN_ON_EVERY_MACHINE), refusals
            first = conditions(plane)
            load = everyday_load(plane)
            load.wait_until_well()
            before_it = calls(plane)
            with load.running():
                upgraded(plane, kubelet, releases)
                wait_for(
                    lambda: "[token-lifetime]" in why_refused(plane, ways.lowered, a_bare_pod()), 20
                )
                assert is_labelled(plane, enforced)
                moved_to_the_chart_and_back(plane, kubelet, now)
                load.wait_for_more(20)
                downgraded(plane, kubelet, releases)
                load.wait_for_more(20)
            after_it = calls(plane)
            print("under load:", dict(load.made), "before and after:", before_it, after_it)
            assert load.problems == []
            assert after_it.failed_at_once_since(before_it) <= FEW
            assert conditions(plane) == first
            install(plane, kubelet, now)
            wait_for(
                lambda: "[token-lifetime]" in why_refused(plane, ways.lowered, a_bare_pod()), 20
            )
            refusals = ways.past_the_floor()
            print("now:", {way: refusal[:200] for way, refusal in refusals.items()})
            assert [way for way in WAYS if not is_closed(refusals[way])] == [], refusals
