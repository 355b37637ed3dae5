"""What `token write` and `token run` share: the token that they keep, credentials that last, and
signals.
"""

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Self

from ...cluster.credentials import InCluster, ReadAgain
from ...core.names import MIN_EXPIRATION_SECONDS
from ...errors import BadInput
from ...tokens import ApiServer, TokenFile, TokenRequest, TokenRequestSource
from ...tokens.folder.upkeep import Upkeep
from ...tokens.kubectl.create import check_audiences, whole_seconds
from ...tokens.request import DEFAULT_SECONDS, MAX_SECONDS
from ..process import say
from .access import DEFAULT_NAMESPACE
from .source import is_in_cluster

JOIN_SECONDS = 15.0
"""That a change which has begun may take at the end, its command's end included."""


class Kept:
    """The token that is kept: its source, and the files that stand beside it."""

    def __init__(self, parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> None:
        """Raises: BadInput, Unauthenticated"""
        self.credentials: InCluster | ReadAgain
        if is_in_cluster(parsed, environ):
            self.credentials = InCluster(environ)
            namespace = parsed.namespace or TokenFile().namespace
        else:
            self.credentials = ReadAgain(parsed.kubeconfig, parsed.context)
            namespace = parsed.namespace or self.credentials.namespace
        request = _request(parsed, namespace or DEFAULT_NAMESPACE)
        logging.getLogger("boundtoken.tokens").addHandler(_Teller())
        self.source = TokenRequestSource(ApiServer(self.credentials), request)

    @property
    def namespace(self) -> str:
        return self.source.request.namespace

    def beside(self) -> dict[str, bytes]:
        """`namespace`, and `ca.crt` where the API server has a CA of its own."""
        ca = self.credentials.address().authority
        return {"namespace": self.namespace.encode(), **({"ca.crt": ca} if ca else {})}


class Signals:
    """Signals that are waited for instead of obeyed, in this thread and in all that it starts."""

    def __init__(self, *numbers: signal.Signals) -> None:
        """Those that are ignored stay ignored, as nohup and a shell's & want it."""
        heard = {number for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
        self._numbers = {*heard, signal.SIGCHLD}

    def __enter__(self) -> Self:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        return self

    def __exit__(self, *_: object) -> None:
        """Those that came meanwhile are dropped: the command is ending as it is."""
        while signal.sigtimedwait(self._numbers, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self) -> signal.struct_siginfo:
        """The next signal; SIGCHLD where only something has to be looked at."""
        return signal.sigwaitinfo(self._numbers)


class Keeper:
    """Keeps a folder in a thread of its own, and wakes `Signals.wait` with SIGCHLD when it is ready
    and when it has ended.
    """

    def __init__(self, upkeep: Upkeep, stop: threading.Event, *, once: bool = False) -> None:
        self._upkeep = upkeep
        self._stop = stop
        self._once = once
        self._main = threading.get_ident()
        self.is_ready = self.has_ended = False
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="boundtoken-upkeep", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop, after a change that has begun, and without waiting for an answer."""
        self._stop.set()
        deadline = time.monotonic() + JOIN_SECONDS
        while (
            self._thread.is_alive() and not self._upkeep.is_asking and time.monotonic() < deadline
        ):
            self._thread.join(0.02)

    def check(self) -> None:
        """Raises: what has ended it"""
        if self.problem is not None:
            raise self.problem

    def _run(self) -> None:
        try:
            self._upkeep.update()
            self._tell("is_ready")
            if self._once:
                self._upkeep.finish()
            else:
                self._upkeep.run()
        except BaseException as problem:  # noqa: BLE001  (the main thread raises it)
            self.problem = problem
        finally:
            self._tell("has_ended")

    def _tell(self, what: str) -> None:
        setattr(self, what, True)
        signal.pthread_kill(self._main, signal.SIGCHLD)


class _Teller(logging.Handler):
    """What the library warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def utc(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _request(parsed: argparse.Namespace, namespace: str) -> TokenRequest:
    try:
        seconds = DEFAULT_SECONDS
        if parsed.duration is not None:
            seconds = whole_seconds(parsed.duration)
            if not MIN_EXPIRATION_SECONDS <= seconds <= MAX_SECONDS:
                least, most = f"{MIN_EXPIRATION_SECONDS}s", f"{MAX_SECONDS}s"
                raise ValueError(f"--duration={parsed.duration!a}: must be from {least} to {most}")
        check_audiences(parsed.audience)
        return TokenRequest(namespace, parsed.account, tuple(parsed.audience), seconds)
    except ValueError as problem:
        raise BadInput(str(problem)) from None
