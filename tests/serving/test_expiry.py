"""The warning about a served certificate that nobody renews."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.waiting import eventually
from webhook.log import Log
from webhook.serving.expiry import warn_before_expiry
from webhook.serving.tls import LiveCertificate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lifetime", "left", "warned"),
    [
        pytest.param(timedelta(days=7), timedelta(hours=23), True, id="less than a day"),
        pytest.param(timedelta(days=7), timedelta(hours=25), False, id="more than a day"),
        pytest.param(timedelta(hours=8), timedelta(hours=1), True, id="less than a quarter"),
        pytest.param(timedelta(hours=8), timedelta(hours=3), False, id="a short one, half used"),
    ],
)
async def test_it_comes_a_day_before_the_end_or_in_the_last_quarter(
    lifetime: timedelta, left: timedelta, warned: bool
) -> None:
    live, lines = LiveCertificate(), list[bytes]()
    live.not_after, live.lifetime = NOW + left, lifetime
    looks = []

    def now() -> datetime:
        looks.append(NOW)
        return NOW

    task = asyncio.create_task(warn_before_expiry(live, now, Log("info", lines.append)))
    await eventually(lambda: bool(looks))
    await asyncio.sleep(0)
    task.cancel()
    assert bool(lines) is warned
