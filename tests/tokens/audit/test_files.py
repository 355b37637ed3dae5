"""The files of an audit log: whole lines out of any bytes, gz, rotated ones, and one that grows."""

import gzip
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.audit import an_event, lines
from tests.support.timing import cpu_time_below
from webhook.errors import BadInput
from webhook.tokens.audit import files
from webhook.tokens.audit import lines as audit_lines
from webhook.tokens.audit.files import blocks, rotated_files
from webhook.tokens.audit.follow import following
from webhook.tokens.audit.lines import MAX_LINE_BYTES, Tally, lines_with, whole_lines
from webhook.tokens.audit.rules import Settings
from webhook.tokens.audit.watch import Watch

LINES = [f'{{"line":{number}}}'.encode() for number in range(20)]
TEXT = b"".join(line + b"\n" for line in LINES)
ROTATED = "audit-2026-01-31T10-00-0{}.123.log"


def read(path: Path | str, *, rotated: bool = True) -> tuple[list[bytes], Tally]:
    tally = Tally()
    found = b"".join(blocks(str(path), tally, lambda _: None, rotated=rotated))
    return found.splitlines(), tally


@pytest.mark.parametrize("seed", range(50))
def test_lines_are_whole_however_they_arrive(seed: int) -> None:
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(len(TEXT)), chance.randrange(1, 30)))
    pieces = [TEXT[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
    tally = Tally()
    found = list(whole_lines(pieces, tally))
    assert b"".join(found) == TEXT
    assert all(block.endswith(b"}\n") and block.startswith(b"{") for block in found)
    assert (tally.lines, tally.bytes, tally.broken) == (20, len(TEXT), 0)


def test_a_last_line_without_an_end_counts() -> None:
    tally = Tally()
    assert b"".join(whole_lines([TEXT[:-1]], tally)) == TEXT[:-1]
    assert (tally.lines, tally.broken) == (20, 0)


@pytest.mark.parametrize(
    ("text", "lines", "broken"),
    [
        pytest.param(b"", 0, 0, id="nothing"),
        pytest.param(b"{}\n\n{}\n", 3, 0, id="an empty line"),
        pytest.param(b'{}\n{"cut\n{}\n', 3, 1, id="a line that was cut"),
        pytest.param(b"{}\r\n{}\r\n", 2, 0, id="ends of Windows"),
        pytest.param(b"plain\n{}\n", 2, 1, id="another format"),
        pytest.param(b"\0\0\0\n{}\n{}\n", 3, 1, id="what a crash of the machine leaves"),
        pytest.param(b"{}\n{}\n{\n", 3, 1, id="a last one that was cut"),
        pytest.param(b"{}\n}\n", 2, 1, id="one that only ends as an object"),
    ],
)
def test_broken_lines_are_counted(text: bytes, lines: int, broken: int) -> None:
    tally = Tally()
    assert b"".join(whole_lines([text], tally)) == text
    assert (tally.lines, tally.broken) == (lines, broken)


def test_a_line_that_is_too_long_is_left_out_and_its_neighbours_are_not() -> None:
    tally = Tally()
    piece = b"x" * (1 << 20)
    long = [piece] * (2 * MAX_LINE_BYTES // len(piece))
    found = list(whole_lines([TEXT + b"{", *long, b"}\n", TEXT], tally))
    assert b"".join(found) == TEXT + TEXT
    assert (tally.lines, tally.too_long, tally.broken) == (41, 1, 0)


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("bodies", [b',"requestObject":', b',"responseObject":'])
def test_a_line_that_is_too_long_loses_its_bodies(bodies: bytes, end: bytes) -> None:
    tally = Tally()
    # A client chooses names within a body, and all of a text but a bare quote.
    fake = b'{"a":1,"requestReceivedTimestamp":"x"' + b' "a\\",\\"requestObject\\":"' * 10
    long = [fake, *[b"y" * (1 << 20)] * (2 * MAX_LINE_BYTES >> 20), b',"responseObject":{}']
    line = [b'{"kind":"Event"', bodies, *long, b',"requestReceivedTimestamp":"now","a":{}}', end]
    found = list(whole_lines([TEXT, *line, *([TEXT] if end else [])], tally))
    kept = b'{"kind":"Event","requestReceivedTimestamp":"now","a":{}}' + end
    assert b"".join(found) == TEXT + kept + (TEXT if end else b"")
    assert (tally.lines, tally.too_long, tally.broken) == (41 if end else 21, 0, 0)


def test_the_longest_line_that_may_be_is_not_left_out() -> None:
    tally = Tally()
    line = b"{" + b"x" * (MAX_LINE_BYTES - 2) + b"}"
    assert list(whole_lines([line, b"\n", TEXT], tally)) == [line + b"\n", TEXT]
    assert tally.too_long == 0


@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_with_a_text_are_found_once_wherever_they_stand(end: bytes) -> None:
    block = b"a needle needle\nb\nneedle\n\nlast needle" + end
    assert list(lines_with(b"needle", block)) == [b"a needle needle", b"needle", b"last needle"]
    assert list(lines_with(b"missing", block)) == []


PACKED: dict[str, Callable[[], bytes]] = {
    "plain": lambda: TEXT,
    "gz": lambda: gzip.compress(TEXT),
    "several members": lambda: gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]),
    "zeros at the end": lambda: gzip.compress(TEXT) + b"\0" * 512,
    "an empty member": lambda: gzip.compress(b"") + gzip.compress(TEXT),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("size", [1, 7, 256 << 10])
def test_gz_is_found_by_its_content(
    tmp_path: Path, packed: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", size)
    (path := tmp_path / "audit.log").write_bytes(PACKED[packed]())
    found, tally = read(path)
    assert (found, tally.problems) == (LINES, [])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda packed: packed[: len(packed) // 2], "its gz data ends in the middle"),
        (lambda packed: packed[:-8] + bytes([packed[-8] ^ 255]) + packed[-7:], "its gz data is damaged"),
        (lambda packed: packed + b"more", "its gz data is damaged"),
        (lambda packed: packed[:2], "its gz data ends in the middle"),
    ],
    ids=["cut", "flipped", "followed by other bytes", "nothing but its mark"],
)  # fmt: skip
def test_what_can_be_read_of_a_damaged_gz_is_read(
    tmp_path: Path, damage: Callable[[bytes], bytes], problem: str
) -> None:
    (path := tmp_path / "audit.log.gz").write_bytes(damage(gzip.compress(TEXT)))
    found, tally = read(path)
    assert TEXT.startswith(b"\n".join(found))
    assert tally.problems == [f"{path}: {problem}"]
    assert not tally.is_whole


def test_a_small_gz_of_a_huge_text_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    (path := tmp_path / "audit.log").write_bytes(gzip.compress(TEXT * 200_000))
    tally = Tally()
    longest = max(map(len, blocks(str(path), tally, lambda _: None, rotated=False)))
    assert longest <= 2 * audit_lines.BLOCK_BYTES
    assert tally.lines == 20 * 200_000


def test_rotated_files_come_oldest_first(tmp_path: Path) -> None:
    names = [
        *("audit.log-20260129.gz", "audit.log-20260130"),
        *(ROTATED.format(1) + ".gz", ROTATED.format(2), "audit.log.10.gz", "audit.log.2.gz"),
        "audit.log.1",
    ]
    others = ["audit-old.log", "audit.log.bak", "other-2026-01-31T10-00-00.123.log", "audit.log.gz"]
    for name in [*names, *others, ROTATED.format(2) + ".gz", "audit.log"]:
        (tmp_path / name).touch()
    found = [path.name for path in rotated_files(tmp_path / "audit.log")]
    assert sorted(found) == sorted(names)
    numbered = [name for name in found if name.startswith("audit.log.")]
    assert numbered == ["audit.log.10.gz", "audit.log.2.gz", "audit.log.1"]
    timed = [name for name in found if not name.startswith("audit.log.")]
    assert timed == [*names[:2], *names[2:4]] or timed == [*names[2:4], *names[:2]]


def test_the_log_is_read_behind_its_rotated_files_which_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / (ROTATED.format(1) + ".gz")).write_bytes(gzip.compress(b"".join(LINES[0:1])))
    (tmp_path / ROTATED.format(2)).write_bytes(LINES[1])
    (path := tmp_path / "audit.log").write_bytes(LINES[2])
    tally = Tally()
    found = list(blocks(str(path), tally, lambda _: None, rotated=True))
    assert (found, tally.files) == (LINES[:3], 3)
    assert read(path, rotated=False)[0] == LINES[2:3]


def test_what_others_put_beside_the_log_is_told_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"{}\n")
    (tmp_path / ROTATED.format(1)).symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / ROTATED.format(2))
    (tmp_path / ROTATED.format(3)).mkdir()
    (path := tmp_path / "audit.log").write_bytes(TEXT)
    found, tally = read(path)
    assert found == LINES
    assert [problem.partition(": ")[2] for problem in tally.problems] == [
        "Too many levels of symbolic links",
        "is no regular file",
        "is no regular file",
    ]


def test_a_file_that_is_renamed_while_it_is_read_is_read_once(tmp_path: Path) -> None:
    (path := tmp_path / "audit.log").write_bytes(TEXT)
    tally = Tally()
    reading = blocks(str(path), tally, lambda _: None, rotated=True)
    listed = files.rotated_files

    def rename(of: Path) -> list[Path]:
        path.rename(tmp_path / ROTATED.format(1))
        path.write_bytes(b"{}\n")
        return listed(of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "rotated_files", rename)
        assert b"".join(reading) == TEXT


def test_a_rotated_file_that_has_just_been_compressed_is_read(tmp_path: Path) -> None:
    plain = tmp_path / ROTATED.format(1)
    packed = tmp_path / f"{plain.name}.gz"
    packed.write_bytes(gzip.compress(TEXT))
    tally = Tally()
    assert b"".join(files.content_beside(plain, (0, 0), tally, lambda _: None)) == TEXT
    packed.unlink()
    assert list(files.content_beside(plain, (0, 0), tally, lambda _: None)) == []
    assert tally.problems == [f"{packed}: No such file or directory"]


def test_more_files_than_anybody_keeps_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_ROTATED", 2)
    for number in range(3):
        (tmp_path / f"audit.log.{number}").touch()
    with pytest.raises(BadInput, match="more than 2 rotated files"):
        rotated_files(tmp_path / "audit.log")


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_log_that_cannot_be_opened_is_wrong_use(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"must be a (readable )?file"):
        read(tmp_path / name)
    with pytest.raises(BadInput, match=r"must be a (readable )?file"):
        next(following(str(tmp_path / name), Tally(), lambda _: None))


class Growing:
    """A log that something is done to whenever it has been read to its end."""

    def __init__(self, path: Path, *steps: Callable[[], object]) -> None:
        self.tally = Tally()
        self._path = path
        self._steps: Iterator[Callable[[], object]] = iter(steps)

    def read(self) -> list[bytes]:
        """The lines until nothing is done any more."""
        found: list[bytes] = []
        try:
            for block in following(str(self._path), self.tally, lambda _: None, self._pause):
                found += block.splitlines()
        except EOFError:
            pass
        return found

    def _pause(self, _: float) -> None:
        step = next(self._steps, None)
        if step is None:
            raise EOFError
        step()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (path := tmp_path / "audit.log").write_bytes(LINES[0] + b"\n")
    return path


def append(path: Path, *texts: bytes, end: bytes = b"\n") -> None:
    with path.open("ab") as file:
        file.write(b"".join(text + end for text in texts))


def test_a_file_is_followed_as_it_grows_by_parts_of_lines(log: Path) -> None:
    def part(text: bytes) -> Callable[[], object]:
        return lambda: append(log, text, end=b"")

    growing = Growing(log, part(LINES[1][:5]), part(LINES[1][5:]), part(b"\n" + LINES[2] + b"\n"))
    assert growing.read() == LINES[:3]
    assert growing.tally.broken == 0


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(log: Path) -> None:
    def rotate() -> None:
        append(log, LINES[1])
        log.rename(log.with_name(ROTATED.format(1)))
        append(log.with_name(ROTATED.format(1)), LINES[2])
        append(log, LINES[3])

    growing = Growing(log, rotate, lambda: append(log, LINES[4]))
    assert growing.read() == LINES[:5]
    assert growing.tally.files == 2


def test_files_that_came_and_went_in_between_are_read(log: Path) -> None:
    def rotate_thrice() -> None:
        for number in range(3):
            append(log, LINES[number + 1])
            log.rename(log.with_name(ROTATED.format(number)))
        append(log, LINES[4])

    assert Growing(log, rotate_thrice).read() == LINES[:5]


def test_so_are_compressed_ones(log: Path) -> None:
    def rotate_and_compress() -> None:
        append(log, LINES[1])
        for number in range(3):
            log.rename(rotated := log.with_name(ROTATED.format(number)))
            content = rotated.read_bytes()
            append(log, LINES[number + 2])
            if number != 0:
                rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(content))
                rotated.unlink()

    assert Growing(log, rotate_and_compress).read() == LINES[:5]


def test_the_own_file_that_was_compressed_already_is_not_read_twice(log: Path) -> None:
    older = log.with_name(ROTATED.format(0) + ".gz")
    older.write_bytes(gzip.compress(LINES[9]))

    def rotate_and_compress() -> None:
        append(log, LINES[1])
        for number in (1, 2):
            rotated = log.with_name(ROTATED.format(number) + ".gz")
            rotated.write_bytes(gzip.compress(log.read_bytes()))
            # As long as it is open its inode is not used again.
            log.unlink()
            append(log, LINES[number + 1])

    assert Growing(log, rotate_and_compress).read() == LINES[:4]


def test_numbered_files_are_read_by_their_place(log: Path) -> None:
    append(log.with_name("audit.log.1"), LINES[9])

    def rotate_twice() -> None:
        log.with_name("audit.log.1").rename(log.with_name("audit.log.3"))
        log.rename(log.with_name("audit.log.2"))
        append(log.with_name("audit.log.1"), LINES[1])
        append(log, LINES[2])

    assert Growing(log, rotate_twice).read() == LINES[:3]


def test_a_file_that_is_cut_is_read_from_its_begin(log: Path) -> None:
    append(log, *LINES[1:5])

    def cut() -> None:
        log.write_bytes(LINES[5] + b"\n")

    growing = Growing(log, cut, lambda: append(log, LINES[6]))
    assert growing.read() == LINES[:7]
    assert growing.tally.broken == 0


def test_a_line_that_a_rotation_or_a_cut_ends_does_not_spoil_the_next(log: Path) -> None:
    def rotate() -> None:
        append(log, b'{"half', end=b"")
        log.rename(log.with_name(ROTATED.format(1)))
        log.write_bytes(LINES[1] + b"\n" + LINES[2] + b'\n{"long half')

    def cut() -> None:
        log.write_bytes(LINES[3] + b"\n")

    growing = Growing(log, rotate, cut)
    assert growing.read() == [LINES[0], b'{"half', *LINES[1:3], b'{"long half', LINES[3]]
    assert growing.tally.broken == 2


def test_a_file_that_is_away_for_a_while_is_waited_for(log: Path) -> None:
    def away() -> None:
        log.rename(log.with_name(ROTATED.format(1)))

    growing = Growing(log, away, lambda: None, lambda: append(log, LINES[1]))
    assert growing.read() == LINES[:2]


def test_a_gz_is_not_followed(tmp_path: Path) -> None:
    (path := tmp_path / "audit.log.gz").write_bytes(gzip.compress(TEXT))
    with pytest.raises(BadInput, match="leave --follow out"):
        next(following(str(path), Tally(), lambda _: None))


def test_a_pipe_is_followed(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    writer = threading.Thread(target=lambda: path.write_bytes(TEXT))
    writer.start()
    found, tally = read(path)
    writer.join()
    assert (found, tally.files) == (LINES, 1)


def test_real_events_are_not_broken() -> None:
    tally = Tally()
    list(whole_lines([lines(an_event(), an_event(userAgent='"}\\n{'))], tally))
    assert (tally.lines, tally.broken) == (2, 0)


@pytest.mark.parametrize("piece", [b"\n", b"x\n"])
def test_many_short_lines_are_read_fast(piece: bytes) -> None:
    """A MB of gz may hold a GB of them."""
    watch = Watch(Settings(), tally := Tally(), learn_seconds=0)
    block = piece * ((4 << 20) // len(piece))
    with cpu_time_below(2):
        for found in whole_lines([block], tally):
            assert list(watch.findings(found)) == []
    assert tally.lines == block.count(b"\n")
