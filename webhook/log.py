"""JSON lines for machines and people: one line a thing that happened, encoded and written at once. Never imported by core.

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
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

_ENCODER = msgspec.json.Encoder()


class Line(msgspec.Struct):
    """The head of a line whose fields are always the same; a struct costs a third of a dictionary."""

    time: str
    level: Level
    event: str


class Log:
    """Writes lines of `level` and above; `write` takes one encoded line."""

    def __init__(self, level: Level = "info", write: Callable[[bytes], object] | None = None) -> None:
        self._level = LEVELS.index(level)
        self._write = write or _to_standard_error

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
        self._write(_ENCODER.encode({"time": now(), "level": level, "event": event, **fields}) + b"\n")

    def record(self, line: Line) -> None:
        """One line of fixed fields."""
        if LEVELS.index(line.level) >= self._level:
            self._write(_ENCODER.encode(line) + b"\n")

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
    """One write for each line. A reader that has gone away stops no review: the line is lost."""
    with contextlib.suppress(OSError):
        os.write(STANDARD_ERROR, line)
