"""The rules: what to do about the authorities now, and about our own leaf, and why; pure, time is
an argument.

A rotation of the CA, each step of which may be repeated, interrupted, or done by any replica:

    prepare   a new CA stands beside the one that signs; both go into the bundle that is published
    promote   every caller trusts the new one (it was seen there): it signs from now on, the other
              becomes an old one
    retire    no leaf of the old one can be alive: it leaves the bundle
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from cryptography import x509

from . import authority
from .authority import KeyPair
from .bundle import NAME, Bundle, certificates, joined

Step = Literal["create", "prepare", "promote", "retire", "keep"]
RENEW_AT = 2 / 3
"""Share of a life; the last third is left for retries."""


class Lifetimes(msgspec.Struct, frozen=True):
    """How long things live. A CA must live longer than three times its leaves."""

    ca: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=7)


def next_step(  # noqa: PLR0911  (one line for each rule)
    bundle: Bundle | None, now: datetime, lifetimes: Lifetimes, *, published: bool
) -> tuple[Step, str]:
    """The one thing to do about the authorities now, and why.

    `published`: whether every caller has been seen to trust the whole bundle, long enough ago to
    act on it.
    """
    if bundle is None:
        return "create", "there is no CA that can sign"
    current = authority.read_certificate(bundle.current.certificate)
    if now >= current.not_valid_after_utc:
        return "create", f"the CA expired at {current.not_valid_after_utc.isoformat()}"
    if now < current.not_valid_before_utc:
        return "create", f"the CA is not valid before {current.not_valid_before_utc.isoformat()}"
    if bundle.next is not None:
        return _rotation_step(
            authority.read_certificate(bundle.next.certificate), now, published=published
        )
    if bundle.retire_at is not None and now >= bundle.retire_at:
        return "retire", "no leaf of the old CA can be alive"
    if elapsed_fraction(current, now) >= RENEW_AT:
        return "prepare", f"the CA has used {elapsed_fraction(current, now):.0%} of its life"
    if current.not_valid_after_utc - now < 2 * lifetimes.leaf:
        return "prepare", "the CA would cut leaves short"
    return "keep", "the CA is fresh"


def _rotation_step(coming: x509.Certificate, now: datetime, *, published: bool) -> tuple[Step, str]:
    if (
        not coming.not_valid_before_utc <= now < coming.not_valid_after_utc
        or elapsed_fraction(coming, now) >= RENEW_AT
    ):
        return "prepare", "the next CA has aged before it was used"
    if published:
        return "promote", "every caller trusts the next CA"
    return "keep", "the next CA is not seen everywhere yet"


def apply_step(
    step: Step, bundle: Bundle | None, now: datetime, lifetimes: Lifetimes, seen: bytes = b""
) -> Bundle:
    """The bundle after a step. `seen` are the certificates that callers trust now: nothing they
    need is dropped at once.
    """
    until = now + lifetimes.leaf + authority.CLOCK_SKEW
    made = (
        authority.make_authority(NAME, now, lifetimes.ca) if step in ("create", "prepare") else None
    )
    if step == "create":
        assert made is not None  # noqa: S101
        before = bundle.trusted() if bundle is not None else b""
        old = _alive(joined(before, seen), now)
        return Bundle(made, None, old, until if old else None)
    assert bundle is not None  # noqa: S101  (only a create begins with nothing)
    if step == "prepare":
        return msgspec.structs.replace(bundle, next=made)
    if step == "promote":
        assert bundle.next is not None  # noqa: S101
        old = _alive(joined(bundle.current.certificate, bundle.old), now)
        return Bundle(bundle.next, None, old, until if old else None)
    if step == "retire":
        return msgspec.structs.replace(bundle, old=b"", retire_at=None)
    return bundle


def with_trusted(bundle: Bundle, pem: bytes, now: datetime, lifetimes: Lifetimes) -> Bundle:
    """The bundle that trusts these certificates as well, for as long as a leaf of theirs may
    live.
    """
    until = now + lifetimes.leaf + authority.CLOCK_SKEW
    return msgspec.structs.replace(
        bundle, old=joined(bundle.old, pem), retire_at=max(until, bundle.retire_at or until)
    )


def is_valid(pair: KeyPair, now: datetime) -> bool:
    """Whether its certificate has begun and has not ended."""
    held = authority.read_certificate(pair.certificate)
    return held.not_valid_before_utc <= now < held.not_valid_after_utc


def renewal_time(pair: KeyPair, now: datetime) -> datetime:
    """When this certificate has used the share of its life after which it is renewed."""
    held = authority.read_certificate(pair.certificate)
    born = held.not_valid_before_utc + authority.CLOCK_SKEW
    return max(now, born + (held.not_valid_after_utc - born) * RENEW_AT)


def renewal_reason(leaf: KeyPair | None, current: KeyPair, hosts: list[str], now: datetime) -> str:
    """Why our leaf must be issued anew, in words; empty where it is good."""
    if leaf is None:
        return "there is no leaf yet"
    held = authority.read_certificate(leaf.certificate)
    if not authority.signed_by(leaf.certificate, current.certificate):
        return "it is of another CA"
    if not held.not_valid_before_utc <= now < held.not_valid_after_utc:
        return "it is not valid now"
    if elapsed_fraction(held, now) >= RENEW_AT:
        return f"it has used {elapsed_fraction(held, now):.0%} of its life"
    if set(hosts) - set(authority.hosts_of(held)):
        return "it lacks a name"
    return ""


def elapsed_fraction(certificate: x509.Certificate, now: datetime) -> float:
    """The share of its life that a certificate has used; the skew before its making is no life."""
    born = certificate.not_valid_before_utc + authority.CLOCK_SKEW
    return (now - born) / max(certificate.not_valid_after_utc - born, timedelta(microseconds=1))


def _alive(pem: bytes, now: datetime) -> bytes:
    return joined(
        *(authority.pem(each) for each in certificates(pem) if each.not_valid_after_utc > now)
    )
