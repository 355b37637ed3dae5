"""The lines of a log of any length, in constant memory: blocks of whole lines, so that a search
runs over many lines at once. What is broken or too long is counted and left out.
"""

import dataclasses
from collections.abc import Iterable, Iterator

BLOCK_BYTES = 256 << 10
"""Of one read: a search runs twice as fast over what the processor's cache can hold."""
MAX_LINE_BYTES = 8 << 20
"""The API server reads at most 1 MiB of headers, path included; JSON may write a byte as six."""
TAIL_BYTES = 1 << 20
"""Of the end of a longer line: what stands behind its bodies."""
BODIES = (b',"requestObject":', b',"responseObject":')
BEHIND = b',"requestReceivedTimestamp":'
"""The API server writes an event's fields in the order of types.go. Within texts each quote has a
backslash, and no key of a client's stands in front of the first or behind the last of these."""


@dataclasses.dataclass
class Tally:
    """What was read, for the person who has to trust the result."""

    files: int = 0
    bytes: int = 0
    lines: int = 0
    broken: int = 0
    too_long: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    """Of files that were not read to their end."""

    @property
    def is_whole(self) -> bool:
        """Whether every file was read to its end."""
        return not self.problems


def whole_lines(blocks: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Blocks of whole lines, the last of them perhaps without its end; counts them.

    A block of at most MAX_LINE_BYTES and one read is in memory. A line above it loses the bodies of
    the request and the answer; without any it is left out.
    """
    rest = b""
    long: _LongLine | None = None
    for block in blocks:
        tally.bytes += len(block)
        if long is not None:
            end = block.find(b"\n") + 1
            long.add(block[:end] if end else block)
            if not end:
                continue
            yield long.line(tally)
            block, long = block[end:], None  # noqa: PLW2901
        data = rest + block if rest else block
        end = data.rfind(b"\n") + 1
        if not end:
            rest = data
            if len(rest) > MAX_LINE_BYTES:
                rest, long = b"", _LongLine(rest)
            continue
        whole, rest = data[:end], data[end:]
        del data  # a long line is there often enough
        yield _counted(whole, tally)
    if long is not None:
        yield long.line(tally)
    elif rest:
        yield _counted(rest, tally)


class _LongLine:
    """A line that is too long, of which the bodies are not kept."""

    def __init__(self, begin: bytes) -> None:
        self._head = begin[: _bodies(begin)]
        self._tail = begin[-TAIL_BYTES:]

    def add(self, piece: bytes) -> None:
        self._tail = (self._tail + piece)[-TAIL_BYTES:]

    def line(self, tally: Tally) -> bytes:
        """What is kept; empty where there is no body to leave out."""
        behind = self._tail.rfind(BEHIND)
        if not self._head or behind < 0:
            tally.too_long += 1
            tally.lines += 1
            return b""
        return _counted(self._head + self._tail[behind:], tally)


def without_bodies(line: bytes) -> bytes:
    """An event without the bodies of the request and the answer; the line itself where it has
    none.
    """
    begin, end = _bodies(line), line.rfind(BEHIND)
    return line[:begin] + line[end:] if 0 < begin < end else line


def _bodies(line: bytes) -> int:
    """Where the bodies of an event begin; 0 where it has none."""
    return min((at for at in map(line.find, BODIES) if at > 0), default=0)


def lines_with(text: bytes, block: bytes) -> Iterator[bytes]:
    """The lines of a block that hold a text, without their ends."""
    at = block.find(text)
    while at >= 0:
        begin = block.rfind(b"\n", 0, at) + 1
        end = block.find(b"\n", at)
        if end < 0:
            end = len(block)
        yield block[begin:end]
        at = block.find(text, end)


def _counted(block: bytes, tally: Tally) -> bytes:
    ends = block.count(b"\n")
    tally.lines += ends + (block[-1:] != b"\n")
    # The API server writes one object a line. Where every end of a line is one of an object as
    # well, no line needs to be looked at.
    if block.count(b"}\n{") + 1 != ends or block[:1] != b"{" or block[-2:] != b"}\n":
        tally.broken += sum(not is_object(line) for line in filter(None, block.split(b"\n")))
    return block


def is_object(line: bytes) -> bool:
    """Whether a line looks like one JSON object, or is empty."""
    bare = line.strip()
    return not bare or (bare[:1] == b"{" and bare[-1:] == b"}")
