"""The certificate that is served: put in use, followed in its files, and shouted about before it
ends.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .. import metrics
from ..errors import BadCertificate
from ..log import Log
from ..pki.authority import MAX_PEM_BYTES, KeyPair
from . import files
from .files import Unreadable
from .tls import LiveCertificate

EXPIRY_WARNING = timedelta(days=1)
"""What is left of a leaf that should have been renewed long ago: both we and cert-manager renew
after two thirds."""
EXPIRY_WARNING_SECONDS = 3600.0


class Certificates:
    """Looks after one live certificate. `now` gives the time by which certificates are judged."""

    def __init__(self, log: Log, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.live = LiveCertificate()
        self.now = now
        self._log = log

    def use(self, pair: KeyPair) -> None:
        """Serve this pair from the next handshake on.

        Raises: BadCertificate; the old pair then goes on serving
        """
        not_after, objection = self.live.replace(pair, self.now())
        metrics.CERTIFICATE_NOT_AFTER.labels("leaf").set(not_after.timestamp())
        metrics.CERTIFICATE_ROTATIONS.labels("leaf", "used").inc()
        if objection:
            self._log.error(
                "certificate in use that callers will refuse",
                not_after=not_after.isoformat(),
                problem=objection,
            )
        else:
            self._log.info("certificate in use", not_after=not_after.isoformat())

    async def follow(self, certificate: Path, key: Path) -> None:
        """Serve what these files hold, for ever. What is refused is told once, and tried again: a
        clock may make it good.
        """
        used, refused = None, None
        while True:
            contents = await asyncio.to_thread(files.read, [certificate, key], MAX_PEM_BYTES)
            if contents != used:
                problem = self._try(contents[certificate], contents[key])
                if problem and refused != (contents, problem):
                    self._tell_refused(certificate, problem)
                used, refused = (None, (contents, problem)) if problem else (contents, None)
            await asyncio.sleep(files.EVERY_SECONDS)

    def _try(self, certificate: bytes | Unreadable, key: bytes | Unreadable) -> str:
        """Why the pair is not used, empty where it is."""
        if isinstance(certificate, Unreadable) or isinstance(key, Unreadable):
            return "the files must be readable, and one is not"
        try:
            self.use(KeyPair(certificate, key))
        except BadCertificate as problem:
            return str(problem)
        return ""

    def _tell_refused(self, certificate: Path, problem: str) -> None:
        metrics.CERTIFICATE_ROTATIONS.labels("leaf", "refused").inc()
        said = "the old one goes on serving" if self.live.loaded else "nothing can be served yet"
        self._log.error(
            f"certificate refused, {said}", certificate=str(certificate), problem=problem
        )

    async def warn_before_expiry(self) -> None:
        """A certificate that nobody renews goes on serving; so that somebody hears of it, once an
        hour.
        """
        while True:
            not_after = self.live.not_after
            left = not_after - self.now() if not_after is not None else EXPIRY_WARNING
            if not_after is not None and left < min(EXPIRY_WARNING, self.live.life / 4):
                metrics.CERTIFICATE_ROTATIONS.labels("leaf", "overdue").inc()
                self._log.error(
                    "certificate is about to expire and was not renewed",
                    not_after=not_after.isoformat(),
                )
                await asyncio.sleep(EXPIRY_WARNING_SECONDS)
            await asyncio.sleep(1)
