"""Keeps the token in a folder fresh."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ...core.claims import claims_of
from ...errors import BoundtokenError
from ..errors import FolderGone
from ..requested import TokenRequestSource
from .volume import TokenFolder

POLL_SECONDS = 5.0
"""Between two looks at the source, which renews a token of 600 s 120 s before it expires."""
READING_SECONDS = 1.0
"""That a reader may take from `..data` to the file: the version before is removed afterwards."""


class Change(NamedTuple):
    """A new token is in the folder; it expires by the API server's clock."""

    token_of: str
    folder: str
    audiences: tuple[str, ...]
    expires_at: datetime


class Upkeep:
    """Writes the token of `source`, and the files that `beside` gives, into `folder`.

    It ends when `stop` is set. `changed` is called after each change. `failed` is called with a
    text for people when a round fails, once for the same text; the old token stays, and the next
    round is POLL_SECONDS later.
    """

    def __init__(
        self,
        folder: TokenFolder,
        source: TokenRequestSource,
        beside: Callable[[], Mapping[str, bytes]],
        stop: threading.Event,
        *,
        changed: Callable[[Change], None],
        failed: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._source = source
        self._beside = beside
        self._stop = stop
        self.is_asking = False
        """Whether it waits for the API server; after `stop` it writes nothing more."""
        self._changed = changed
        self._failed = failed
        self._failure = ""
        self._tidy_at = 0.0

    def update(self) -> None:
        """One round.

        Raises: NoToken, FolderError, Unauthenticated
        """
        self.is_asking = True
        try:
            token = self._source.get()
        finally:
            self.is_asking = False
        if self._stop.is_set():
            return
        if self._folder.write({"token": token.encode(), **self._beside()}):
            self._tidy_at = time.monotonic() + READING_SECONDS
            claims = claims_of(token)
            self._changed(
                Change(
                    str(self._source.request),
                    str(self._folder.path),
                    claims.audiences,
                    _time(claims.expires_at),
                )
            )

    def finish(self) -> None:
        """Remove the version before, once no reader is in it any more.

        Raises: FolderError
        """
        if not self._folder.is_tidy:
            time.sleep(max(self._tidy_at - time.monotonic(), 0.0))
            self._folder.tidy()

    def run(self) -> None:
        """Rounds until it is stopped; the first one has been made.

        Raises: FolderGone
        """
        while True:
            try:
                self.finish()
                if self._stop.wait(POLL_SECONDS):
                    return
                self.update()
            except FolderGone:
                raise
            except BoundtokenError as problem:
                if str(problem) != self._failure:
                    self._failed(str(problem))
                self._failure = str(problem)
            else:
                self._failure = ""


def _time(seconds: float | None) -> datetime:
    """The last one that there is, for a token that lives longer."""
    try:
        return datetime.fromtimestamp(seconds or 0, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)
