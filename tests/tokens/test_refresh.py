"""When a token is renewed, and how long a failure waits: the kubelet's rule."""

import pytest

from webhook.tokens.refresh import (
    DAY_SECONDS,
    MAX_BACKOFF_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    backoff,
    refresh_at,
)


@pytest.mark.parametrize(
    ("lifetime", "after"),
    [(600, 480), (3600, 2880), (86_400, 69_120), (108_000, 86_400), (31_536_000, DAY_SECONDS)],
)
def test_a_token_is_renewed_at_four_fifths_of_its_life_or_after_a_day(
    lifetime: float, after: float
) -> None:
    assert refresh_at(1000, 1000 + lifetime, 0) == 1000 + after
    assert refresh_at(1000, 1000 + lifetime, 10) == 1000 + after - 10


def test_the_jitter_of_a_short_life_is_short_too() -> None:
    assert refresh_at(0, 10, 10) == pytest.approx(8 - 1)


@pytest.mark.parametrize("lifetime", [0, -5])
def test_a_token_without_a_life_is_due_at_once(lifetime: float) -> None:
    assert refresh_at(1000, 1000 + lifetime, 10) <= 1000


def test_a_failure_waits_twice_as_long_as_the_last_one_up_to_a_minute() -> None:
    assert [backoff(n, 0, 0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff(10_000, 0, 0) == MAX_BACKOFF_SECONDS
    assert backoff(1, 0, 1) == 1.25


def test_the_api_server_may_ask_for_more_within_a_bound() -> None:
    assert backoff(1, 30, 0) == 30
    assert backoff(9, 30, 0) == 60
    assert backoff(1, 1e9, 0) == MAX_RETRY_AFTER_SECONDS
