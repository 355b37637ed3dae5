"""`boundtoken scan` beside what the node is really given, on the real API server."""

import base64
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster_e2e import scanned
from tests.cluster_e2e.scanned import ISSUER, Made
from tests.support.builders import Json
from tests.support.cluster import Cluster, life
from tests.support.processes import boundtoken

SPACES = 200
"""As many as make each state come several times."""
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def scan(cluster: Cluster, *arguments: str, user: str = "admin") -> Json:
    """The JSON, with the exit code as `code`."""
    result = boundtoken("scan", *arguments, "-o", "json", kubeconfig=cluster.plane.kubeconfig(user))
    assert result.stdout, result.stderr
    return {"code": result.returncode, **json.loads(result.stdout)}


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> list[Made]:
    plane, kubelet = request.getfixturevalue("plane"), request.getfixturevalue("kubelet")
    return scanned.make(Cluster(plane, kubelet), SPACES)


def audiences(token: str) -> list[str]:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return list(claims["aud"])


Row = tuple[str, str, str, str, int, str]
"""Namespace, pod, volume, file, lifetime in seconds, audience."""


def of_report(found: Json, spaces: set[str]) -> Counter[Row]:
    return Counter(
        (
            *(row["namespace"], row["object"].removeprefix("pod/"), row["volume"], row["file"]),
            *(row["lifetimeSeconds"], row["audience"] or ISSUER),
        )
        for row in found["tokens"]
        if row["namespace"] in spaces and row["source"] != "legacy-secret"
    )


def of_node(cluster: Cluster, one: Made) -> list[Row]:
    return [
        (
            *(one.namespace, one.pod["metadata"]["name"]),
            re.sub("kube-api-access-[a-z0-9]{5}", "kube-api-access-*", volume),
            *(file, life(token), audiences(token)[0]),
        )
        for volume, file, token in scanned.given_to_node(cluster.plane, one.pod)
    ]


def test_each_row_is_what_the_node_is_really_given(cluster: Cluster, made: list[Made]) -> None:
    found = scan(cluster, "--namespace-selector", "scanned=yes")
    assert (found["code"], found["unread"], found["complete"]) == (0, [], True)
    with ThreadPoolExecutor(4) as pool:
        rows = Counter(
            row for rows in pool.map(lambda one: of_node(cluster, one), made) for row in rows
        )
    assert of_report(found, {one.namespace for one in made}) == rows
    lives = {row["lifetimeSeconds"] for row in found["tokens"]}
    assert lives >= {600, 900, 3600, 86400, 31_536_000, None}
    assert {row["source"] for row in found["tokens"]} == {
        *("automounted", "boundtoken", "projected", "legacy-secret", "csi")
    }


CODES: dict[int, set[str]] = {
    0: {"year-long", "strict"},
    1: set(),
    2: {"strict"},
    3: {"stale"},
    4: set(),
    5: {"year-long", "strict", "missing"},
    6: {"stale"},
    7: {"stale"},
    8: {"stale"},
    9: {"year-long", "strict"},
    10: set(),
    11: set(),
    12: {"year-long", "strict"},
    13: {"strict"},
    14: {"year-long", "strict"},
    15: {"strict"},
    16: {"strict"},
    17: {"year-long", "strict"},
    18: {"year-long", "strict"},
}
"""Of the pod of each state, by its number; of the other states what their own tokens are."""


def test_what_is_to_be_done_in_each_state(cluster: Cluster, made: list[Made]) -> None:
    found = scan(cluster, "--namespace-selector", "scanned=yes")
    by_space: dict[str, set[str]] = {}
    for finding in found["findings"]:
        if finding["object"].startswith("pod/"):
            by_space.setdefault(finding["namespace"], set()).add(finding["code"])
    secrets = [one for one in found["findings"] if one["code"] == "legacy"]
    assert {one["message"].partition("; mounted by ")[2] for one in secrets} == {"pod/web"}
    count = len(scanned.states())
    for number, one in enumerate(made):
        if (expected := CODES.get(number % count)) is not None:
            assert by_space.get(one.namespace, set()) == expected, (number % count, one.state)
