"""A CA and the leaves it signs, ECDSA P-256.

Why P-256: a new connection costs the server 448 µs of CPU, with RSA-2048 810, with RSA-4096 4433
(docs/performance.md). Facts it rests on: Go ignores the common name and wants DNS names as SANs;
RFC 5280 section 4.2 for the extensions.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .pem import CLOCK_SKEW, KeyPair, from_x509, read_private_key


def make_authority(name: str, now: datetime, lifetime: timedelta) -> KeyPair:
    """A new self-signed CA that can sign leaves and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(subject, subject, key.public_key(), now, now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return _pair(builder, key, key)


def issue(authority: KeyPair, hosts: Iterable[str], now: datetime, lifetime: timedelta) -> KeyPair:
    """A leaf for a server with these DNS names and addresses; it expires no later than its CA.

    Raises: BadCertificate, if the key of the authority cannot be read or is another's
    """
    ca = authority.certificate
    ca_key = read_private_key(authority)
    hosts = list(hosts)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(
            subject,
            ca.x509_certificate.subject,
            key.public_key(),
            now,
            min(now + lifetime, ca.not_after),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False
        )
        .add_extension(issuer_key, critical=False)
    )
    return _pair(builder, key, ca_key)


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
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(not_after)
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


def _pair(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
) -> KeyPair:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(from_x509(builder.sign(ca_key, hashes.SHA256())), text)
