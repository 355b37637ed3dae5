"""What is done after a change, and the programs that are started for it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_for
from webhook.tokens.folder.child import Child
from webhook.tokens.folder.hooks import Command, HangUp, HookError

COUNTER = """
import signal, sys, time
def count(*_):
    with open(sys.argv[1], "a") as file:
        file.write("hup\\n")
signal.signal(signal.SIGHUP, count)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that counts how often it is told."""
    file = tmp_path / "count"
    process = subprocess.Popen([sys.executable, "-c", COUNTER, str(file)])
    wait_for(file.exists)
    yield process
    process.kill()
    process.wait()


def count(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text().splitlines())


def test_a_process_is_told_by_its_id(counter: subprocess.Popen[bytes], tmp_path: Path) -> None:
    hook = HangUp(str(counter.pid))
    assert count(tmp_path) == 0
    for number in (1, 2):
        hook()
        wait_for(lambda: count(tmp_path) == number)  # noqa: B023


def test_a_process_that_has_ended_is_told_of_and_its_successor_never_told(
    counter: subprocess.Popen[bytes],
) -> None:
    hook = HangUp(str(counter.pid))
    counter.kill()
    counter.wait()
    with pytest.raises(HookError, match=f"process {counter.pid} has ended"):
        hook()
    with pytest.raises(HookError, match=f"there is no process {counter.pid}"):
        HangUp(str(counter.pid))


def test_the_process_of_a_file_is_the_one_that_it_names_then(
    counter: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    hook = HangUp(str(file))
    with pytest.raises(HookError, match="pid: No such file or directory"):
        hook()
    file.write_text(f"{counter.pid}\n")
    hook()
    wait_for(lambda: count(tmp_path) == 1)


@pytest.mark.parametrize("text", ["", "-1", "0", "x", "1 2", "9" * 40, "4194305", "\u0661"])
def test_what_is_no_process_id_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.write_text(text)
    with pytest.raises(HookError, match="must be a process id"):
        HangUp(str(file))()


def test_we_do_not_end_ourselves(tmp_path: Path) -> None:
    with pytest.raises(HookError, match="is this process itself"):
        HangUp(str(os.getpid()))


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    with pytest.raises(HookError, match="must be a file with a process id"):
        HangUp(str(tmp_path / "pid"))()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file of another user")
def test_a_file_of_another_user_cannot_choose_the_process(
    counter: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    file.write_text(str(counter.pid))
    os.chown(file, 1234, -1)
    with pytest.raises(HookError, match="belongs to user 1234"):
        HangUp(str(file))()
    assert count(tmp_path) == 0


def test_a_command_is_a_line_for_a_shell(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Command(f"echo out; echo err >&2; cat; echo $((1+1)) > {tmp_path}/x", threading.Event())()
    assert (tmp_path / "x").read_text() == "2\n"
    assert capfd.readouterr() == ("", "out\nerr\n")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("exit 3", "'exit 3': exit code 3"),
        ("kill -9 $$", "exit code 137"),
        ("no-such-program", "exit code 127"),
        ("a\0b", "cannot be started: embedded null"),
        ("x" * 300_000, "cannot be started: .*Argument list too long"),
    ],
)
def test_a_command_that_fails_is_told(command: str, problem: str) -> None:
    with pytest.raises(HookError, match=problem) as caught:
        Command(command, threading.Event())()
    assert len(str(caught.value)) < 400


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    line = f"sleep 60 & echo $! > {file}; wait"
    with pytest.raises(HookError, match="took more than 1 s"):
        Command(line, threading.Event(), 1.0)()
    pid = int(file.read_text())
    wait_for(lambda: _has_ended(pid), 5)


def test_a_command_is_ended_when_we_are_stopped() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    start = time.monotonic()
    with pytest.raises(HookError, match="was ended with us"):
        Command("sleep 60", stop)()
    assert time.monotonic() - start < 20


def _has_ended(pid: int) -> bool:
    """Also where nobody has reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


OF_GLIBC = 0x180000000
"""Two signals that posix_spawn of glibc ignores in the child, and that nobody sends."""


def status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1], 16)


def test_a_program_gets_the_signals_that_a_shell_would_give_it() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        child = Child(("sleep", "60"), os.environ, own_group=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        wait_for(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
        assert (status(child.pid, "SigBlk"), status(child.pid, "SigIgn") & ~OF_GLIBC) == (0, 0)
        assert os.getpgid(child.pid) == child.pid
        assert child.poll() is None
    finally:
        child.end()
    assert child.code == 128 + signal.SIGTERM
    child.send(signal.SIGTERM)  # to nobody


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.tokens.folder.child.KILL_SECONDS", 0.3)
    child = Child(("sh", "-c", "trap '' TERM; sleep 60 & wait; wait"), os.environ, own_group=True)
    time.sleep(0.2)
    child.end()
    assert child.code == 128 + signal.SIGKILL


def test_exit_codes_are_those_of_a_shell() -> None:
    for line, code in (("exit 0", 0), ("exit 41", 41), ("kill -TERM $$", 143), ("kill -9 $$", 137)):
        child = Child(("sh", "-c", line), os.environ, own_group=False)
        assert child.wait(60) == code
    for command, problem in (
        (("no-such-program",), FileNotFoundError),
        (("/etc/passwd",), PermissionError),
    ):
        with pytest.raises(problem):
            Child(command, os.environ, own_group=False)
