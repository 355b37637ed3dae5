"""JSON lines for machines and people: one line for each thing that happened. Never imported by core.

Only what the caller names is written; nothing here ever sees a pod. The standard library's logging (aiohttp, asyncio)
ends in the same lines.
"""

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]
STANDARD_ERROR = 2
GATHER_SECONDS = 0.02
"""A matter of taste: short for who follows the log, long enough for many lines under load."""
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
INFO = LEVELS.index("info")

_ENCODER = msgspec.json.Encoder()


class Line(msgspec.Struct):
    """The head of a line whose fields are always the same: a struct costs less than a dictionary."""

    time: str
    level: Level
    event: str


class Log:
    """Writes lines of `level` and above; `write` takes whole lines.

    Lines of reviews are gathered for 20 ms and written together, to save a system call for each. Any other line writes
    them out first, so the order holds; a process that is killed loses what it gathered.
    """

    def __init__(self, level: Level = "info", write: Callable[[bytes], object] | None = None) -> None:
        self._level = LEVELS.index(level)
        self._write = write or _to_standard_error
        self._gathered: list[bytes] = []

    def debug(self, event: str, **fields: Any) -> None:
        self.line("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self.line("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.line("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self.line("error", event, fields)

    def line(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        """One line: time (UTC, milliseconds), level, event, then the fields in their order."""
        if LEVELS.index(level) < self._level:
            return
        self.flush()
        self._write(_ENCODER.encode({"time": now(), "level": level, "event": event, **fields}) + b"\n")

    @property
    def tells_reviews(self) -> bool:
        """Whether lines of level info are written at all."""
        return self._level <= INFO

    def record(self, line: Line, later: Callable[[float, Callable[[], None]], object]) -> None:
        """One line of a review, written with others; `later` is the loop's `call_later`."""
        if not self._gathered:
            later(GATHER_SECONDS, self.flush)
        self._gathered.append(_ENCODER.encode(line))

    def flush(self) -> None:
        """Write what is gathered."""
        if self._gathered:
            lines, self._gathered = self._gathered, []
            self._write(b"\n".join(lines) + b"\n")

    def takes_over_logging(self) -> None:
        """Send what libraries log through here, from warnings on."""
        root = logging.getLogger()
        root.handlers[:] = [_Handler(self)]
        root.setLevel(logging.WARNING)


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:  # frames and type only: its text may quote what came in
            fields["error"] = record.exc_info[0].__name__
            fields["traceback"] = "".join(traceback.format_tb(record.exc_info[2]))
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.line(level, record.getMessage(), fields)


def now() -> str:
    """The time in UTC with milliseconds; under load many lines share one."""
    return _stamp(int(time.time() * 1000))


@lru_cache(maxsize=1)
def _stamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _to_standard_error(line: bytes) -> None:
    """A reader that has gone away stops no review: the line is lost."""
    with contextlib.suppress(OSError):
        while line:
            line = line[os.write(STANDARD_ERROR, line) :]
