"""The certificate that is served, and what every source of certificates offers."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from .. import metrics
from ..log import Log
from ..pki.pem import KeyPair
from .process import Loop
from .tls import LiveCertificate


class CertificateSource(Protocol):
    """Makes or reads certificates, and hands each to `ServedCertificate.use`."""

    @property
    def is_trusted(self) -> bool:
        """Whether callers trust the certificate, as far as the source can know."""
        ...

    def loops(self) -> list[Loop]:
        """The loops that the service must run."""
        ...


class ServedCertificate:
    """The certificate in use. `now` gives the time by which it is valid or not."""

    def __init__(self, now: Callable[[], datetime], log: Log) -> None:
        self.live = LiveCertificate()
        self.now = now
        self._log = log

    def use(self, pair: KeyPair) -> None:
        """Serve this pair from the next handshake on.

        Raises: BadCertificate; the previous pair then stays in use
        """
        not_after, objection = self.live.replace(pair, self.now())
        metrics.CERTIFICATE_NOT_BEFORE.labels("leaf").set(pair.certificate.not_before.timestamp())
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
