"""What a test of the service leaves open is closed after it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.connections import end_connections


@pytest.fixture(autouse=True)
async def _no_connection_outlives_its_test() -> AsyncIterator[None]:
    yield
    if end_connections():
        await asyncio.sleep(0.05)
