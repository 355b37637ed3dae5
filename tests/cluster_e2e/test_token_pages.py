"""The senders of docs/tokens.md, each in a pod of its own, against its receivers: accepted with the
token that its manifest declares, refused where another audience is demanded, and refused when its
pod is gone. Each program is run as it stands in the page.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_e2e import shop as shops
from tests.cluster_e2e.shop import ACCEPTED, REFUSED, Shop, callers, outcomes
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support import pages

pytestmark = pytest.mark.timeout(1200)  # the first run compiles client-go
PAGE = pages.page()
SMALL = pages.page(Path(__file__).parent / "programs/page.md")
RECEIVERS = {program.name: program for program in PAGE.of_role("receiver")}
PAIRS = [
    (sender.name, receiver)
    for receiver in (*RECEIVERS, "api")
    for sender in callers(PAGE, RECEIVERS.get(receiver))
]
"""Each sender of the page with each receiver that it can call."""


@pytest.fixture(scope="module")
def shop(plane: ControlPlane, kubelet: Kubelet) -> Iterator[Shop]:
    with shops.shop_of(plane, PAGE) as made:
        yield made


@pytest.fixture(scope="module")
def found(shop: Shop) -> dict[tuple[str, str], list[str]]:
    """What every pair came to."""
    return {
        (sender, receiver): came_to
        for receiver in {receiver for _, receiver in PAIRS}
        for sender, came_to in outcomes(shop, RECEIVERS.get(receiver)).items()
    }


def test_every_sender_of_the_page_has_a_receiver() -> None:
    senders = {program.name for program in PAGE.of_role("sender", "api-client")}
    assert senders
    assert {sender for sender, _ in PAIRS} == senders


@pytest.mark.parametrize(("sender", "receiver"), PAIRS)
def test_a_sender_is_accepted_for_its_audience_only_and_while_its_pod_lives(
    found: dict[tuple[str, str], list[str]], sender: str, receiver: str
) -> None:
    assert found[sender, receiver] == [ACCEPTED, REFUSED, REFUSED]


def test_a_sender_that_does_not_call_is_found_out(shop: Shop) -> None:
    small = Shop(shop.kubelet, SMALL._replace(manifests=PAGE.manifests))
    (receiver,) = SMALL.of_role("receiver")
    found = outcomes(small, receiver)
    assert found["small"] == [ACCEPTED, REFUSED, REFUSED]
    assert found["silent"] == [ACCEPTED, ACCEPTED, ACCEPTED]
    assert found["broken"] == ["exit code 1: it never comes to a call\n"] * 3
    assert outcomes(small, None) == {"small-client": [ACCEPTED, REFUSED, REFUSED]}
