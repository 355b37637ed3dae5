"""`boundtoken token run`: the program as a shell would run it, and what is left afterwards."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.folders import entries
from tests.support.issuer import Issuer
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.waiting import wait_for
from webhook.tokens import claims_of

Run = Callable[..., subprocess.CompletedProcess[str]]
ON_A_TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""
"""Runs a command as the foreground of a terminal of its own; our standard input is the keyboard."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    path = tmp_path / "runtime"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def environ(issuer: Issuer, tmp_path: Path, runtime: Path) -> dict[str, str]:
    file = a_kubeconfig(tmp_path / "kubeconfig", issuer.url, namespace="shop")
    return {
        **os.environ,
        "KUBECONFIG": str(file),
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(runtime),
        "OUT": str(tmp_path),
    }


def words(*arguments: str) -> list[str]:
    return [str(BOUNDTOKEN), "token", "run", "cart", *arguments]


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environ,
            **options,
        )

    return run


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the command in a session without a terminal, as a CI runner does."""
    started = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            words(*arguments),
            env=environ,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        # Not to its end: a program that goes on without us may have it open.
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


@pytest.fixture(autouse=True)
def nothing_is_left(runtime: Path) -> Iterator[None]:
    """After every test."""
    yield
    assert entries(runtime) == []


def test_the_program_finds_a_kubeconfig_and_a_token_file(
    run: Run, environ: dict[str, str], runtime: Path, issuer: Issuer
) -> None:
    line = 'cat "$KUBECONFIG"; echo ---; cat "$BOUNDTOKEN_TOKEN_FILE"; echo; echo "$MORE"; ls -ld "$KUBECONFIG"'
    result = run("--audience", "vault", "--env", "MORE", "--", "sh", "-c", line)
    assert (result.returncode, result.stderr) == (0, "")
    config_text, _, rest = result.stdout.partition("---\n")
    token, more, listing = rest.splitlines()
    config = yaml.safe_load(config_text)
    assert claims_of(token).audiences == ("vault",)
    (cluster,), (user,) = config["clusters"], config["users"]
    assert cluster["cluster"] == {"server": issuer.url}
    assert user["user"] == {"tokenFile": more}
    assert Path(more).parent.parent.parent == runtime
    (context,) = config["contexts"]
    assert context["context"]["namespace"] == "shop"
    assert token not in config_text
    assert "boundtoken-run-" in listing


def test_arguments_reach_the_program_as_they_are(run: Run) -> None:
    program = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]
    odd = ["-n", "--", "a b", "", "--help", "*"]
    for flags in ((), ("-n", "shop"), ("--audience", "vault")):
        assert run(*flags, "--", *program, *odd).stdout == f"{odd}\n"
    assert run(*program, *odd).stdout == f"{odd}\n"


def test_standard_streams_are_the_programs(run: Run) -> None:
    result = run("--", "sh", "-c", "cat; echo err >&2", input="in")
    assert (result.stdout, result.stderr) == ("in", "err\n")


@pytest.mark.parametrize(
    ("program", "code", "stderr"),
    [
        (["true"], 0, ""),
        (["sh", "-c", "exit 41"], 41, ""),
        (["sh", "-c", "kill -KILL $$"], 137, ""),
        (["sh", "-c", "kill -TERM $$"], 143, ""),
        (["no-such-program"], 127, "boundtoken: no-such-program: no such program\n"),
        (["/etc/passwd"], 126, "boundtoken: /etc/passwd: Permission denied\n"),
        (["/"], 126, "boundtoken: /: Permission denied\n"),
    ],
)
def test_the_exit_code_is_that_of_a_shell(
    run: Run, program: list[str], code: int, stderr: str
) -> None:
    result = run("--", *program)
    assert (result.returncode, result.stderr) == (code, stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "boundtoken token run: error: the following arguments are required: COMMAND"),
        (["--"], "boundtoken token run: error: the following arguments are required: COMMAND"),
        (["--env", "A=B", "--", "true"], "boundtoken: --env='A=B': must be the name of a variable"),
        (["--env", "", "--", "true"], "boundtoken: --env='': must be the name of a variable"),
        (["--duration", "1s", "--", "true"], "boundtoken: --duration='1s': must be from 600s"),
    ],
)
def test_wrong_use_is_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(message)


def test_without_a_token_the_program_is_not_run(run: Run, issuer: Issuer, tmp_path: Path) -> None:
    issuer.script.append(403)
    result = run("--", "touch", str(tmp_path / "ran"))
    assert result.returncode == 3
    assert "boundtoken: token of shop/cart: 403" in result.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow("a token has to become old")
def test_the_token_is_renewed_while_the_program_runs(run: Run, issuer: Issuer) -> None:
    issuer.lifetime = 7
    line = 'a=$(cat "$BOUNDTOKEN_TOKEN_FILE"); while [ "$(cat "$BOUNDTOKEN_TOKEN_FILE")" = "$a" ]; do sleep 0.2; done; echo new'
    result = run("--", "sh", "-c", line)
    assert (result.returncode, result.stdout) == (0, "new\n")


@pytest.mark.slow("a token has to become old")
def test_a_renewal_that_fails_does_not_end_the_program(
    start: Callable[..., subprocess.Popen[bytes]], issuer: Issuer, tmp_path: Path
) -> None:
    issuer.lifetime = 6
    process = start("--", "sh", "-c", "while [ ! -e $OUT/go ]; do sleep 0.05; done; exit 5")
    wait_for(lambda: issuer.requests)
    issuer.script.extend([403] * 90)
    wait_for(lambda: len(issuer.requests) > 2)
    (tmp_path / "go").touch()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 5
    assert b"boundtoken: token of shop/cart: 403: refused with 403" in stderr


TRAPS = """
trap 'echo TERM >> "$OUT/heard"; exit 7' TERM
trap 'echo INT >> "$OUT/heard"; exit 8' INT
trap 'echo HUP >> "$OUT/heard"' HUP
trap 'echo USR1 >> "$OUT/heard"' USR1
trap 'echo QUIT >> "$OUT/heard"; exit 9' QUIT
echo "$$" > "$OUT/pid"
while :; do sleep 0.05; done
"""


def test_signals_are_passed_on_and_the_program_decides(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    for number, code in ((signal.SIGTERM, 7), (signal.SIGINT, 8), (signal.SIGQUIT, 9)):
        (tmp_path / "pid").unlink(missing_ok=True)
        (tmp_path / "heard").write_text("")
        process = start("--", "sh", "-c", TRAPS)
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        expected = ""
        for harmless in ("HUP", "USR1"):
            process.send_signal(signal.Signals[f"SIG{harmless}"])
            expected += f"{harmless}\n"
            wait_for(lambda: (tmp_path / "heard").read_text() == expected)  # noqa: B023
        process.send_signal(number)
        assert process.wait(60) == code
        assert (tmp_path / "heard").read_text() == f"{expected}{number.name[3:]}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_ends_the_program_ends_us_and_all_that_it_started(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, number: signal.Signals
) -> None:
    line = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    process = start("--", "sh", "-c", line)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    pid = int((tmp_path / "pid").read_text())
    if number == signal.SIGINT:  # which a shell lets its background jobs ignore
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_is_left_after_the_program_was_killed(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, runtime: Path
) -> None:
    process = start("--", "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    assert len(entries(runtime)) == 1
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert process.wait(60) == 137
    assert entries(runtime) == []


def test_nothing_is_left_after_a_signal_before_the_first_token(
    start: Callable[..., subprocess.Popen[bytes]], issuer: Issuer, runtime: Path
) -> None:
    issuer.lag = 20
    process = start("--", "true")
    wait_for(lambda: issuer.requests)
    assert len(entries(runtime)) == 1
    process.terminate()
    assert process.wait(60) == 143
    assert entries(runtime) == []


def test_what_a_killed_run_leaves_the_next_one_removes(
    start: Callable[..., subprocess.Popen[bytes]], run: Run, runtime: Path, tmp_path: Path
) -> None:
    process = start("--", "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.utime(runtime / entries(runtime)[0], (0, 0))
    assert run("--", "true").returncode == 0
    assert len(entries(runtime)) == 1, "it still runs"
    process.kill()
    process.wait()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert run("--", "true").returncode == 0
    assert entries(runtime) == []


def test_a_program_that_has_left_something_in_the_background_does_not_keep_us(
    run: Run, tmp_path: Path
) -> None:
    result = run("--", "sh", "-c", f"sleep 60 >/dev/null 2>&1 & echo $! > {tmp_path}/pid")
    assert result.returncode == 0
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_two_at_once_do_not_meet(
    start: Callable[..., subprocess.Popen[bytes]], runtime: Path, tmp_path: Path
) -> None:
    processes = [
        start("--", "sh", "-c", "while [ ! -e $OUT/go ]; do sleep 0.05; done") for _ in "ab"
    ]
    wait_for(lambda: len(entries(runtime)) == 2)
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in processes] == [0, 0]


def test_ignored_signals_stay_ignored(environ: dict[str, str], tmp_path: Path) -> None:
    """As under nohup."""
    line = "trap '' HUP; exec \"$@\""
    program = f"grep SigIgn /proc/self/status > {tmp_path}/ignored; echo $$ > {tmp_path}/pid; exec sleep 2"
    process = subprocess.Popen(
        ["sh", "-c", line, "sh", *words("--", "sh", "-c", program)],
        env=environ,
        start_new_session=True,
    )
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    found = re.search(r"SigIgn:\s*(\w+)", (tmp_path / "ignored").read_text())
    assert found is not None
    assert int(found[1], 16) & 0x7FFFFFFF == 1 << (signal.SIGHUP - 1)


@pytest.fixture
def terminal(environ: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the command on a terminal; bytes written to it are typed."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, *words(*arguments)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def type_keys(process: subprocess.Popen[bytes], keys: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(keys)
    process.stdin.flush()


def test_on_a_terminal_the_program_can_read_from_it(
    terminal: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = terminal("--", "sh", "-c", "touch $OUT/ready; read word; echo got:$word")
    wait_for((tmp_path / "ready").exists)
    type_keys(process, b"hello\n")
    stdout, _ = process.communicate(timeout=60)
    assert b"got:hello" in stdout
    assert process.returncode == 0


COUNTING = """
import os, signal, sys, time
def hear(number, _):
    with open(os.environ["OUT"] + "/heard", "a") as file:
        file.write(signal.Signals(number).name + "\\n")
    if number == signal.SIGQUIT:
        sys.exit(7)
for number in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, hear)
open(os.environ["OUT"] + "/ready", "w").close()
while True:
    time.sleep(1)
"""


def test_ctrl_c_reaches_the_program_once_and_it_decides(
    terminal: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = terminal("--", sys.executable, "-c", COUNTING)
    heard = tmp_path / "heard"
    wait_for((tmp_path / "ready").exists)
    for _ in range(2):
        type_keys(process, b"\x03")
        time.sleep(0.5)  # for a second signal, which must not come
    type_keys(process, b"\x1c")  # Ctrl-\\
    assert process.wait(60) == 7
    assert heard.read_text() == "SIGINT\nSIGINT\nSIGQUIT\n"


def test_ctrl_c_that_ends_the_program_is_130(
    terminal: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, runtime: Path
) -> None:
    process = terminal("--", "sh", "-c", "touch $OUT/ready; exec sleep 60")
    wait_for((tmp_path / "ready").exists)
    type_keys(process, b"\x03")
    assert process.wait(60) == 130
    assert entries(runtime) == []


def test_on_a_terminal_a_signal_of_another_process_is_passed_on(
    terminal: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    line = (
        "trap 'exit 7' TERM; trap 'exit 8' INT; echo $PPID > $OUT/pid; while :; do sleep 0.05; done"
    )
    for number, code in ((signal.SIGTERM, 7), (signal.SIGINT, 8)):
        (tmp_path / "pid").unlink(missing_ok=True)
        process = terminal("--", "sh", "-c", line)
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        os.kill(int((tmp_path / "pid").read_text()), number)
        assert process.wait(60) == code


def test_ctrl_z_stops_both_and_both_go_on(
    terminal: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    line = "echo $PPID > $OUT/pid; while :; do echo . >> $OUT/ticks; sleep 0.05; done"
    process = terminal("--", "sh", "-c", line)
    wait_for((tmp_path / "ticks").exists)
    pid = int((tmp_path / "pid").read_text())
    group = os.getpgid(pid)
    os.killpg(group, signal.SIGSTOP)
    wait_for(lambda: _state(pid) == "T")
    before = len((tmp_path / "ticks").read_text())
    os.killpg(group, signal.SIGCONT)
    wait_for(lambda: len((tmp_path / "ticks").read_text()) > before)
    type_keys(process, b"\x03")
    assert process.wait(60) == 130


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_no_token_is_in_the_arguments_or_the_environment_of_anybody(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, runtime: Path
) -> None:
    process = start("--", "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    (token_file,) = runtime.glob("*/serviceaccount/token")
    token = token_file.read_bytes()
    for pid in (process.pid, int((tmp_path / "pid").read_text())):
        for name in ("cmdline", "environ"):
            assert token not in Path(f"/proc/{pid}/{name}").read_bytes()
    process.terminate()
    process.wait(60)
