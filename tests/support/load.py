"""Requests to the API server without pause, while something is done to boundtoken, and what came of
them.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import (
    COMPLIANT,
    VIOLATING,
    Json,
    a_bare_pod,
    a_deployment,
    volume_names,
)
from tests.support.cluster import NAMESPACES
from tests.support.threads import repeating
from tests.support.waiting import wait_for
from webhook.core import names

PAUSE_SECONDS = 0.02
"""Between two requests of a kind."""
SECONDS = 120
"""For an answer: an attack keeps a slow machine busy for longer than others wait."""
FEW = 5
"""Calls that may fail open while a release adds an entry, which has no caBundle until a replica has
written it; of those that were there before none does."""
FAIL_OPEN = "apiserver_admission_webhook_fail_open_count"
SECONDS_OF_CALLS = "apiserver_admission_webhook_admission_duration_seconds"
OURS = re.compile(r'name="[a-z]+\.boundtoken\.dev"')
Request = Callable[[], str]
"""One request: what is wrong with its answer, or nothing."""


class Load:
    """So many kinds of requests, each made again and again by a thread of its own: how many were
    made, and by kind what was wrong.
    """

    def __init__(self, requests: Mapping[str, Request]) -> None:
        self._requests = requests
        self.made: Counter[str] = Counter()
        self.problems: list[tuple[str, str]] = []

    def running(self) -> AbstractContextManager[None]:
        works = [partial(self._make, *item) for item in self._requests.items()]
        return repeating(*works, pause=PAUSE_SECONDS)

    def wait_until_well(self) -> None:
        """Wait until one of each kind is answered as it must be."""
        for request in self._requests.values():
            wait_for(lambda request=request: not self._problem(request), 60)

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more of each kind were made."""
        before = self.made.copy()
        wait_for(
            lambda: all(self.made[kind] >= before[kind] + number for kind in self._requests), 30
        )

    def _make(self, kind: str, request: Request) -> None:
        problem = self._problem(request)
        self.made[kind] += 1
        if problem:
            self.problems.append((kind, problem))

    @staticmethod
    def _problem(request: Request) -> str:
        try:
            return request()
        except (OSError, StatusError) as failure:
            return f"{type(failure).__name__}: {failure}"


def namespace(plane: ControlPlane, name: str, **annotations: str) -> str:
    """A namespace with these annotations (short names, `_` for `-`), with its default service
    account.
    """
    given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
    plane.call("POST", NAMESPACES, {"metadata": {"name": name, "annotations": given}})
    path = f"{NAMESPACES}/{name}/serviceaccounts?fieldSelector=metadata.name=default"
    wait_for(lambda: plane.call("GET", path)["items"])
    return name


def why_refused(plane: ControlPlane, namespace: str, pod: Json) -> str:
    """What the API server says to a pod; empty where it is created."""
    try:
        plane.call("POST", f"{NAMESPACES}/{namespace}/pods?dryRun=All", pod, seconds=SECONDS)
    except StatusError as problem:
        return str(problem)
    return ""


def injection(plane: ControlPlane, namespace: str) -> Request:
    """A pod that must come back with our token and no other, in a namespace that injects."""
    return lambda: (
        ""
        if volume_names(_created(plane, f"{NAMESPACES}/{namespace}/pods", a_bare_pod()))
        == [names.VOLUME]
        else "not injected"
    )


def copying(plane: ControlPlane, namespace: str) -> Request:
    """A Deployment whose annotation must be copied into its template."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    deployment = a_deployment({names.INJECT: "enabled"})

    def request() -> str:
        template = _created(plane, path, deployment)["spec"]["template"]["metadata"]
        copied = template.get("annotations") or {}
        return "" if copied.get(names.INJECT) == "enabled" else "not copied into the template"

    return request


def refusal(plane: ControlPlane, namespace: str) -> Request:
    """A pod that violates, which must be refused, in a namespace that enforces."""
    return lambda: "" if why_refused(plane, namespace, VIOLATING) else "created"


def creation(plane: ControlPlane, namespace: str, pod: Json = COMPLIANT) -> Request:
    """A pod that must be created."""
    return lambda: why_refused(plane, namespace, pod)


def secrets(plane: ControlPlane, namespace: str) -> Request:
    """A Secret of an ordinary type, and one for a legacy token, which both must be created."""
    path = f"{NAMESPACES}/{namespace}/secrets"
    account = {"kubernetes.io/service-account.name": "default"}
    legacy = {
        "metadata": {"name": "legacy", "annotations": account},
        "type": names.LEGACY_TOKEN_TYPE,
    }

    def request() -> str:
        for secret in ({"metadata": {"name": "plain"}}, legacy):
            _created(plane, path, secret)
        return ""

    return request


class Calls(NamedTuple):
    """Of the API server's calls of ours since it started, how many failed open and how many took
    longer than a second.
    """

    failed: float
    slow: float

    def failed_at_once_since(self, before: "Calls") -> float:
        """How many failed for which the API server had not waited in vain, as it does on a slow
        machine: each of those is among the slow ones.
        """
        return self.failed - before.failed - (self.slow - before.slow)


def calls(plane: ControlPlane) -> Calls:
    """As its metrics have it."""
    return calls_in(plane.kubectl("get", "--raw", "/metrics"))


def calls_in(page: str) -> Calls:
    """The same, of a page of metrics, which has some."""
    lines = [line for line in page.splitlines() if OURS.search(line)]

    def total(start: str, part: str = "") -> float:
        found = (line for line in lines if line.startswith(f"{start}{{") and part in line)
        return sum(float(line.rpartition(" ")[2]) for line in found)

    quick = total(f"{SECONDS_OF_CALLS}_bucket", 'le="1"')
    assert quick
    return Calls(total(FAIL_OPEN), total(f"{SECONDS_OF_CALLS}_count") - quick)


def everyday_load(plane: ControlPlane) -> Load:
    """What people do in namespaces that inject, that enforce, and that do both."""
    both = {"inject": "enabled", "automount": "disabled"}
    injecting = namespace(plane, "injecting", **both)
    enforcing = namespace(plane, "enforcing", enforce="bound")
    demanding = namespace(plane, "demanding", enforce="bound", **both)
    return Load(
        {
            "injected": injection(plane, injecting),
            "injected where it is enforced": injection(plane, demanding),
            "copied into a template": copying(plane, injecting),
            "created where it is enforced": creation(plane, enforcing),
            "refused where it is enforced": refusal(plane, enforcing),
        }
    )


def _created(plane: ControlPlane, path: str, body: Json) -> Json:
    return dict(plane.call("POST", f"{path}?dryRun=All", body))
