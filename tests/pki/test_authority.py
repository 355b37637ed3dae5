"""Certificates as other people's verifiers see them."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from webhook.pki import authority
from webhook.pki.pem import CLOCK_SKEW, KeyPair

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = authority.make_authority("boundtoken", NOW, timedelta(days=30))


def a_leaf(**lifetime: float) -> KeyPair:
    return authority.issue(
        ROOT, ["boundtoken.boundtoken-system.svc", "127.0.0.1", "::1"], NOW, timedelta(**lifetime)
    )


def test_openssl_verifies_a_leaf_for_its_name(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(ROOT.certificate.pem)
    (tmp_path / "tls.crt").write_bytes(a_leaf(days=7).certificate.pem)
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
    leaf = a_leaf(days=365).certificate
    assert leaf.not_after == ROOT.certificate.not_after
    assert leaf.not_before == NOW - CLOCK_SKEW


def test_usages_and_identifiers_are_what_rfc_5280_wants() -> None:
    leaf, other = (a_leaf(days=7).certificate.x509_certificate for _ in range(2))
    root = ROOT.certificate.x509_certificate
    ca = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (ca.critical, ca.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    ski = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert aki.key_identifier == ski.digest
    assert leaf.serial_number != other.serial_number
