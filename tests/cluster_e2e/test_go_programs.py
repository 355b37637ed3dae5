"""The Go programs of docs/tokens.md, compiled as they stand there, on the real API server: in pods
of the account that the page shows, and with tests of their own in Go, which need what no pod has: a
clock and a hand on the connection.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster_e2e.shop import AUDIENCES, PATH, Shop, shop_of
from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support import pages
from tests.support.builders import a_bare_pod, a_container
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(1200)  # the first run compiles client-go
PAGE = pages.page()
TESTED = {"go-request", "go-cached", "go-operator"}
HERE = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def shop(plane: ControlPlane, kubelet: Kubelet) -> Iterator[Shop]:
    with shop_of(plane, PAGE) as made:
        yield made


def test_every_go_program_of_the_page_that_is_no_sender_is_tested_here() -> None:
    programs = {program.name for program in PAGE.of_role("program") if program.language == "go"}
    assert programs == TESTED


@pytest.mark.parametrize("name", ["go-cached", "go-operator"])
def test_a_program_passes_its_tests_in_go(shop: Shop, name: str) -> None:
    program = build.program(name, PAGE.programs[name].text, HERE / f"{name}_test.go")
    environ = {**os.environ, "KUBECONFIG": str(shop.plane.kubeconfig())}
    command = [str(program), "-test.v"]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--- PASS" in done.stdout
    assert "eyJ" not in done.stdout + done.stderr


def test_a_requested_token_is_shown_by_its_claims_and_never_itself(shop: Shop) -> None:
    words = ("-namespace", "shop", "-account", "cart", "-audience", AUDIENCES[0])
    pod = shop.start(PAGE.programs["go-request"], *words, "-lifetime", "20m")
    before = datetime.now(UTC)
    wait_for(lambda: pod.ended)
    found = re.fullmatch(
        r"audiences https://orders\.shop\.svc\nexpires (\S+), 1200 s after its issue\n", pod.log
    )
    assert found is not None, pod.log
    lifetime = datetime.fromisoformat(found[1]) - before
    assert 1190 < lifetime.total_seconds() < 1210


def test_a_refused_request_ends_with_what_the_api_server_answered(shop: Shop) -> None:
    words = ("-namespace", "shop", "-account", "default", "-audience", AUDIENCES[0])
    pod = shop.start(PAGE.programs["go-request"], *words)
    wait_for(lambda: pod.ended)
    assert pod.exit_code == 1
    assert pod.log.startswith('token of shop/default: serviceaccounts "default" is forbidden: ')


def test_the_cached_token_is_accepted_for_its_audience_only(shop: Shop) -> None:
    receiver = PAGE.of_role("receiver")[0]
    for audience, answer in zip(AUDIENCES, ("200 OK", "401 Unauthorized"), strict=True):
        accepting = shop.start(receiver, audience=audience)
        shop.lead_to(accepting)
        pod = shop.start(PAGE.programs["go-cached"])
        wait_for(lambda pod=pod, answer=answer: f"orders: {answer}\n" in pod.log)


def test_the_operator_has_a_token_for_each_pod_and_forgets_it_with_the_pod(shop: Shop) -> None:
    operator = shop.start(PAGE.programs["go-operator"])
    for name in ("left", "right"):
        pod = a_bare_pod(
            a_container(command=["sleep", "600"]), name=name, serviceAccountName="cart"
        )
        pod["metadata"]["labels"] = {"orders": "enabled"}
        shop.plane.call("POST", f"{PATH}/pods", pod)
        wait_for(lambda name=name: f"pod shop/{name}: token until " in operator.log)
    shop.plane.call("DELETE", f"{PATH}/pods/left")
    wait_for(lambda: "pod shop/left: forgotten\n" in operator.log)
    assert "right: forgotten" not in operator.log
    assert "eyJ" not in operator.log
