"""A TLS context whose certificate can be replaced, completely or not at all. It reads neither files
nor the clock.

Why an SNI callback that chooses a new context: if `load_cert_chain` on a context in use is given a
bad certificate, the old one is lost, and every handshake fails (measured on Python 3.11 with
OpenSSL 3.0).
"""

import os
import ssl
from datetime import datetime, timedelta
from typing import Any

from ..errors import BadCertificate
from ..pki.pem import Certificates, KeyPair, joined

MAX_CHAIN = 10
"""Certificates that we serve, including the leaf. One or two intermediates are usual, OpenSSL
verifies 100, and a chain of 2,000, put there by mistake, breaks every handshake."""


class LiveCertificate:
    """The certificate that new connections get; open connections keep the one that they have."""

    def __init__(self) -> None:
        self._current: ssl.SSLContext | None = None
        self._chain: Certificates = ()
        self.not_after: datetime | None = None
        self.lifetime = timedelta()
        self.pem = b""
        self.context = _context()
        self.context.sni_callback = self._choose

    @property
    def loaded(self) -> bool:
        return self._current is not None

    def replace(self, pair: KeyPair, now: datetime) -> tuple[datetime, str]:
        """Serve this pair from the next handshake on. Returns its end, and why callers will refuse
        it, or an empty string.

        A pair that callers will refuse is taken only if they refuse the present one too, or if
        there is none: our clock may be wrong, and then the callers accept it after all.

        Raises: BadCertificate; the previous pair then stays in use
        """
        certificate, chain = pair.certificate, pair.chain
        objection = refused_by_callers(chain, now)
        if objection and self._current is not None and not refused_by_callers(self._chain, now):
            raise BadCertificate(objection)
        fresh = _context()
        _load(fresh, pair)
        self._current, self._chain = fresh, chain
        self.pem = joined(chain)
        self.not_after = certificate.not_after
        self.lifetime = certificate.not_after - certificate.not_before
        return certificate.not_after, objection

    def _choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def refused_by_callers(chain: Certificates, now: datetime) -> str:
    """Why the API server's TLS client (Go's) would refuse this chain; empty if it would accept
    it.
    """
    leaf = chain[0]
    if now >= leaf.not_after:
        return f"the certificate must be valid now, and expired at {leaf.not_after.isoformat()}"
    if now < leaf.not_before:
        return f"the certificate must be valid now, and is not before {leaf.not_before.isoformat()}"
    if not leaf.hosts:
        kind = "a CA" if leaf.is_ca else "one"
        return f"the certificate must name a host (subject alternative name), and the first in the file is {kind} that names none"
    if len(chain) > MAX_CHAIN:
        return f"the chain must have at most {MAX_CHAIN} certificates, and has {len(chain)}"
    return ""


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # the API server's webhook client speaks nothing else
    context.num_tickets = 0  # nor does it resume sessions, so tickets would never be used
    context.options |= ssl.OP_NO_TICKET
    return context


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Load the pair into the context through anonymous memory: OpenSSL's loader needs a path, and a
    key must not be written to a disk.
    """

    def no_password(*_: Any) -> str:
        raise BadCertificate("the key must not be encrypted")

    try:
        descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123
            file.write(joined(pair.chain) + pair.key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=no_password)
    except ssl.SSLError as problem:
        raise BadCertificate(
            f"the certificate and the key must belong together: {problem.reason}"
        ) from problem
    except OSError as problem:
        raise BadCertificate(f"the certificate cannot be loaded: {problem.strerror}") from problem
