"""PEM text, read once: what it says, and what is refused and why."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from webhook.errors import BadCertificate
from webhook.pki import authority
from webhook.pki.pem import (
    CLOCK_SKEW,
    KeyPair,
    joined,
    read_certificates,
    read_key_pair,
    read_private_key,
    unique,
)

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ROOT = authority.make_authority("boundtoken", NOW, 30 * DAY)
LEAF = authority.issue(ROOT, ["boundtoken.boundtoken-system.svc", "127.0.0.1", "::1"], NOW, DAY)


def test_a_certificate_says_what_it_is_for_and_how_long() -> None:
    (leaf,) = read_certificates(LEAF.certificate.pem)
    assert leaf == LEAF.certificate
    assert (leaf.not_before, leaf.not_after) == (NOW - CLOCK_SKEW, NOW + DAY)
    assert leaf.hosts == ("boundtoken.boundtoken-system.svc", "127.0.0.1", "::1")
    assert (leaf.is_ca, ROOT.certificate.is_ca, ROOT.certificate.hosts) == (False, True, ())
    assert leaf.fingerprint == leaf.x509_certificate.fingerprint(hashes.SHA256()).hex()


def test_a_certificate_is_valid_from_its_first_moment_to_the_last_before_it_expires() -> None:
    leaf, moment = LEAF.certificate, timedelta(microseconds=1)
    assert not leaf.is_valid(leaf.not_before - moment)
    assert leaf.is_valid(leaf.not_before)
    assert leaf.is_valid(leaf.not_after - moment)
    assert not leaf.is_valid(leaf.not_after)


def test_a_leaf_is_signed_by_its_ca_and_by_no_other_of_the_same_name() -> None:
    other = authority.make_authority("boundtoken", NOW, 30 * DAY)
    assert LEAF.certificate.is_signed_by(ROOT.certificate)
    assert not LEAF.certificate.is_signed_by(other.certificate)
    assert not ROOT.certificate.is_signed_by(LEAF.certificate)


def test_a_chain_is_read_in_its_order_and_what_stands_between_is_left_out() -> None:
    text = b"leaf\n" + LEAF.certificate.pem + LEAF.key + b"ca\n" + ROOT.certificate.pem
    pair = read_key_pair(text, LEAF.key)
    assert pair == KeyPair(LEAF.certificate, LEAF.key, (ROOT.certificate,))
    assert joined(pair.chain) == LEAF.certificate.pem + ROOT.certificate.pem
    assert unique((*pair.chain, *pair.chain)) == pair.chain


def test_a_pair_is_seen_to_belong_together() -> None:
    read_private_key(LEAF)
    with pytest.raises(BadCertificate, match="must belong to the certificate, and is another's"):
        read_private_key(KeyPair(LEAF.certificate, ROOT.key))


ENCRYPTED = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"x"),
)


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"", ROOT.key, "the certificate must be PEM"),
        (ROOT.certificate.pem[:200], ROOT.key, "the certificate must be PEM"),
        (ROOT.certificate.pem, b"", "the key must be an unencrypted PEM private key"),
        (ROOT.certificate.pem, ROOT.key[:60], "the key must be an unencrypted PEM private key"),
        (b"x" * 100_000, ROOT.key, "must have at most 65536 bytes; there are 100000"),
        (ROOT.certificate.pem, b"x" * 100_000, "must have at most 65536 bytes; there are 100000"),
        (ROOT.certificate.pem, ENCRYPTED, "the key must be an unencrypted PEM private key"),
    ],
)
def test_what_cannot_be_read_is_named(certificate: bytes, key: bytes, problem: str) -> None:
    with pytest.raises(BadCertificate, match=problem):
        read_private_key(read_key_pair(certificate, key))


def test_a_key_of_another_kind_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(BadCertificate, match="must be an ECDSA key"):
        read_private_key(KeyPair(ROOT.certificate, key))


def test_a_key_never_shows_in_a_representation() -> None:
    assert repr(ROOT) == "KeyPair(…)"
