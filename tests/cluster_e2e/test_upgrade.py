"""From the release before to this one and back, under load: no pod that complies is refused, none
that violates is created.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import COMPLIANT, VIOLATING, Json, a_bare_pod, with_tokens
from tests.support.cluster import NAMESPACES, starved
from tests.support.paths import ROOT
from tests.support.releases import BEFORE, install, overlay, unpacked
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow("attacks by CPU succeed or fail by the time that they take")


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Path, Path]:
    """The overlays of the release before and of this one."""
    code = unpacked(BEFORE, tmp_path / "code")
    return overlay(tmp_path / "before", code, code), overlay(tmp_path / "now", ROOT)


class Load:
    """Creates both kinds of pods in a namespace without pause, and keeps what went wrong."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane, self._namespace = plane, namespace
        self.refused: list[str] = []
        self.created = 0
        self.tries = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with without_pause(self._try_both, 2):
            yield

    def _try_both(self) -> None:
        if message := why_refused(self._plane, self._namespace, COMPLIANT):
            self.refused.append(message)
        self.created += not why_refused(self._plane, self._namespace, VIOLATING)
        self.tries += 1


@contextlib.contextmanager
def without_pause(work: Callable[[], object], number: int) -> Iterator[None]:
    """So many threads that do this again and again."""
    stop = threading.Event()

    def go() -> None:
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=go) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def why_refused(plane: ControlPlane, namespace: str, pod: Json) -> str:
    try:
        plane.call("POST", f"{NAMESPACES}/{namespace}/pods?dryRun=All", pod)
    except StatusError as problem:
        return str(problem)
    return ""


def namespace(plane: ControlPlane, name: str, **annotations: str) -> str:
    given = {f"boundtoken.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    plane.call("POST", NAMESPACES, {"metadata": {"name": name, "annotations": given}})
    path = f"{NAMESPACES}/{name}/serviceaccounts?fieldSelector=metadata.name=default"
    wait_for(lambda: plane.call("GET", path)["items"])
    return name


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
        with without_pause(lambda: why_refused(self._plane, neighbour, pod), 4):
            time.sleep(2)
            yield


def test_an_upgrade_and_the_way_back_under_load(releases: tuple[Path, Path]) -> None:
    before, now = releases
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
            load = Load(plane, enforced)
            with load.running():
                time.sleep(2)
                install(plane, kubelet, now)
                wait_for(
                    lambda: "[token-lifetime]" in why_refused(plane, ways.lowered, a_bare_pod()), 20
                )
                assert (
                    plane.call("GET", f"{NAMESPACES}/{enforced}")["metadata"]["labels"][
                        "boundtoken.dev/enforced"
                    ]
                    == "true"
                )
                time.sleep(3)
                there = load.tries
                install(plane, kubelet, before)
                time.sleep(3)
            assert (load.refused, load.created) == ([], 0)
            assert there > 100
            assert load.tries - there > 100
            install(plane, kubelet, now)
            wait_for(
                lambda: "[token-lifetime]" in why_refused(plane, ways.lowered, a_bare_pod()), 20
            )
            refusals = ways.past_the_floor()
            print("now:", {way: refusal[:200] for way, refusal in refusals.items()})
            assert [way for way in WAYS if "boundtoken" not in refusals[way]] == [], refusals
