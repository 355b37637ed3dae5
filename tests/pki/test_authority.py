"""Certificates as other people's verifiers see them."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from webhook.errors import BadCertificate
from webhook.pki import authority
from webhook.pki.authority import KeyPair

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = authority.make_authority("boundtoken", NOW, timedelta(days=30))


def a_leaf(**life: float) -> KeyPair:
    return authority.issue(
        ROOT, ["boundtoken.boundtoken-system.svc", "127.0.0.1", "::1"], NOW, timedelta(**life)
    )


def test_openssl_verifies_a_leaf_for_its_name(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(ROOT.certificate)
    (tmp_path / "tls.crt").write_bytes(a_leaf(days=7).certificate)
    for name, want in (("boundtoken.boundtoken-system.svc", 0), ("boundtoken.other.svc", 2)):
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            name,
        ]
        command += ["-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "tls.crt")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == want


def test_a_leaf_never_outlives_its_authority_and_begins_early() -> None:
    leaf, root = (authority.read_certificate(each.certificate) for each in (a_leaf(days=365), ROOT))
    assert leaf.not_valid_after_utc == root.not_valid_after_utc
    assert leaf.not_valid_before_utc == NOW - authority.CLOCK_SKEW


def test_usages_and_identifiers_are_what_rfc_5280_wants() -> None:
    leaf, root = (authority.read_certificate(each.certificate) for each in (a_leaf(days=7), ROOT))
    ca = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (ca.critical, ca.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    ski = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == ski.digest
    assert (
        leaf.serial_number != authority.read_certificate(a_leaf(days=7).certificate).serial_number
    )
    assert authority.hosts_of(leaf) == ["boundtoken.boundtoken-system.svc", "127.0.0.1", "::1"]


def test_a_pair_is_seen_to_belong_together() -> None:
    one, other = a_leaf(days=7), a_leaf(days=7)
    authority.read(one)
    with pytest.raises(BadCertificate, match="must belong to the certificate, and is another's"):
        authority.read(KeyPair(one.certificate, other.key))


ENCRYPTED = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"x"),
)


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"", ROOT.key, "the certificate must be PEM"),
        (ROOT.certificate[:200], ROOT.key, "the certificate must be PEM"),
        (ROOT.certificate, b"", "the key must be an unencrypted PEM private key"),
        (ROOT.certificate, ROOT.key[:60], "the key must be an unencrypted PEM private key"),
        (b"x" * 100_000, ROOT.key, "must have at most 65536 bytes; there are 100000"),
        (ROOT.certificate, b"x" * 100_000, "must have at most 65536 bytes; there are 100000"),
        (ROOT.certificate, ENCRYPTED, "the key must be an unencrypted PEM private key"),
    ],
)
def test_what_cannot_be_read_is_named(certificate: bytes, key: bytes, problem: str) -> None:
    with pytest.raises(BadCertificate, match=problem):
        authority.read(KeyPair(certificate, key))


def test_a_key_of_another_kind_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(BadCertificate, match="must be an ECDSA key"):
        authority.read(KeyPair(ROOT.certificate, key))


def test_a_key_never_shows_in_a_representation() -> None:
    assert repr(ROOT) == "KeyPair(…)"
