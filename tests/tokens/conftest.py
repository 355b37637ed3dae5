"""A clock that a test moves, and an issuer whose time it is."""

from collections.abc import Iterator

import pytest

from tests.support.clocks import Clock
from tests.support.issuer import Issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(clock: Clock) -> Iterator[Issuer]:
    with Issuer(clock) as issuer:
        yield issuer
