"""JSON lines for machines and people, one for each event. Core never imports this.

Only the fields that the caller names are written, and no caller passes a pod. The standard
library's logging (aiohttp, asyncio) is written as the same kind of lines.
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

LogLevel = Literal["debug", "info", "warning", "error"]
STANDARD_ERROR = 2
MAX_LINE_BYTES = 16 << 10
"""Container runtimes split a longer line (containerd's default), and then it is no JSON any
more."""
MAX_FIELD_CHARS, MAX_ITEMS = 500, 20
"""Of each text and each list in a line that would be longer."""
MAX_NAME_CHARS = 253
"""Of one name. Kubernetes allows no longer one, but it sends reviews before it validates names."""
SUSPICIOUS_BYTES = 1 << 10
"""Average length of review lines from which each name is checked; the usual length is 350."""
UNTRUSTED_LINES = 10
"""In a second, of one event that untrusted input can cause: enough to see what is going on."""
MAX_EVENTS = 20
"""Events with a counter of their own in one second. We have fewer, and each library has a logger
of its own."""
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")

_ENCODER = msgspec.json.Encoder()
_MISLEADING = re.compile(
    b"\xc2[\x80-\x9f]|\xd8\x9c"  # U+0080 to 009F, 061C
    b"|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf"  # U+200E, 200F, 2028 to 202E, 2066 to 2069, FEFF
)
"""In UTF-8, characters that move a terminal's cursor or change the direction of its text."""


class Line(msgspec.Struct, gc=False):
    """The first fields of a line whose fields are always the same. A struct is encoded faster than
    a dictionary.
    """

    time: str
    level: LogLevel
    event: str


class Log:
    """Writes lines of `level` and above. `write` is given complete lines, and must not block.

    Lines may wait (`defer`). They are written before any later line, so the order is kept.
    """

    def __init__(self, level: LogLevel, write: Callable[[bytes], object]) -> None:
        self._level = LOG_LEVELS.index(level)
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

    def line(self, level: LogLevel, event: str, fields: dict[str, Any]) -> None:
        """Write one line: time (UTC, milliseconds), level, event, then the fields in this order."""
        if not self.is_enabled_for(level):
            return
        self.flush()
        self._write(encoded(level, event, fields))

    def untrusted(self, level: LogLevel, event: str, *, budget: str = "", **fields: Any) -> None:
        """Write a line about an event that untrusted input can cause, at most UNTRUSTED_LINES in a
        second. Further ones are counted, and the next line has their number.

        `budget` is the name to count by, where the text of the event varies.
        """
        now = int(time.monotonic())
        if now != self._second:
            self._second = now
            self._in_this_second.clear()
        name = budget or event
        if name not in self._in_this_second and len(self._in_this_second) >= MAX_EVENTS:
            name = "other"
        self._in_this_second[name] += 1
        if self._in_this_second[name] > UNTRUSTED_LINES:
            self._suppressed[name] += 1
            return
        suppressed = self._suppressed.pop(name, 0)
        self.line(level, event, {**fields, **({"suppressed": suppressed} if suppressed else {})})

    def is_enabled_for(self, level: LogLevel) -> bool:
        """Whether lines of this level are written."""
        return LOG_LEVELS.index(level) >= self._level

    def defer(self, line: Line) -> None:
        """Write this line at the next `flush`, or before the next other line."""
        self._deferred.append(line)

    def flush(self) -> None:
        """Write the deferred lines in one call. Names in them that are too long are truncated."""
        if not self._deferred:
            return
        lines, self._deferred = self._deferred, []
        text = _ENCODER.encode_lines(lines)
        if len(text) > len(lines) * SUSPICIOUS_BYTES:
            text = _ENCODER.encode_lines([_with_short_names(line) for line in lines])
        self._write(_escaped(text))

    def capture_stdlib_logging(self) -> None:
        """Write what libraries log, warnings and errors, to this log."""
        root = logging.getLogger()
        root.handlers[:] = [_Handler(self)]
        root.setLevel(logging.WARNING)


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        # Frames and type only: the text of the exception may quote a request.
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            fields["traceback"] = "".join(traceback.format_tb(record.exc_info[2]))
        level: LogLevel = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.untrusted(level, record.getMessage(), budget=record.name, **fields)


def encoded(level: LogLevel, event: str, fields: dict[str, Any]) -> bytes:
    """One line of a bounded length: time (UTC, milliseconds), level, event, then the fields."""
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
    """The same JSON, with escapes for characters that would mislead a terminal."""
    if lines.isascii():
        return lines
    return _MISLEADING.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), lines)


@lru_cache(maxsize=1)
def stamp(milliseconds: int) -> str:
    """The text of a time in milliseconds since 1970, in UTC. It is cached, because many lines have
    the same.
    """
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
