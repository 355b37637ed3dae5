"""`boundtoken token write` as people run it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.folders import entries
from tests.support.issuer import Issuer
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.tokens import claims_of

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def environ(issuer: Issuer, tmp_path: Path) -> dict[str, str]:
    file = a_kubeconfig(tmp_path / "kubeconfig", issuer.url, namespace="shop")
    return {**os.environ, "KUBECONFIG": str(file), "HOME": str(tmp_path)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def run(environ: dict[str, str], folder: Path) -> Run:
    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [str(BOUNDTOKEN), "token", "write", *arguments, "--to", str(folder)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **{"env": environ, **options},
        )

    return run


@contextlib.contextmanager
def started(
    environ: dict[str, str], folder: Path, *arguments: str, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """The command while it keeps the folder; the first token is there."""
    command = [str(BOUNDTOKEN), "token", "write", "cart", *arguments, "--to", str(folder)]
    process = subprocess.Popen(
        command,
        env=environ,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    try:
        wait_for(lambda: (folder / "token").exists() or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_once_writes_what_a_pod_would_have(run: Run, folder: Path, issuer: Issuer) -> None:
    result = run("cart", "--audience", "vault", "--audience", "b", "--duration", "20m", "--once")
    assert (result.returncode, result.stdout) == (0, "")
    token = (folder / "token").read_text()
    claims = claims_of(token)
    assert (claims.namespace, claims.account, claims.audiences) == ("shop", "cart", ("vault", "b"))
    assert claims.lifetime_seconds == 1200
    assert (folder / "namespace").read_text() == "shop"
    assert not (folder / "ca.crt").exists(), "this server has no CA of its own"
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    expiry = result.stderr.strip().rpartition(" ")[2]
    assert result.stderr == f"boundtoken: {folder}: new token of shop/cart, expires {expiry}\n"
    assert issuer.requests[0]["spec"]["expirationSeconds"] == 1200


def test_json_is_a_line_for_each_change(run: Run, folder: Path) -> None:
    result = run("cart", "-n", "other", "--mode", "0644", "--once", "-o", "json")
    line = json.loads(result.stdout)
    assert (line["folder"], line["account"]) == (str(folder), "other/cart")
    assert set(line) == {"folder", "account", "audiences", "expiresAt"}
    assert result.stderr == ""
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o644


def test_the_version_before_is_removed_when_it_ends(run: Run, folder: Path) -> None:
    for _ in range(2):
        run("cart", "--once")
        assert len(list(folder.glob("..2*"))) == 1


def test_a_lifetime_that_was_not_asked_for_is_told(run: Run, issuer: Issuer) -> None:
    issuer.lifetime = 700
    assert "boundtoken: token of shop/cart: 3600 s were requested, it lives 700 s" in (
        run("cart", "--once").stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cart", "--duration", "5m"], "--duration='5m': must be from 600s to 4294967296s"),
        (["cart", "--duration", "700.5s"], "--duration cannot be expressed in units less than"),
        (["cart", "--duration", "x"], 'invalid argument "x" for "--duration" flag: time: invalid'),
        (["Cart!"], "account: 'Cart!' must be a name of Kubernetes"),
        (["cart", "--duration=-1h"], "--duration must be greater than or equal to 0"),
        (["cart", "--audience", ""], "--audience must not be an empty string"),
        (["cart", "--signal-pid", "0"], "--signal-pid='0': 0: must be a process id"),
        (["cart", "--signal-pid", "4194304"], "--signal-pid='4194304': there is no process"),
    ],
)
def test_wrong_use_is_2(run: Run, folder: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"boundtoken: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert not folder.exists()


def test_an_empty_folder_name_is_wrong_use() -> None:
    refused = boundtoken("token", "write", "cart", "--to", "")
    assert (refused.returncode, refused.stderr) == (2, "boundtoken: --to must be a folder\n")


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_is_3_and_says_why(run: Run, issuer: Issuer, folder: Path, status: int) -> None:
    issuer.script.append(status)
    result = run("cart")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith(f"boundtoken: token of shop/cart: {status}: refused")
    assert not (folder / "token").exists()


def test_a_server_that_is_away_is_3(run: Run, tmp_path: Path) -> None:
    a_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    result = run("cart")
    assert result.returncode == 3
    assert "no answer of the API server: " in result.stderr


def test_a_folder_of_others_is_3_and_stays(run: Run, folder: Path) -> None:
    folder.mkdir()
    (folder / "precious").touch()
    result = run("cart", "--once")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith(f"boundtoken: {folder}: has 'precious' in it, which boundtoken")
    assert entries(folder) == ["precious"]


def test_no_token_is_in_the_arguments_the_environment_or_what_is_printed(
    environ: dict[str, str], folder: Path
) -> None:
    with started(environ, folder, "-o", "json") as process:
        token = (folder / "token").read_bytes()
        for name in ("cmdline", "environ"):
            assert token not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        process.terminate()
        stdout, stderr = process.communicate(timeout=60)
    assert token.decode() not in stdout + stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_the_folder_stays(
    environ: dict[str, str], folder: Path, number: signal.Signals
) -> None:
    with started(environ, folder) as process:
        token = (folder / "token").read_text()
        process.send_signal(number)
        assert process.wait(60) == 0
    assert (folder / "token").read_text() == token


def test_a_hangup_that_is_ignored_does_not_end_it(environ: dict[str, str], folder: Path) -> None:
    """As under nohup."""
    command = [str(BOUNDTOKEN), "token", "write", "cart", "--to", str(folder)]
    process = subprocess.Popen(
        ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *command], env=environ
    )
    try:
        wait_for((folder / "token").exists)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
    finally:
        process.terminate()
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_token_ends_it_too(
    environ: dict[str, str], folder: Path, issuer: Issuer, number: signal.Signals
) -> None:
    issuer.lag = 20
    command = [str(BOUNDTOKEN), "token", "write", "cart", "--to", str(folder)]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE)
    wait_for(lambda: issuer.requests)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (128 + number, b"")


@pytest.mark.slow("a token has to become old")
def test_the_token_is_renewed_until_it_is_stopped(
    environ: dict[str, str], folder: Path, issuer: Issuer
) -> None:
    issuer.lifetime = 7
    with started(environ, folder, "--exec", f"cat {folder}/token >> {folder}/../all") as process:
        wait_for(lambda: len(issuer.requests) >= 2)
        tokens = folder.parent / "all"
        wait_for(lambda: tokens.read_text().count("eyJ") >= 4, 30)
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert stderr.count("new token of shop/cart") == 2
    assert tokens.read_text().endswith((folder / "token").read_text())


def test_a_second_one_for_the_same_folder_is_refused(
    environ: dict[str, str], folder: Path, run: Run
) -> None:
    with started(environ, folder):
        token = (folder / "token").read_text()
        result = run("other", "--once")
        assert result.returncode == 3
        assert result.stderr == f"boundtoken: {folder}: another process is writing into it\n"
        assert (folder / "token").read_text() == token


def test_after_a_kill_the_next_one_goes_on(environ: dict[str, str], folder: Path, run: Run) -> None:
    with started(environ, folder) as process:
        token = (folder / "token").read_text()
        process.kill()
        process.wait()
        assert (folder / "token").read_text() == token
    assert run("cart", "--once").returncode == 0
    assert (folder / "token").read_text() != token


def test_a_process_is_told_after_each_change(
    environ: dict[str, str], folder: Path, tmp_path: Path, run: Run
) -> None:
    heard = tmp_path / "heard"
    script = f"trap 'echo hup >> {heard}' HUP; touch {heard}; while :; do sleep 0.1; done"
    listener = subprocess.Popen(["sh", "-c", script])
    try:
        wait_for(heard.exists)
        assert run("cart", "--once", "--signal-pid", str(listener.pid)).returncode == 0
        wait_for(lambda: heard.read_text() == "hup\n")
        (tmp_path / "pid").write_text(str(listener.pid))
        assert run("cart", "--once", "--signal-pid", str(tmp_path / "pid")).returncode == 0
        wait_for(lambda: heard.read_text() == "hup\nhup\n")
    finally:
        listener.kill()
        listener.wait()


def test_a_command_that_fails_is_3_with_once_and_told_otherwise(
    environ: dict[str, str], folder: Path, run: Run
) -> None:
    result = run("cart", "--once", "--exec", "exit 4")
    assert result.returncode == 3
    assert result.stderr.endswith(
        "boundtoken: 'exit 4': exit code 4\n"
        "boundtoken: the token was written, but 'exit 4': exit code 4\n"
    )
    assert (folder / "token").exists()
    (folder / "token").unlink()
    with started(environ, folder, "--exec", "exit 4") as process:
        process.terminate()
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr.count("exit code 4")) == (0, 1)


@pytest.mark.slow("a token has to become old")
def test_nobody_who_stops_reading_ends_it(
    environ: dict[str, str], folder: Path, issuer: Issuer
) -> None:
    issuer.lifetime = 7
    reading, writing = os.pipe()
    os.close(reading)
    with started(environ, folder, "-o", "json", stdout=writing, stderr=writing) as process:
        os.close(writing)
        wait_for(lambda: len(issuer.requests) >= 2, 30)
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "> /dev/full 2> /dev/full"])
def test_streams_that_are_closed_or_full_change_nothing(
    environ: dict[str, str], folder: Path, streams: str
) -> None:
    line = f'exec "$0" token write cart --once -o json --to {folder} {streams}'
    done = subprocess.run(["sh", "-c", line, BOUNDTOKEN], env=environ, check=False)
    assert done.returncode == 0
    assert (folder / "token").read_text().startswith("eyJ")


def test_the_folder_that_is_gone_ends_it_with_3(environ: dict[str, str], folder: Path) -> None:
    with started(environ, folder) as process:
        shutil.rmtree(folder)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    assert stderr.endswith(f"boundtoken: {folder}: the folder is gone: No such file or directory\n")


def test_a_service_manager_is_told_when_the_token_is_there(
    environ: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with started({**environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}, folder):
            assert manager.recv(100) == b"READY=1"
            assert (folder / "token").exists()
    nobody = {**environ, "NOTIFY_SOCKET": "/missing"}
    with started(nobody, tmp_path / "second") as process:
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "NOTIFY_SOCKET: " in stderr
