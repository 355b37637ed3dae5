"""A TLS context whose certificate is replaced whole or not at all; it never looks at a file or a clock.

Why a fresh context behind an SNI callback: `load_cert_chain` on a context in use loses the old certificate when the new
one is bad, and the running server cannot shake hands any more (measured on Python 3.11 with OpenSSL 3.0).
"""

import os
import ssl
from datetime import datetime, timedelta
from typing import Any

from ..errors import BadCertificate
from ..pki import authority, bundle
from ..pki.authority import KeyPair


class LiveCertificate:
    """Serves whatever pair was replaced last; connections that are open keep theirs."""

    def __init__(self) -> None:
        self._current: ssl.SSLContext | None = None
        self.not_after: datetime | None = None
        self.life = timedelta()
        self.pem = b""
        self.context = _context()
        self.context.sni_callback = self._choose

    @property
    def loaded(self) -> bool:
        return self._current is not None

    def replace(self, pair: KeyPair) -> datetime:
        """Serve this pair from the next handshake on; gives the end of its life.

        Raises: BadCertificate; the old pair then goes on serving
        """
        held = authority.read_certificate(pair.certificate)
        not_after = held.not_valid_after_utc
        fresh = _context()
        _load(fresh, pair)
        self._current, self.pem = fresh, bundle.joined(pair.certificate)  # a file may hold a key beside it
        self.not_after, self.life = not_after, not_after - held.not_valid_before_utc
        return not_after

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # the API server's webhook client speaks nothing else
    context.num_tickets = 0  # nor does it resume sessions: a ticket is work for nobody
    context.options |= ssl.OP_NO_TICKET
    return context


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Through anonymous memory, because OpenSSL's loader wants a path and a key shall not touch a disk."""
    held = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(held, pair.certificate.rstrip() + b"\n" + pair.key)

        def no_password(*_: Any) -> str:
            raise BadCertificate("the key must not be encrypted")

        context.load_cert_chain(f"/proc/self/fd/{held}", password=no_password)
    except ssl.SSLError as problem:
        raise BadCertificate(f"the certificate and the key must belong together: {problem.reason}") from problem
    finally:
        os.close(held)
