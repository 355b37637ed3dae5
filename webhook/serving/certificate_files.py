"""Certificates that somebody else looks after, such as cert-manager: read from files, and read
again when these change.
"""

import asyncio
from pathlib import Path

from .. import metrics
from ..errors import BadCertificate
from ..log import Log
from ..pki.pem import MAX_PEM_BYTES, read_key_pair
from . import files
from .certificates import ServedCertificate
from .files import Unreadable
from .process import Loop


class CertificateFiles:
    """A certificate chain and its key in two files."""

    is_trusted = True  # as far as we know: others write the caBundle

    def __init__(self, certificate: Path, key: Path, served: ServedCertificate, log: Log) -> None:
        self._certificate, self._key = certificate, key
        self._served = served
        self._log = log

    def loops(self) -> list[Loop]:
        return [self._follow]

    async def _follow(self) -> None:
        """Serve the pair in the files, for ever. A refused pair is logged once and tried again each
        second, because it may become valid later.
        """
        paths = [self._certificate, self._key]
        used, refused = None, None
        while True:
            contents = await asyncio.to_thread(files.read, paths, MAX_PEM_BYTES)
            if contents != used:
                problem = self._use(contents[self._certificate], contents[self._key])
                if problem and refused != (contents, problem):
                    self._log_refusal(problem)
                used, refused = (None, (contents, problem)) if problem else (contents, None)
            await asyncio.sleep(files.EVERY_SECONDS)

    def _use(self, certificate: bytes | Unreadable, key: bytes | Unreadable) -> str:
        """Use the pair; returns why that is not possible, or an empty string."""
        if isinstance(certificate, Unreadable) or isinstance(key, Unreadable):
            return "the files must be readable, and one is not"
        try:
            self._served.use(read_key_pair(certificate, key))
        except BadCertificate as problem:
            return str(problem)
        return ""

    def _log_refusal(self, problem: str) -> None:
        metrics.CERTIFICATE_ROTATIONS.labels("leaf", "refused").inc()
        loaded = self._served.live.loaded
        consequence = "keeping the previous one" if loaded else "nothing can be served yet"
        self._log.error(
            f"certificate rejected, {consequence}",
            certificate=str(self._certificate),
            problem=problem,
        )
