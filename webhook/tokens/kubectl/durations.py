"""Durations as kubectl reads and writes them. Pure.

Source: Go's time.ParseDuration, whose errors kubectl shows, and
k8s.io/apimachinery/pkg/util/duration.HumanDuration, the AGE of `kubectl get`.
"""

import re

NANOSECONDS = 10**9
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # U+00B5
    "μs": 10**3,  # U+03BC
    "ms": 10**6,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}
_MOST = (1 << 63) - 1
"""Nanoseconds: 292 years."""
_PART = re.compile(r"(\d*)(\.\d*)?([^.\d]*)", re.ASCII)
MAX_CHARS = 200
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as 10m, 1h30m or 1.5h.

    Raises: ValueError, in the words of kubectl
    """
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest or len(text) > MAX_CHARS:
        raise ValueError(f"time: invalid duration {_quoted(text)}")
    total, at = 0, 0
    while at < len(rest):
        found = _PART.match(rest, at)
        whole, fraction, unit = found.groups(default="") if found is not None else ("", "", "")
        is_number = whole or len(fraction) > 1  # a point alone is none
        if not is_number or int(whole or "0") > _MOST + 1 or total > _MOST + 1:
            raise ValueError(f"time: invalid duration {_quoted(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {_quoted(text)}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
        total += int(whole or "0") * _UNITS[unit]
        digits = fraction[1:]
        total += int(digits or "0") * _UNITS[unit] // 10 ** len(digits)
        at += len(whole) + len(fraction) + len(unit)
    if total > _MOST:
        raise ValueError(f"time: invalid duration {_quoted(text)}")
    return -total if text[0] == "-" else total


def spoken(seconds: float) -> str:
    """A duration with two units at most, such as 48m, 1d6h or 2y40d."""
    whole = int(abs(seconds))
    for below, large, small, names in (
        (2 * MINUTE, 1, 1, "s"),
        (10 * MINUTE, MINUTE, 1, "ms"),
        (3 * HOUR, MINUTE, MINUTE, "m"),
        (8 * HOUR, HOUR, MINUTE, "hm"),
        (2 * DAY, HOUR, HOUR, "h"),
        (8 * DAY, DAY, HOUR, "dh"),
        (2 * YEAR, DAY, DAY, "d"),
        (8 * YEAR, YEAR, DAY, "yd"),
    ):
        if whole < below:
            rest = whole % large // small
            return f"{whole // large}{names[0]}" + (f"{rest}{names[1]}" if rest else "")
    return f"{whole // YEAR}y"


def _quoted(text: str) -> str:
    """As Go's time package writes a text: bytes beyond ASCII as escapes."""
    kept = text[:MAX_CHARS].encode("utf-8", "surrogateescape")
    return (
        '"'
        + "".join(
            "\\" + chr(byte)
            if byte in b'"\\'
            else chr(byte)
            if 0x20 <= byte < 0x80  # noqa: PLR2004
            else f"\\x{byte:02x}"
            for byte in kept
        )
        + '"'
    )
