"""`boundtoken token run`: runs a program with a kubeconfig and a token file that are kept fresh."""

import argparse
import os
import signal
import threading
from pathlib import Path
from typing import Any

import yaml

from ...errors import BadInput, described
from ...tokens.folder.child import BY_SIGNAL, NOT_EXECUTABLE, NOT_FOUND, Child
from ...tokens.folder.temporary import SERVICE_ACCOUNT, run_folder
from ...tokens.folder.upkeep import Upkeep
from ...tokens.folder.volume import TokenFolder
from ...tokens.kubectl.create import NewToken
from ...tokens.kubectl.kubeconfig import kubeconfig
from ..process import say
from .keeping import Keeper, Kept, Signals

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
FROM_THE_KERNEL = 0x80
"""`si_code` of what the terminal sends, to all of its foreground (SI_KERNEL of sigaction(2))."""
TOKEN_VARIABLE = "BOUNDTOKEN_TOKEN_FILE"  # noqa: S105  (a name)
KUBECONFIG = "KUBECONFIG"


def run(parsed: argparse.Namespace) -> int:
    """Run the program; gives its exit code, as a shell does."""
    command = parsed.command[parsed.command[0] == "--" :]
    if not command:
        raise BadInput("a program must follow --, such as: -- kubectl get pods")
    variables = [TOKEN_VARIABLE, *parsed.env]
    for name in parsed.env:
        if not name or "=" in name or "\0" in name:
            raise BadInput(f"--env={name!a}: must be the name of a variable")
    kept = Kept(parsed)
    stop = threading.Event()
    with Signals(*PASSED_ON) as signals, run_folder() as private:
        token = private / SERVICE_ACCOUNT / "token"
        config = private / "kubeconfig"
        environ = {
            **os.environ,
            **dict.fromkeys(variables, str(token)),
            KUBECONFIG: str(config),
        }
        with TokenFolder(private / SERVICE_ACCOUNT) as folder:
            upkeep = Upkeep(folder, kept.source, kept.beside, stop, changed=_nothing, failed=say)
            keeper = Keeper(upkeep, stop)
            try:
                if number := _until_ready(keeper, signals):
                    return BY_SIGNAL + number
                config.write_text(yaml.safe_dump(_kubeconfig(kept, token), sort_keys=False))
                return _run(command, environ, keeper, signals)
            finally:
                keeper.end()


def _nothing(_: object) -> None:
    """Nobody has to be told of a change: the program reads its files again."""


def _until_ready(keeper: Keeper, signals: Signals) -> int:
    """Until the token is there, or the signal that came before. Raises: what prevents it"""
    while not keeper.is_ready:
        keeper.check()
        number = signals.wait().si_signo
        if number != signal.SIGCHLD:
            return number
    return 0


def _run(command: list[str], environ: dict[str, str], keeper: Keeper, signals: Signals) -> int:
    has_terminal = _has_terminal()
    try:
        child = Child(command, environ, own_group=not has_terminal)
    except FileNotFoundError:
        say(f"{command[0]}: no such program")
        return NOT_FOUND
    except (OSError, ValueError) as problem:
        say(f"{command[0]}: {getattr(problem, 'strerror', None) or problem}")
        return NOT_EXECUTABLE
    has_complained = False
    while (code := child.poll()) is None:
        received = signals.wait()
        if isinstance(keeper.problem, Exception) and not has_complained:
            has_complained = True
            say(f"the token is not renewed any more: {described(keeper.problem)}")
        is_shared = has_terminal and received.si_code == FROM_THE_KERNEL
        if received.si_signo != signal.SIGCHLD and not is_shared:
            child.send(received.si_signo)
    return code


def _has_terminal() -> bool:
    """Whether this process has a terminal, which only one process group may read from at a time:
    the program then stays in ours, so that it can, and that Ctrl-C and Ctrl-Z reach both.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _kubeconfig(kept: Kept, token: Path) -> dict[str, Any]:
    """With paths instead of the token and the CA, because both are renewed."""
    request = kept.source.request
    new = NewToken(namespace=request.namespace, account=request.account)
    made = kubeconfig(kept.credentials.address(), new, {"tokenFile": str(token)})
    cluster = made["clusters"][0]["cluster"]
    if cluster.pop("certificate-authority-data", ""):
        cluster["certificate-authority"] = str(token.with_name("ca.crt"))
    return made
