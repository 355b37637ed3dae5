"""An authority (CA) and the leaves it signs, ECDSA P-256; it reads and writes PEM bytes and never a
file.

Why P-256: a new connection costs the server 448 µs of CPU, with RSA-2048 810, with RSA-4096 4433
(docs/performance.md). Facts it rests on: Go ignores the common name and wants DNS names as SANs;
RFC 5280 section 4.2 for the extensions.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import BadCertificate

CLOCK_SKEW = timedelta(minutes=5)
"""How far notBefore is set back, for verifiers whose clock is late."""
MAX_PEM_BYTES = 64 << 10
"""Certificates or a key as text, ours has 800 bytes: Go's TLS, which calls us, takes no longer
handshake message either."""


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate with its key, both PEM; of a leaf, the certificate alone, as its CA is in the
    bundle.
    """

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "KeyPair(…)"  # a key never reaches a log or a traceback


def make_authority(name: str, now: datetime, life: timedelta) -> KeyPair:
    """A new self-signed CA that can sign leaves and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(subject, subject, key.public_key(), now, now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return KeyPair(pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def issue(authority: KeyPair, hosts: Iterable[str], now: datetime, life: timedelta) -> KeyPair:
    """A leaf for a server with these DNS names and addresses; never longer than its CA.

    Raises: BadCertificate, where the authority cannot be read or its key is another's
    """
    parent, parent_key = read(authority)
    hosts = list(hosts)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    public = parent_key.public_key()
    builder = (
        _builder(
            subject,
            parent.subject,
            key.public_key(),
            now,
            min(now + life, parent.not_valid_after_utc),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return KeyPair(pem(builder.sign(parent_key, hashes.SHA256())), _key_pem(key))


def read(pair: KeyPair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The first certificate and its key, seen to belong together.

    Raises: BadCertificate, in words that hold nothing of the key
    """
    certificate = read_certificate(pair.certificate)
    with readable("the key must be an unencrypted PEM private key"):
        key = serialization.load_pem_private_key(_bounded(pair.key), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate("the key must be an ECDSA key")
    if key.public_key() != certificate.public_key():
        raise BadCertificate("the key must belong to the certificate, and is another's")
    return certificate, key


def read_certificate(pem: bytes) -> x509.Certificate:
    """The first certificate in a PEM file, every part of it seen to be readable.

    Raises: BadCertificate
    """
    return read_certificates(pem)[0]


@lru_cache(maxsize=16)  # replicas look at the same few every half a minute
def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates in a PEM file, one or more, every part of them seen to be readable.

    Raises: BadCertificate
    """
    with readable("the certificate must be PEM, beginning with -----BEGIN CERTIFICATE-----"):
        found = x509.load_pem_x509_certificates(_bounded(pem))
    for each in found:
        _see(each)
    return tuple(found)


@contextmanager
def readable(must: str) -> Iterator[None]:
    """Whatever reading raises becomes BadCertificate, which says what must be, and nothing of what
    is there.

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


def _see(certificate: x509.Certificate) -> None:
    """Look at what cryptography reads only when it is asked for, so that nothing raises later."""
    with readable(
        "the certificate must be an X.509 certificate that can be read, and a part of it cannot"
    ):
        _ = (
            certificate.version,
            certificate.subject,
            certificate.issuer,
            certificate.public_key(),
            certificate.extensions,
        )
        _ = (
            certificate.not_valid_before_utc + CLOCK_SKEW,
            certificate.not_valid_after_utc,
            certificate.signature_hash_algorithm,
        )


def _bounded(pem: bytes) -> bytes:
    if len(pem) > MAX_PEM_BYTES:
        raise BadCertificate(
            f"certificates and keys must have at most {MAX_PEM_BYTES} bytes; there are {len(pem)}"
        )
    return pem


def signed_by(leaf: bytes, root: bytes) -> bool:
    """Whether the first certificate of `leaf` is signed by this CA; both are PEM, and unreadable
    ones are not.
    """
    try:
        with readable("it must be signed by this CA"):
            read_certificate(leaf).verify_directly_issued_by(read_certificate(root))
    except BadCertificate:
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it says that it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The DNS names and addresses that it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in names if isinstance(each, x509.DNSName | x509.IPAddress)]


def service_hosts(service: str, namespace: str) -> list[str]:
    """The names by which a cluster calls a Service; the API server uses the first."""
    return [
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc.cluster.local",
    ]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
