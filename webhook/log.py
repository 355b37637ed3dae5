"""JSON lines for machines and people: one line for each thing that happened. Never imported by core.

Only what the caller names is written; nothing here ever sees a pod. The standard library's logging (aiohttp, asyncio)
ends in the same lines.
"""

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]
STANDARD_ERROR = 2
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

_ENCODER = msgspec.json.Encoder()


class Line(msgspec.Struct, gc=False):
    """The head of a line whose fields are always the same: a struct costs less than a dictionary."""

    time: str
    level: Level
    event: str


class Log:
    """Writes lines of `level` and above; `write` takes whole lines.

    `before_others` is called before any line of `line`: whoever gathers lines has them written first, so the order holds.
    """

    def __init__(self, level: Level = "info", write: Callable[[bytes], object] | None = None) -> None:
        self._level = LEVELS.index(level)
        self._write = write or _to_standard_error
        self.before_others: Callable[[], None] = lambda: None

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
        if not self.tells(level):
            return
        self.before_others()
        self._write(_ENCODER.encode({"time": stamp(int(time.time() * 1000)), "level": level, "event": event, **fields}) + b"\n")

    def tells(self, level: Level) -> bool:
        """Whether lines of this level are written at all."""
        return LEVELS.index(level) >= self._level

    def lines(self, lines: Sequence[Line]) -> None:
        """Many lines in one write."""
        self._write(_ENCODER.encode_lines(lines))

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


@lru_cache(maxsize=1)
def stamp(milliseconds: int) -> str:
    """A time since 1970, in UTC with milliseconds; many lines share one."""
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
