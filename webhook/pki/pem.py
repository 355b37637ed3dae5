"""Certificates as values. PEM text is read once, where it comes in: every part of a certificate is
looked at then, so that no question about it can fail later.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import BadCertificate

CLOCK_SKEW = timedelta(minutes=5)
"""How far notBefore of our certificates is set back, for verifiers whose clock is late."""
MAX_PEM_BYTES = 64 << 10
"""Of certificates or a key as text. Ours have 800; Go's TLS, which calls us, accepts no longer
handshake message either."""


class Certificate(msgspec.Struct, frozen=True):
    """An X.509 certificate, every part of which could be read."""

    x509_certificate: x509.Certificate
    pem: bytes
    not_before: datetime
    not_after: datetime
    fingerprint: str
    """SHA-256, in hexadecimal digits."""
    hosts: tuple[str, ...]
    """The DNS names and addresses that it is for."""
    is_ca: bool
    """Whether it says that it may sign others."""

    def is_valid(self, now: datetime) -> bool:
        """Whether its validity has begun and has not expired."""
        return self.not_before <= now < self.not_after

    def is_signed_by(self, ca: "Certificate") -> bool:
        """Whether this CA has signed it."""
        try:
            self.x509_certificate.verify_directly_issued_by(ca.x509_certificate)
        except Exception:  # noqa: BLE001  (whatever verifying raises, it is not verified; see readable)
            return False
        return True


Certificates = tuple[Certificate, ...]


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate with its key in PEM. `intermediates` are the certificates that follow it in
    the same text; a leaf of ours has none, because its CA is in the caBundle.
    """

    certificate: Certificate
    key: bytes
    intermediates: Certificates = ()

    @property
    def chain(self) -> Certificates:
        """The certificate and what follows it."""
        return (self.certificate, *self.intermediates)

    def __repr__(self) -> str:
        return "KeyPair(…)"  # a key never reaches a log or a traceback


@lru_cache(maxsize=16)  # a replica receives the same few texts at least every half a minute
def read_certificates(pem: bytes) -> Certificates:
    """All certificates in PEM text, one or more.

    Raises: BadCertificate, if one of them or a part of it cannot be read
    """
    with readable("the certificate must be PEM, beginning with -----BEGIN CERTIFICATE-----"):
        certificates = x509.load_pem_x509_certificates(_bounded(pem))
    return tuple(from_x509(certificate) for certificate in certificates)


def from_x509(certificate: x509.Certificate) -> Certificate:
    """The value of a certificate.

    Raises: BadCertificate, if a part of it cannot be read: cryptography reads most parts only when
    they are asked for
    """
    with readable(
        "the certificate must be an X.509 certificate that can be read, and a part of it cannot"
    ):
        # Read, and not kept: the parts that signing and verifying ask for.
        _ = (
            certificate.version,
            certificate.subject,
            certificate.issuer,
            certificate.public_key(),
            certificate.signature_hash_algorithm,
            certificate.not_valid_before_utc + CLOCK_SKEW,
        )
        return Certificate(
            certificate,
            certificate.public_bytes(serialization.Encoding.PEM),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            certificate.fingerprint(hashes.SHA256()).hex(),
            _hosts(certificate.extensions),
            _is_ca(certificate.extensions),
        )


def read_key_pair(certificates: bytes, key: bytes) -> KeyPair:
    """The pair of two PEM texts; the key is not looked at.

    Raises: BadCertificate
    """
    certificate, *intermediates = read_certificates(certificates)
    return KeyPair(certificate, key, tuple(intermediates))


def read_private_key(pair: KeyPair) -> ec.EllipticCurvePrivateKey:
    """The key of a pair, which belongs to its certificate.

    Raises: BadCertificate, with a text that holds nothing of the key
    """
    with readable("the key must be an unencrypted PEM private key"):
        key = serialization.load_pem_private_key(_bounded(pair.key), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate("the key must be an ECDSA key")
    if key.public_key() != pair.certificate.x509_certificate.public_key():
        raise BadCertificate("the key must belong to the certificate, and is another's")
    return key


def unique(certificates: Iterable[Certificate]) -> Certificates:
    """The certificates in their order, each once."""
    return tuple(dict.fromkeys(certificates))


def joined(certificates: Iterable[Certificate]) -> bytes:
    """The certificates as one PEM text."""
    return b"".join(certificate.pem for certificate in certificates)


@contextmanager
def readable(must: str) -> Iterator[None]:
    """Turn whatever reading raises into BadCertificate, whose text says what must be, and nothing
    of what is there.

    Why whatever: cryptography raises ValueError, TypeError, InvalidVersion, DuplicateExtension,
    UnsupportedAlgorithm, OverflowError and more, each release its own, and an exception that nobody
    catches ends every replica at once.
    """
    try:
        yield
    except BadCertificate:
        raise
    except Exception as problem:
        raise BadCertificate(must) from problem


def _bounded(pem: bytes) -> bytes:
    if len(pem) > MAX_PEM_BYTES:
        raise BadCertificate(
            f"certificates and keys must have at most {MAX_PEM_BYTES} bytes; there are {len(pem)}"
        )
    return pem


def _hosts(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)
    )


def _is_ca(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
