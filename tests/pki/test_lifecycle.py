"""The rules of certificates, with time as an argument, and the bundle that they are about."""

import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization

from webhook.errors import BadCertificate
from webhook.pki import authority, bundle, lifecycle
from webhook.pki.bundle import Bundle
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.pem import CLOCK_SKEW, KeyPair

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIVES = Lifetimes()


def a_ca(
    age: timedelta = timedelta(), life: timedelta = LIVES.ca, name: str = bundle.NAME
) -> KeyPair:
    return authority.make_authority(name, NOW - age, life)


@pytest.mark.parametrize(
    ("held", "published", "step"),
    [
        pytest.param(None, True, "create", id="nothing"),
        pytest.param(Bundle(a_ca()), True, "keep", id="fresh"),
        pytest.param(Bundle(a_ca(243 * DAY)), True, "keep", id="before two thirds"),
        pytest.param(Bundle(a_ca(244 * DAY)), True, "prepare", id="two thirds"),
        pytest.param(Bundle(a_ca(366 * DAY)), True, "create", id="expired"),
        pytest.param(Bundle(a_ca(-DAY)), True, "create", id="not yet valid"),
        pytest.param(Bundle(a_ca(life=13 * DAY)), True, "prepare", id="too short for its leaves"),
        pytest.param(Bundle(a_ca(), a_ca()), False, "keep", id="the next one not seen yet"),
        pytest.param(Bundle(a_ca(), a_ca()), True, "promote", id="the next one seen"),
        pytest.param(Bundle(a_ca(), a_ca(300 * DAY)), True, "prepare", id="the next one aged"),
        pytest.param(
            Bundle(a_ca(), old=(a_ca().certificate,), retire_at=NOW),
            True,
            "retire",
            id="the old one is over",
        ),
        pytest.param(
            Bundle(a_ca(), old=(a_ca().certificate,), retire_at=NOW + DAY),
            True,
            "keep",
            id="the old one is needed",
        ),
        pytest.param(
            Bundle(a_ca(), a_ca(), (a_ca().certificate,), NOW),
            True,
            "promote",
            id="a rotation first",
        ),
    ],
)
def test_the_step_that_is_due(held: Bundle | None, published: bool, step: str) -> None:
    assert lifecycle.next_step(held, NOW, LIVES, published=published)[0] == step


def test_a_hand_over_trusts_both_until_no_leaf_of_the_old_one_can_be_alive() -> None:
    before = Bundle(a_ca(244 * DAY))
    prepared = lifecycle.apply_step("prepare", before, NOW, LIVES)
    assert prepared.current == before.current
    assert len(prepared.trusted()) == 2
    promoted = lifecycle.apply_step("promote", prepared, NOW, LIVES)
    assert promoted.current == prepared.next
    assert before.current.certificate in promoted.trusted()
    assert lifecycle.next_step(promoted, NOW + LIVES.leaf, LIVES, published=True)[0] == "keep"
    over = NOW + LIVES.leaf + CLOCK_SKEW
    assert lifecycle.next_step(promoted, over, LIVES, published=True)[0] == "retire"
    retired = lifecycle.apply_step("retire", promoted, over, LIVES)
    assert retired.trusted() == (promoted.current.certificate,)


def test_a_new_beginning_keeps_trusting_what_is_published_and_alive() -> None:
    valid, expired = a_ca().certificate, a_ca(400 * DAY).certificate
    created = lifecycle.apply_step("create", None, NOW, LIVES, (valid, expired))
    assert created.trusted() == (created.current.certificate, valid)


def test_every_leaf_ends_before_its_ca_and_is_renewed_at_two_thirds() -> None:
    held = Bundle(a_ca())
    leaf = authority.issue(held.current, ["a"], NOW, LIVES.leaf)
    assert lifecycle.renewal_reason(leaf, held.current, ["a"], NOW) == ""
    assert lifecycle.renewal_reason(leaf, held.current, ["a"], NOW + LIVES.leaf * 0.66) == ""
    assert "67%" in lifecycle.renewal_reason(leaf, held.current, ["a"], NOW + LIVES.leaf * 0.67)
    assert lifecycle.renewal_reason(leaf, held.current, ["a", "b"], NOW) == "it lacks a name"
    assert lifecycle.renewal_reason(leaf, a_ca(), ["a"], NOW) == "it is of another CA"
    assert lifecycle.renewal_reason(leaf, held.current, ["a"], NOW - DAY) == "it is not valid now"
    assert lifecycle.renewal_reason(None, held.current, ["a"], NOW) == "there is no leaf yet"


def test_a_bundle_survives_the_secret() -> None:
    held = Bundle(a_ca(), a_ca(), (a_ca().certificate,), NOW)
    assert bundle.from_data(bundle.to_data(held)) == held
    assert bundle.from_data(bundle.to_data(Bundle(held.current))) == Bundle(held.current)


MINE, OTHER = a_ca(), a_ca()


def secret_data(certificate: bytes, key: bytes) -> dict[str, str]:
    return {
        name: base64.b64encode(text).decode()
        for name, text in (("ca.crt", certificate), ("ca.key", key))
    }


def spoilt_ca(old: bytes, new: bytes) -> dict[str, str]:
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
    ("data", "said"),
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
            bundle.to_data(Bundle(a_ca(name="evil"))), "one of ours", id="somebody else's CA"
        ),
        pytest.param(
            bundle.to_data(Bundle(authority.issue(MINE, [bundle.NAME], NOW, DAY))),
            "CA must be",
            id="a leaf for a CA",
        ),
        pytest.param(
            spoilt_ca(POINT, POINT[:-1] + bytes([POINT[-1] ^ 1])),
            "a part of it cannot",
            id="a bit of the public key",
        ),
        pytest.param(
            spoilt_ca(VERSION, VERSION[:-1] + b"\x07"),
            "certificate must be",
            id="a version that does not exist",
        ),
        pytest.param(
            spoilt_ca(KEY_USAGE, SUBJECT_KEY_IDENTIFIER),
            "a part of it cannot",
            id="an extension twice",
        ),
        pytest.param(
            spoilt_ca(b"boundtoken", b"boundtokem"), "was changed since", id="another issuer"
        ),
        pytest.param(
            spoilt_ca(b"\x03\x02\x01\x06", b"\x03\x02\x01\x02"),
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
def test_what_cannot_sign_is_told_in_words_that_hold_no_key(
    data: dict[str, str], said: str
) -> None:
    with pytest.raises(BadCertificate, match=said) as problem:
        bundle.from_data(data)
    assert "PRIVATE" not in str(problem.value)


def test_a_next_ca_that_cannot_be_read_is_left_out() -> None:
    data = bundle.to_data(Bundle(MINE, OTHER))
    assert bundle.from_data({**data, "next.key": bundle.to_data(Bundle(MINE))["ca.key"]}) == Bundle(
        MINE
    )
    assert bundle.from_data({**data, "old.crt": data["next.crt"]}) == Bundle(MINE, OTHER)


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
    data = bundle.to_data(Bundle(MINE, OTHER, (OTHER.certificate,), NOW))
    spoilt = {**data, "retire-at": base64.b64encode(retire_at.encode()).decode()}
    assert bundle.from_data(spoilt) == Bundle(MINE, OTHER)


def test_what_somebody_put_beside_the_authorities_is_not_looked_at() -> None:
    assert bundle.from_data(
        {**bundle.to_data(Bundle(MINE)), "note": "!!", "next.crt": "!!"}
    ) == Bundle(MINE)
