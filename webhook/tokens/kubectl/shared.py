"""One token for all processes of a user: a file in a private folder, and a lock beside it.

For programs that live shorter than a token, such as the exec plugin of kubectl. The rule of renewal
is that of TokenRequestSource.
"""

import contextlib
import hashlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ...core.claims import MAX_TOKEN_BYTES, NotAToken, claims_of
from ...errors import BoundtokenError
from ..errors import Deleted, NoToken
from ..refresh import MAX_BACKOFF_SECONDS, MAX_JITTER_SECONDS, refresh_at
from ..request import IssuedToken
from ..requested import LEEWAY_SECONDS, RENEWAL_SECONDS
from .private_folder import Busy, Lock, PrivateFolder, Untrusted

MAX_FILE_BYTES = MAX_TOKEN_BYTES + (16 << 10)
MAX_CALLERS_BYTES = 64 << 10
"""About 1,000 callers of one token; then they are forgotten."""
MAX_NOTE_BYTES, MAX_NOTE_CHARS = 32 << 10, 4000
LOCK_SECONDS = 60.0
"""What a process without a token waits for another one that asks: longer than an API server that
is busy makes that one wait, so that not all of them ask it in the end.
"""
WAITING = "another process is asking for the same token; waiting for it"
SWEEP_SECONDS = 2 * 86400.0
"""After which a file that nobody has written since is of no use: tokens are renewed every day."""


class Usable(NamedTuple):
    """A token, and the time in seconds since 1970 at which to ask again."""

    token: str
    until: float


class _Entry(msgspec.Struct):
    """A cached token. `key` is what it is for; it is of use from `since` until `until`, by this
    machine's clock, which other processes and the next boot have too.
    """

    key: str
    token: str
    since: float
    refresh_at: float
    until: float
    renewed_at: float = 0.0

    def is_for(self, key: str, now: float) -> bool:
        """Whether it is a token for this key, and valid."""
        if self.key != key or not self.since <= now < self.until:
            return False
        try:
            claims_of(self.token)
        except NotAToken:
            return False
        return self.refresh_at <= self.until

    def usable(self, now: float) -> Usable:
        return Usable(self.token, self.refresh_at if now < self.refresh_at else self.until)


class _Note(msgspec.Struct):
    """Why the one before had no success; for those who were waiting meanwhile."""

    at: float
    text: str
    is_deleted: bool = False


_ENTRY = msgspec.json.Decoder(_Entry)
_NOTE = msgspec.json.Decoder(_Note)


class SharedToken:
    """The token for `key`, which `request` asks for when there is none in `folder`.

    `key` is any text that names everything that makes tokens differ. `caller` names the process
    that will use the token, and its start: a client that asks a second time for a token that is
    still good has been answered with 401, so it is renewed then. Empty where that is not known.
    `report` is called with what the user should hear of, one line each. Without a folder each call
    makes a request. `name` is the same for equal keys.
    """

    def __init__(
        self,
        folder: PrivateFolder | None,
        key: str,
        request: Callable[[], IssuedToken],
        *,
        caller: str = "",
        report: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._key = key
        self._request = request
        self._caller = caller
        self._report = report
        self._clock = clock
        self.name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def get(self) -> Usable:
        """The token.

        Raises: as `request` does, where there is none that is valid; NoToken, with the same text,
                where another process was told so while this one waited for it, and where that one
                takes longer than LOCK_SECONDS
        """
        if self._folder is None:
            return self._requested(None).usable(self._clock())
        started = self._clock()
        entry = self._read(self._folder)
        is_rejected = entry is not None and self._has_served(self._folder, entry)
        if entry is None or is_rejected or started >= entry.refresh_at:
            rejected = entry.token if entry is not None and is_rejected else ""
            entry = self._renewed(self._folder, started, entry, rejected)
        self._remember(self._folder, entry)
        return entry.usable(self._clock())

    def _renewed(
        self, folder: PrivateFolder, started: float, old: _Entry | None, rejected: str
    ) -> _Entry:
        """A new token, of this process or of the one that had the lock before. While another one
        asks, nobody who has a valid token waits.
        """
        usable = None if rejected else old
        seconds = LOCK_SECONDS if usable is None else 0.0
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(
                    folder.locked(f"{self.name}.lock", seconds, lambda: self._report(WAITING))
                )
            except Busy:
                if usable is not None:
                    return usable
                raise NoToken(
                    f"another process has been asking for this token for more than {seconds:.0f} s, and has locked "
                    f"{folder.path / self.name}.lock"
                ) from None
            except (Untrusted, OSError) as problem:
                self._report(f"the token is not cached: {_told(problem)}")
                return self._requested(None)
            return self._renewed_alone(folder, lock, started, rejected)

    def _renewed_alone(
        self, folder: PrivateFolder, lock: Lock, started: float, rejected: str
    ) -> _Entry:
        entry, now = self._read(folder), self._clock()
        if entry is not None and entry.token != rejected and now < entry.refresh_at:
            return entry
        if entry is not None and entry.token == rejected:
            if 0 <= now - entry.renewed_at < RENEWAL_SECONDS:
                return entry
            entry.renewed_at = now
        if (note := _note(lock)) is not None and started <= note.at <= now:
            if note.is_deleted or entry is None:
                raise NoToken(note.text)
            return entry
        try:
            fresh = self._requested(entry)
        except BoundtokenError as problem:
            is_deleted = isinstance(problem, Deleted)
            text = str(problem)[:MAX_NOTE_CHARS]
            lock.leave(msgspec.json.encode(_Note(self._clock(), text, is_deleted)))
            if is_deleted:
                folder.remove(f"{self.name}.json")
            if is_deleted or entry is None:
                raise
            self._report(f"{problem}; the old token is used on")
            # As if it had just been renewed, so that the next minute does not wait for it again.
            entry.refresh_at = min(self._clock() + MAX_BACKOFF_SECONDS, entry.until)
            fresh = entry
        else:
            lock.leave(b"")
            folder.sweep(self._clock() - SWEEP_SECONDS)
        self._write(folder, fresh)
        return fresh

    def _requested(self, old: _Entry | None) -> _Entry:
        """By our clock the token began to live when we sent the request, at the latest; one second
        before, because `iat` has whole seconds. As TokenRequestSource counts.

        Raises: as `request` does; NoToken, where its lifetime is over by now
        """
        sent = self._clock()
        answer = self._request()
        lifetime = answer.expires_at - answer.issued_at - 1
        jitter = random.uniform(0, MAX_JITTER_SECONDS)  # noqa: S311
        until = sent + lifetime - min(LEEWAY_SECONDS - 1, lifetime / 10)
        refresh = refresh_at(sent, sent + answer.replace_at - answer.issued_at, jitter)
        if not sent <= self._clock() < until:
            raise NoToken("the API server's answer has a token that has expired meanwhile")
        renewed_at = old.renewed_at if old is not None else 0.0
        return _Entry(self._key, answer.text, sent, min(refresh, until), until, renewed_at)

    def _read(self, folder: PrivateFolder) -> _Entry | None:
        """The cached token; None where there is none that is valid and to be trusted."""
        try:
            content = folder.read(f"{self.name}.json", MAX_FILE_BYTES)
            entry = None if content is None else _ENTRY.decode(content)
        except (Untrusted, OSError) as problem:
            self._report(f"a cached token is not used: {_told(problem)}")
            return None
        except (ValueError, RecursionError):
            return None
        return entry if entry is not None and entry.is_for(self._key, self._clock()) else None

    def _write(self, folder: PrivateFolder, entry: _Entry) -> None:
        try:
            folder.write(f"{self.name}.json", msgspec.json.encode(entry))
        except OSError as problem:
            self._report(f"the token is not cached: {folder.path}: {_told(problem)}")

    def _has_served(self, folder: PrivateFolder, entry: _Entry) -> bool:
        if not self._caller:
            return False
        try:
            content = folder.read(f"{self.name}.callers", 2 * MAX_CALLERS_BYTES) or b""
        except (Untrusted, OSError):
            return False
        return self._line(entry) in content.split(b"\n")

    def _remember(self, folder: PrivateFolder, entry: _Entry) -> None:
        if not self._caller:
            return
        try:
            folder.append(f"{self.name}.callers", self._line(entry) + b"\n", MAX_CALLERS_BYTES)
        except OSError:  # a 401 is then not noticed
            return

    def _line(self, entry: _Entry) -> bytes:
        """Which caller was given which token, without a part of the token."""
        digest = hashlib.sha256(entry.token.encode()).hexdigest()[:16]
        return f"{self._caller} {digest}".encode()


def calling_process() -> str:
    """The process that has started this one, and when, so that its number alone does not count."""
    parent = os.getppid()
    try:
        # Fields of proc_pid_stat(5); the second one is a name that may have any character.
        fields = Path(f"/proc/{parent}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{parent} {int(fields[19])}"
    except (OSError, ValueError, IndexError):  # other systems have no /proc
        return str(parent)


def _note(lock: Lock) -> _Note | None:
    try:
        return _NOTE.decode(lock.note(MAX_NOTE_BYTES))
    except (ValueError, RecursionError, OSError):
        return None


def _told(problem: Exception) -> str:
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    return str(problem)
