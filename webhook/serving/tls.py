"""A TLS context whose certificate is replaced whole or not at all; it never looks at a file or a
clock.

Why a fresh context behind an SNI callback: `load_cert_chain` on a context in use loses the old
certificate when the new one is bad, and the running server cannot shake hands any more (measured on
Python 3.11 with OpenSSL 3.0).
"""

import os
import ssl
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from ..errors import BadCertificate
from ..pki import authority
from ..pki.authority import KeyPair

MAX_CHAIN = 10
"""Certificates in what we serve, the leaf among them: one or two intermediates are usual, OpenSSL
verifies 100, and a chain of 2,000 that somebody put there by mistake breaks every handshake."""


class LiveCertificate:
    """Serves whatever pair was replaced last; connections that are open keep theirs."""

    def __init__(self) -> None:
        self._current: ssl.SSLContext | None = None
        self._chain: tuple[x509.Certificate, ...] = ()
        self.not_after: datetime | None = None
        self.lifetime = timedelta()
        self.pem = b""
        self.context = _context()
        self.context.sni_callback = self._choose

    @property
    def loaded(self) -> bool:
        return self._current is not None

    def replace(self, pair: KeyPair, now: datetime) -> tuple[datetime, str]:
        """Serve this pair from the next handshake on; gives the end of its life, and what callers
        will refuse in it.

        What callers will refuse is taken only where they refuse what is in use as well: serving
        something beats nothing, because the caller's clock may be right where ours is wrong.
        Raises: BadCertificate; the old pair then goes on serving
        """
        chain = authority.read_certificates(pair.certificate)
        objection = refused_by_callers(chain, now)
        if objection and self._current is not None and not refused_by_callers(self._chain, now):
            raise BadCertificate(objection)
        fresh = _context()
        _load(fresh, pair)
        self._current, self._chain = fresh, chain
        self.pem = b"".join(
            authority.pem(each) for each in chain
        )  # a file may hold a key beside it
        self.not_after, self.lifetime = (
            chain[0].not_valid_after_utc,
            chain[0].not_valid_after_utc - chain[0].not_valid_before_utc,
        )
        return self.not_after, objection

    def _choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def refused_by_callers(chain: tuple[x509.Certificate, ...], now: datetime) -> str:
    """Why Go's TLS, with which the API server calls us, would refuse this chain, in words; empty
    where it would not.
    """
    leaf = chain[0]
    if now >= leaf.not_valid_after_utc:
        return f"the certificate must be valid now, and expired at {leaf.not_valid_after_utc.isoformat()}"
    if now < leaf.not_valid_before_utc:
        return f"the certificate must be valid now, and is not before {leaf.not_valid_before_utc.isoformat()}"
    if not authority.hosts_of(leaf):
        kind = "a CA" if authority.is_authority(leaf) else "one"
        return f"the certificate must name a host (subject alternative name), and the first in the file is {kind} that names none"
    if len(chain) > MAX_CHAIN:
        return f"the chain must have at most {MAX_CHAIN} certificates, and has {len(chain)}"
    return ""


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # the API server's webhook client speaks nothing else
    context.num_tickets = 0  # nor does it resume sessions: a ticket is work for nobody
    context.options |= ssl.OP_NO_TICKET
    return context


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Through anonymous memory, because OpenSSL's loader wants a path and a key shall not touch a
    disk.
    """

    def no_password(*_: Any) -> str:
        raise BadCertificate("the key must not be encrypted")

    try:
        held = os.memfd_create("pair", os.MFD_CLOEXEC)
        with open(held, "wb", buffering=0) as file:  # noqa: PTH123
            file.write(pair.certificate.rstrip() + b"\n" + pair.key)
            context.load_cert_chain(f"/proc/self/fd/{held}", password=no_password)
    except ssl.SSLError as problem:
        raise BadCertificate(
            f"the certificate and the key must belong together: {problem.reason}"
        ) from problem
    except OSError as problem:
        raise BadCertificate(f"the certificate cannot be loaded: {problem.strerror}") from problem
