"""The log: it never makes anybody wait, says what it lost, and shows nothing that a terminal would
act on.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.builders import Json
from tests.support.service import REVIEW
from tests.support.waiting import wait_for
from webhook.core import review
from webhook.core.decision import Decision
from webhook.log import MAX_EVENTS, MAX_LINE_BYTES, UNTRUSTED_LINES, Log, LogLevel
from webhook.log_writer import MAX_WAITING_BYTES, Writer
from webhook.serving.reporting import Reporter

LINE = b'{"event":"review"}' + b" " * 1000 + b"\n"


def read_all(descriptor: int) -> list[Json]:
    return [json.loads(line) for line in raw(descriptor).splitlines()]


def raw(descriptor: int) -> bytes:
    """What is there, until nothing comes for a moment: on a busy machine more may come later."""
    found = b""
    os.set_blocking(descriptor, False)
    while chunk := _read(descriptor):
        found += chunk
    return found


def _read(descriptor: int) -> bytes:
    time.sleep(0.05)
    try:
        return os.read(descriptor, 1 << 22)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("blocking", [True, False])
def test_nobody_waits_for_a_reader_that_has_stopped(blocking: bool) -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, blocking)
    lost: list[int] = []
    writer = Writer(writes, lost.append)
    start = time.monotonic()
    for _ in range(5_000):
        writer(LINE)
    assert time.monotonic() - start < 10
    assert sum(lost) > 5_000 - (MAX_WAITING_BYTES + (1 << 18)) // len(LINE)
    found = bytearray(raw(reads))
    writer(LINE)

    def is_told_of_all() -> bool:
        """Every line is there or counted as lost, and so are those that were lost."""
        found.extend(raw(reads))
        lines = [json.loads(line) for line in found.rpartition(b"\n")[0].splitlines()]
        told = [line["lines"] for line in lines if line["event"] == "log lines lost"]
        return sum(told) == sum(lost) and len(lines) - len(told) + sum(lost) == 5_001

    wait_for(is_told_of_all, 10)
    writer.close()


def test_lines_that_a_descriptor_refuses_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    lost: list[int] = []
    writer = Writer(full, lost.append)
    for _ in range(10):
        writer(LINE)
    writer.close()
    assert sum(lost) == 10


def test_what_waits_is_written_at_the_end() -> None:
    reads, writes = os.pipe()
    writer = Writer(writes, lambda _: None)
    for _ in range(20):
        writer(LINE)
    writer.close()
    assert len(read_all(reads)) == 20
    assert not [thread for thread in threading.enumerate() if thread is writer._thread]


def test_the_end_does_not_wait_for_a_reader_that_has_stopped() -> None:
    _, writes = os.pipe()
    writer = Writer(writes, lambda _: None)
    for _ in range(500):
        writer(LINE)
    start = time.monotonic()
    writer.close(0.2)
    assert time.monotonic() - start < 10


def written(do: "object", level: str = "info") -> list[bytes]:
    lines: list[bytes] = []
    do(Log(level, lines.append))  # type: ignore[operator, arg-type]
    return lines


@pytest.mark.parametrize(
    "fields",
    [
        {"problem": "x" * 3_000_000},
        {"faults": ["y" * 10_000] * 10_000},
        {"faults": [["deep" * 10_000] * 100] * 100},
        {f"field{number}": "z" * 1000 for number in range(1000)},
    ],
)
def test_a_line_is_never_longer_than_a_runtime_takes(fields: Json) -> None:
    (line,) = written(lambda log: log.error("refused", **fields))
    assert len(line) <= MAX_LINE_BYTES + 1
    assert json.loads(line)["event"] == "refused"


def test_nothing_in_a_line_moves_a_terminal() -> None:
    bad = "\x1b[2J\u009b31m\u202e\u2066\u2028\u200f\u061c\ufeff\n"
    (line,) = written(lambda log: log.info("x", name=f"grün {bad}"))
    assert json.loads(line)["name"] == f"grün {bad}"
    text = line.decode()[:-1]
    assert "grün" in text
    assert not [char for char in text if char in bad and char not in "[2J31m"]


def test_untrusted_input_gets_ten_lines_a_second_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines: list[bytes] = []
    log = Log("info", lines.append)
    for _ in range(500):
        log.untrusted("warning", "bad HTTP")
    assert len(lines) == UNTRUSTED_LINES
    now[0] = 6.0
    log.untrusted("warning", "bad HTTP")
    assert json.loads(lines[-1])["suppressed"] == 500 - UNTRUSTED_LINES
    log.info("serving")
    assert json.loads(lines[-1])["event"] == "serving"


def test_closed_descriptors_never_become_the_log(tmp_path: Path) -> None:
    """With standard error closed the first descriptor that is opened would be number 2: a socket,
    or the event loop's own.
    """
    code = "from webhook.cli.serve import _open_standard_descriptors as o; import os; o(); s = os.open('/dev/null', 0); print(s)"
    shown = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "{code}" 2>&- 0<&-'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(shown.stdout) > 2


def test_each_event_has_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrusted bad HTTP hides no bug of ours, and one library no other."""
    lines: list[bytes] = []
    log = Log("info", lines.append)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log.capture_stdlib_logging()
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    for _ in range(50):
        log.untrusted("warning", "bad HTTP")
        logging.getLogger("noisy").warning("text %s", len(lines))
    log.untrusted("error", "internal error")
    logging.getLogger("quiet").error("seen")
    events = [json.loads(line)["event"] for line in lines]
    assert events[-2:] == ["internal error", "seen"]
    assert len(events) == 2 * UNTRUSTED_LINES + 2


def test_many_events_are_no_way_around_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    log = Log("info", lines.append)
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    for number in range(1000):
        log.untrusted("warning", f"event {number}")
    assert len(lines) == MAX_EVENTS + UNTRUSTED_LINES


@pytest.mark.parametrize(("level", "told"), [("info", 1), ("warning", 0)])
def test_the_level_holds_for_reviews_as_well(level: LogLevel, told: int) -> None:
    lines: list[bytes] = []
    reporter = Reporter(Log(level, lines.append), lambda _, __: None)
    reporter.record(
        review.decode(json.dumps(REVIEW).encode()), Decision("not-requested", "unchanged"), 1000
    )
    reporter.flush()
    assert len(lines) == told
