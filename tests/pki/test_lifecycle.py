"""The rules of certificates, with time as an argument, and the CAs in a Secret."""

import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization

from webhook.errors import BadCertificate
from webhook.pki import authority, ca_secret, lifecycle
from webhook.pki.ca_secret import CertificateAuthorities
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.pem import CLOCK_SKEW, KeyPair

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIFETIMES = Lifetimes()


def a_ca(
    age: timedelta = timedelta(),
    lifetime: timedelta = LIFETIMES.ca,
    name: str = ca_secret.COMMON_NAME,
) -> KeyPair:
    return authority.make_authority(name, NOW - age, lifetime)


@pytest.mark.parametrize(
    ("authorities", "published", "step"),
    [
        pytest.param(None, True, "create", id="nothing"),
        pytest.param(CertificateAuthorities(a_ca()), True, "keep", id="fresh"),
        pytest.param(CertificateAuthorities(a_ca(243 * DAY)), True, "keep", id="before two thirds"),
        pytest.param(CertificateAuthorities(a_ca(244 * DAY)), True, "prepare", id="two thirds"),
        pytest.param(CertificateAuthorities(a_ca(366 * DAY)), True, "create", id="expired"),
        pytest.param(CertificateAuthorities(a_ca(-DAY)), True, "create", id="not yet valid"),
        pytest.param(
            CertificateAuthorities(a_ca(lifetime=13 * DAY)),
            True,
            "prepare",
            id="too short for its leaves",
        ),
        pytest.param(
            CertificateAuthorities(a_ca(), a_ca()), False, "keep", id="the next one not seen yet"
        ),
        pytest.param(
            CertificateAuthorities(a_ca(), a_ca()), True, "promote", id="the next one seen"
        ),
        pytest.param(
            CertificateAuthorities(a_ca(), a_ca(300 * DAY)), True, "prepare", id="the next one aged"
        ),
        pytest.param(
            CertificateAuthorities(a_ca(), old=(a_ca().certificate,), retire_at=NOW),
            True,
            "retire",
            id="the old one is over",
        ),
        pytest.param(
            CertificateAuthorities(a_ca(), old=(a_ca().certificate,), retire_at=NOW + DAY),
            True,
            "keep",
            id="the old one is needed",
        ),
        pytest.param(
            CertificateAuthorities(a_ca(), a_ca(), (a_ca().certificate,), NOW),
            True,
            "promote",
            id="a rotation first",
        ),
    ],
)
def test_the_step_that_is_due(
    authorities: CertificateAuthorities | None, published: bool, step: str
) -> None:
    assert lifecycle.next_step(authorities, NOW, LIFETIMES, published=published)[0] == step


def test_a_rotation_trusts_both_until_every_leaf_of_the_old_one_has_expired() -> None:
    before = CertificateAuthorities(a_ca(244 * DAY))
    prepared = lifecycle.apply_step("prepare", before, NOW, LIFETIMES)
    assert prepared.current == before.current
    assert len(prepared.trusted()) == 2
    promoted = lifecycle.apply_step("promote", prepared, NOW, LIFETIMES)
    assert promoted.current == prepared.next
    assert before.current.certificate in promoted.trusted()
    assert (
        lifecycle.next_step(promoted, NOW + LIFETIMES.leaf, LIFETIMES, published=True)[0] == "keep"
    )
    over = NOW + LIFETIMES.leaf + CLOCK_SKEW
    assert lifecycle.next_step(promoted, over, LIFETIMES, published=True)[0] == "retire"
    retired = lifecycle.apply_step("retire", promoted, over, LIFETIMES)
    assert retired.trusted() == (promoted.current.certificate,)


def test_a_new_beginning_keeps_trusting_what_is_published_and_valid() -> None:
    valid, expired = a_ca().certificate, a_ca(400 * DAY).certificate
    created = lifecycle.apply_step("create", None, NOW, LIFETIMES, (valid, expired))
    assert created.trusted() == (created.current.certificate, valid)


def test_a_leaf_expires_before_its_ca_and_is_renewed_at_two_thirds() -> None:
    authorities = CertificateAuthorities(a_ca())
    leaf = authority.issue(authorities.current, ["a"], NOW, LIFETIMES.leaf)
    assert lifecycle.renewal_reason(leaf, authorities.current, ["a"], NOW) == ""
    assert (
        lifecycle.renewal_reason(leaf, authorities.current, ["a"], NOW + LIFETIMES.leaf * 0.66)
        == ""
    )
    assert "67%" in lifecycle.renewal_reason(
        leaf, authorities.current, ["a"], NOW + LIFETIMES.leaf * 0.67
    )
    assert (
        lifecycle.renewal_reason(leaf, authorities.current, ["a", "b"], NOW)
        == "it lacks a host name"
    )
    assert lifecycle.renewal_reason(leaf, a_ca(), ["a"], NOW) == "it is signed by another CA"
    assert (
        lifecycle.renewal_reason(leaf, authorities.current, ["a"], NOW - DAY)
        == "it is not valid now"
    )
    assert lifecycle.renewal_reason(None, authorities.current, ["a"], NOW) == "there is no leaf yet"


def test_the_cas_survive_the_secret() -> None:
    authorities = CertificateAuthorities(a_ca(), a_ca(), (a_ca().certificate,), NOW)
    assert ca_secret.from_data(ca_secret.to_data(authorities)) == authorities
    assert ca_secret.from_data(
        ca_secret.to_data(CertificateAuthorities(authorities.current))
    ) == CertificateAuthorities(authorities.current)


MINE, OTHER = a_ca(), a_ca()


def secret_data(certificate: bytes, key: bytes) -> dict[str, str]:
    return {
        name: base64.b64encode(text).decode()
        for name, text in (("ca.crt", certificate), ("ca.key", key))
    }


def corrupted_ca(old: bytes, new: bytes) -> dict[str, str]:
    """A CA with bytes of its DER replaced, once."""
    der = MINE.certificate.x509_certificate.public_bytes(serialization.Encoding.DER)
    assert old in der
    pem = ssl.DER_cert_to_PEM_cert(der.replace(old, new, 1)).encode()
    return secret_data(pem, MINE.key)


POINT = MINE.certificate.x509_certificate.public_key().public_bytes(
    serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
)
VERSION = b"\xa0\x03\x02\x01\x02"
SUBJECT_KEY_IDENTIFIER, KEY_USAGE = b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x0f"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param({}, "no CA yet", id="empty"),
        pytest.param({"ca.crt": "!!"}, "base64", id="garbage"),
        pytest.param(secret_data(b"x", b"y"), "PEM", id="no PEM"),
        pytest.param(
            secret_data(MINE.certificate.pem, OTHER.key),
            "another's",
            id="another key",
        ),
        pytest.param(
            ca_secret.to_data(CertificateAuthorities(a_ca(name="evil"))),
            "one of ours",
            id="somebody else's CA",
        ),
        pytest.param(
            ca_secret.to_data(
                CertificateAuthorities(authority.issue(MINE, [ca_secret.COMMON_NAME], NOW, DAY))
            ),
            "CA must be",
            id="a leaf for a CA",
        ),
        pytest.param(
            corrupted_ca(POINT, POINT[:-1] + bytes([POINT[-1] ^ 1])),
            "a part of it cannot",
            id="a bit of the public key",
        ),
        pytest.param(
            corrupted_ca(VERSION, VERSION[:-1] + b"\x07"),
            "certificate must be",
            id="a version that does not exist",
        ),
        pytest.param(
            corrupted_ca(KEY_USAGE, SUBJECT_KEY_IDENTIFIER),
            "a part of it cannot",
            id="an extension twice",
        ),
        pytest.param(
            corrupted_ca(b"boundtoken", b"boundtokem"), "was changed since", id="another issuer"
        ),
        pytest.param(
            corrupted_ca(b"\x03\x02\x01\x06", b"\x03\x02\x01\x02"),
            "was changed since",
            id="one that may not sign any more",
        ),
        pytest.param({"ca.crt": "é" * 8}, "ca.crt must be base64", id="no ASCII"),
        pytest.param({"ca.crt": "\ud800"}, "ca.crt must be base64", id="half a character"),
        pytest.param(
            {"ca.crt": "A" * 100_000},
            "at most 87381 characters of base64; it has 100000",
            id="too long",
        ),
    ],
)
def test_what_cannot_sign_is_refused_in_words_that_hold_no_key(
    data: dict[str, str], problem: str
) -> None:
    with pytest.raises(BadCertificate, match=problem) as caught:
        ca_secret.from_data(data)
    assert "PRIVATE" not in str(caught.value)


def test_a_next_ca_that_cannot_be_read_is_left_out() -> None:
    data = ca_secret.to_data(CertificateAuthorities(MINE, OTHER))
    assert ca_secret.from_data(
        {**data, "next.key": ca_secret.to_data(CertificateAuthorities(MINE))["ca.key"]}
    ) == CertificateAuthorities(MINE)
    assert ca_secret.from_data({**data, "old.crt": data["next.crt"]}) == CertificateAuthorities(
        MINE, OTHER
    )


@pytest.mark.parametrize(
    "retire_at",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "soon",
        "",
        "\x00",
        "é",
        "2026-01-01" * 20_000,
    ],
)
def test_a_time_that_cannot_be_read_leaves_the_old_ca_out_and_no_more(retire_at: str) -> None:
    data = ca_secret.to_data(CertificateAuthorities(MINE, OTHER, (OTHER.certificate,), NOW))
    corrupted = {**data, "retire-at": base64.b64encode(retire_at.encode()).decode()}
    assert ca_secret.from_data(corrupted) == CertificateAuthorities(MINE, OTHER)


def test_what_somebody_put_beside_the_authorities_is_not_read() -> None:
    assert ca_secret.from_data(
        {**ca_secret.to_data(CertificateAuthorities(MINE)), "note": "!!", "next.crt": "!!"}
    ) == CertificateAuthorities(MINE)
