"""JSON lines for machines and people: one line for each thing that happened. Never imported by
core.

Only what the caller names is written; nothing here ever sees a pod. The standard library's logging
(aiohttp, asyncio) ends in the same lines.
"""

import logging
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]
STANDARD_ERROR = 2
MAX_LINE_BYTES = 16 << 10
"""Container runtimes cut a longer line into pieces (containerd's default), and then it is no JSON
any more."""
MAX_FIELD_CHARS, MAX_ITEMS = 500, 20
"""Of each text and each list in a line that would be longer."""
MAX_NAME_CHARS = 253
"""Of one name: Kubernetes allows no longer one, but reviews come before it looks."""
SUSPICIOUS_BYTES = 1 << 10
"""Of a line about a review, on average; usual ones have 350, so only what is longer is looked at
name by name."""
STRANGERS_LINES = 10
"""A second of one event that anybody can cause who reaches a port: enough to see what goes on."""
MAX_EVENTS = 20
"""Whose lines are counted by themselves in a second; ours are fewer, and libraries have a logger
each."""
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")

_ENCODER = msgspec.json.Encoder()
_MISLEADING = re.compile(
    b"\xc2[\x80-\x9f]|\xd8\x9c"  # U+0080 to 009F, 061C
    b"|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf"  # U+200E, 200F, 2028 to 202E, 2066 to 2069, FEFF
)
"""In UTF-8, what moves a terminal's cursor or turns the direction of its text."""


class Line(msgspec.Struct, gc=False):
    """The head of a line whose fields are always the same: a struct costs less than a
    dictionary.
    """

    time: str
    level: Level
    event: str


class Log:
    """Writes lines of `level` and above; `write` takes whole lines and never blocks.

    `defer` gathers lines, which are written before any later line: their order is kept.
    """

    def __init__(self, level: Level, write: Callable[[bytes], object]) -> None:
        self._level = LEVELS.index(level)
        self._write = write
        self._second = 0
        self._in_this_second: Counter[str] = Counter()
        self._suppressed: Counter[str] = Counter()
        self._deferred: list[Line] = []

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
        if not self.is_enabled_for(level):
            return
        self.flush()
        self._write(encoded(level, event, fields))

    def stranger(self, level: Level, event: str, *, budget: str = "", **fields: Any) -> None:
        """One line about what anybody can cause who reaches a port; beyond ten a second of this
        event they are only counted.

        `budget` where the event's text may vary.
        """
        now = int(time.monotonic())
        if now != self._second:
            self._second = now
            self._in_this_second.clear()
        name = budget or event
        if name not in self._in_this_second and len(self._in_this_second) >= MAX_EVENTS:
            name = "other"
        self._in_this_second[name] += 1
        if self._in_this_second[name] > STRANGERS_LINES:
            self._suppressed[name] += 1
            return
        suppressed = self._suppressed.pop(name, 0)
        self.line(level, event, {**fields, **({"suppressed": suppressed} if suppressed else {})})

    def is_enabled_for(self, level: Level) -> bool:
        """Whether lines of this level are written at all."""
        return LEVELS.index(level) >= self._level

    def defer(self, line: Line) -> None:
        """Write this line with the next `flush`, or before the next line of another kind."""
        self._deferred.append(line)

    def flush(self) -> None:
        """Write the deferred lines in one piece; truncate texts in them that are longer than any
        name.
        """
        if not self._deferred:
            return
        lines, self._deferred = self._deferred, []
        text = _ENCODER.encode_lines(lines)
        if len(text) > len(lines) * SUSPICIOUS_BYTES:
            text = _ENCODER.encode_lines([_with_short_names(line) for line in lines])
        self._write(_escaped(text))

    def capture_stdlib_logging(self) -> None:
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
        if (
            record.exc_info and record.exc_info[0] is not None
        ):  # frames and type only: its text may quote what came in
            fields["error"] = record.exc_info[0].__name__
            fields["traceback"] = "".join(traceback.format_tb(record.exc_info[2]))
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.stranger(level, record.getMessage(), budget=record.name, **fields)


def encoded(level: Level, event: str, fields: dict[str, Any]) -> bytes:
    """One line: time (UTC, milliseconds), level, event, then the fields; of a bounded length."""
    head = {
        "time": stamp(int(time.time() * 1000)),
        "level": level,
        "event": event[:MAX_FIELD_CHARS],
    }
    line = _ENCODER.encode({**head, **fields})
    if len(line) > MAX_LINE_BYTES:
        line = _ENCODER.encode(
            {**head, **{name: _shortened(value) for name, value in fields.items()}}
        )
    if len(line) > MAX_LINE_BYTES:
        line = _ENCODER.encode({**head, "cut": f"the line had {len(line)} bytes"})
    return _escaped(line) + b"\n"


def _with_short_names(line: Line) -> Line:
    texts = {
        name: value
        for name in line.__struct_fields__
        if isinstance(value := getattr(line, name), str)
    }
    long = {
        name: value[: MAX_NAME_CHARS - 1] + "…"
        for name, value in texts.items()
        if len(value) > MAX_NAME_CHARS
    }
    return msgspec.structs.replace(line, **long)


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_FIELD_CHARS else value[:MAX_FIELD_CHARS] + "…"
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else []
        return [*map(_shortened, value[:MAX_ITEMS]), *more]
    return value


def _escaped(lines: bytes) -> bytes:
    """The same JSON; what would mislead a terminal is spelled as an escape."""
    if lines.isascii():
        return lines
    return _MISLEADING.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), lines)


@lru_cache(maxsize=1)
def stamp(milliseconds: int) -> str:
    """A time since 1970, in UTC with milliseconds; many lines share one."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
