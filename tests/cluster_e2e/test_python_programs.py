"""The Python programs of docs/tokens.md that neither send nor receive, as they stand there, in pods
of the account that the page shows.
"""

from collections.abc import Iterator

import pytest

from tests.cluster_e2e.shop import OTHER_AUDIENCE, PATH, Shop, shop_of
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support import pages
from tests.support.builders import a_bare_pod, a_container
from tests.support.pages import AUDIENCE
from tests.support.waiting import wait_for
from webhook.core import names

PAGE = pages.page()
TESTED = {"request", "operator", "verify"}
TOKEN = "/var/run/secrets/boundtoken.dev/tokens/orders"


@pytest.fixture(scope="module")
def shop(plane: ControlPlane, kubelet: Kubelet) -> Iterator[Shop]:
    with shop_of(plane, PAGE) as made:
        yield made


def test_every_python_program_of_the_page_that_is_no_sender_is_tested_here() -> None:
    programs = {program.name for program in PAGE.of_role("program") if program.language == "python"}
    assert programs == TESTED


def test_a_requested_token_is_shown_by_its_claims_and_never_itself(shop: Shop) -> None:
    pod = shop.start(PAGE.programs["request"], "shop", "cart", AUDIENCE)
    wait_for(lambda: pod.ended)
    assert pod.log == f"system:serviceaccount:shop:cart for {AUDIENCE}, 1200 s\n"


def test_a_refused_request_says_what_would_help(shop: Shop) -> None:
    pod = shop.start(PAGE.programs["request"], "shop", "default", AUDIENCE)
    wait_for(lambda: pod.ended)
    assert pod.exit_code == 1
    assert "resources: [serviceaccounts/token], resourceNames: [default]" in pod.log
    assert "Traceback" not in pod.log


def test_the_operator_has_a_token_for_each_pod_and_forgets_it_with_the_pod(shop: Shop) -> None:
    operator = shop.start(PAGE.programs["operator"])
    for name in ("up", "down"):
        pod = a_bare_pod(
            a_container(command=["sleep", "600"]), name=name, serviceAccountName="cart"
        )
        pod["metadata"]["labels"] = {"orders": "enabled"}
        shop.plane.call("POST", f"{PATH}/pods", pod)
        wait_for(lambda name=name: f"{name}: token until " in operator.log)
    shop.plane.call("DELETE", f"{PATH}/pods/up")
    wait_for(lambda: "up: 1 forgotten\n" in operator.log)
    assert "down: 1 forgotten" not in operator.log
    assert "eyJ" not in operator.log


@pytest.mark.parametrize(
    ("audience", "code", "text"),
    [(AUDIENCE, 0, "shop/orders in Pod/verify-"), (OTHER_AUDIENCE, 1, "refused: wrong-audience\n")],
)
def test_a_token_is_verified(shop: Shop, audience: str, code: int, text: str) -> None:
    pod = shop.start(
        PAGE.programs["verify"],
        TOKEN,
        annotations={names.TOKENS: f"orders={audience}"},
        serviceAccountName="orders",
    )
    wait_for(lambda: pod.ended)
    assert (pod.exit_code, pod.log[: len(text)]) == (code, text)
