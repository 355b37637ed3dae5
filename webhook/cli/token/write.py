"""`boundtoken token write`: keeps a token in a folder, as the kubelet does in a volume."""

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from ...errors import BadInput
from ...tokens.folder.hooks import Command, HangUp, HookError
from ...tokens.folder.upkeep import Change, Upkeep
from ...tokens.folder.volume import TokenFolder
from ..process import say
from .keeping import Keeper, Kept, Signals, utc

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MODES = {"0600": 0o600, "0644": 0o644}


def write(parsed: argparse.Namespace) -> int:
    """Write the folder once, or keep it until a signal comes."""
    if not parsed.to:
        raise BadInput("--to must be a folder")
    stop = threading.Event()
    changed = Changed(parsed, stop)
    kept = Kept(parsed)
    with Signals(*STOPPING) as signals, TokenFolder(Path(parsed.to), MODES[parsed.mode]) as folder:
        upkeep = Upkeep(folder, kept.source, kept.beside, stop, changed=changed, failed=say)
        keeper = Keeper(upkeep, stop, once=parsed.once)
        number = _wait(keeper, signals)
        keeper.end()
    keeper.check()
    if parsed.once and changed.failed:
        raise HookError(f"the token was written, but {changed.failed}")
    return 128 + number if number and not keeper.is_ready else 0


def _wait(keeper: Keeper, signals: Signals) -> int:
    """Until the keeper has ended, or the signal that came before."""
    has_notified = False
    while not keeper.has_ended:
        number = signals.wait().si_signo
        if keeper.is_ready and not has_notified:
            has_notified = True
            notify("READY=1")
        if number != signal.SIGCHLD:
            return number
    return 0


class Changed:
    """What is done after each change: it is told, and the flags' process and command hear of it."""

    def __init__(self, parsed: argparse.Namespace, stop: threading.Event) -> None:
        """Raises: BadInput"""
        self._is_json = parsed.output == "json"
        self._hooks: list[HangUp | Command] = []
        self.failed = ""
        """Why the last hook that failed did."""
        try:
            if parsed.signal_pid is not None:
                self._hooks.append(HangUp(parsed.signal_pid))
        except HookError as problem:
            raise BadInput(f"--signal-pid={parsed.signal_pid!a}: {problem}") from None
        if parsed.exec is not None:
            self._hooks.append(Command(parsed.exec, stop))

    def __call__(self, change: Change) -> None:
        expiry = utc(change.expires_at)
        if self._is_json:
            self._print(
                {
                    "folder": change.folder,
                    "account": change.token_of,
                    "audiences": change.audiences,
                    "expiresAt": expiry,
                }
            )
        else:
            say(f"{change.folder}: new token of {change.token_of}, expires {expiry}")
        for hook in self._hooks:
            try:
                hook()
            except HookError as problem:
                self.failed = str(problem)
                say(self.failed)

    def _print(self, line: dict[str, object]) -> None:
        """One line of JSON. Nobody who stops reading ends the upkeep."""
        if sys.stdout is None:
            return
        try:
            print(json.dumps(line), flush=True)
        except OSError as problem:
            say(f"standard output: {problem.strerror}")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def notify(state: str) -> None:
    """Tell the service manager, where there is one (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.sendto(state.encode(), address)
    except (OSError, ValueError) as problem:
        say(f"NOTIFY_SOCKET: {problem}")
