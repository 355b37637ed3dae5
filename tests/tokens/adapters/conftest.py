"""Two servers that record what they get, and a source of tokens."""

from collections.abc import Iterator

import pytest

from tests.support.receiver import Receiver
from tests.support.tokens import Tokens


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as other:
        yield other


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()
