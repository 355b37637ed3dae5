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

from . import authority
from .bundle import NAME, Bundle
from .pem import CLOCK_SKEW, Certificate, Certificates, KeyPair, unique

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
    current = bundle.current.certificate
    if now >= current.not_after:
        return "create", f"the CA expired at {current.not_after.isoformat()}"
    if now < current.not_before:
        return "create", f"the CA is not valid before {current.not_before.isoformat()}"
    if bundle.next is not None:
        return _rotation_step(bundle.next.certificate, now, published=published)
    if bundle.retire_at is not None and now >= bundle.retire_at:
        return "retire", "no leaf of the old CA can be alive"
    if elapsed_fraction(current, now) >= RENEW_AT:
        return "prepare", f"the CA has used {elapsed_fraction(current, now):.0%} of its life"
    if current.not_after - now < 2 * lifetimes.leaf:
        return "prepare", "the CA would cut leaves short"
    return "keep", "the CA is fresh"


def _rotation_step(next_ca: Certificate, now: datetime, *, published: bool) -> tuple[Step, str]:
    if not next_ca.is_valid(now) or elapsed_fraction(next_ca, now) >= RENEW_AT:
        return "prepare", "the next CA has aged before it was used"
    if published:
        return "promote", "every caller trusts the next CA"
    return "keep", "the next CA is not seen everywhere yet"


def apply_step(
    step: Step,
    bundle: Bundle | None,
    now: datetime,
    lifetimes: Lifetimes,
    seen: Certificates = (),
) -> Bundle:
    """The bundle after a step. `seen` are the certificates that callers trust now: nothing they
    need is dropped at once.
    """
    until = now + lifetimes.leaf + CLOCK_SKEW
    made = (
        authority.make_authority(NAME, now, lifetimes.ca) if step in ("create", "prepare") else None
    )
    if step == "create":
        assert made is not None  # noqa: S101
        before = bundle.trusted() if bundle is not None else ()
        old = _unexpired((*before, *seen), now)
        return Bundle(made, None, old, until if old else None)
    assert bundle is not None  # noqa: S101  (only a create begins with nothing)
    if step == "prepare":
        return msgspec.structs.replace(bundle, next=made)
    if step == "promote":
        assert bundle.next is not None  # noqa: S101
        old = _unexpired((*bundle.current.chain, *bundle.old), now)
        return Bundle(bundle.next, None, old, until if old else None)
    if step == "retire":
        return msgspec.structs.replace(bundle, old=(), retire_at=None)
    return bundle


def with_trusted(bundle: Bundle, ca: Certificate, now: datetime, lifetimes: Lifetimes) -> Bundle:
    """The bundle that trusts this CA as well, for as long as a leaf of it may be valid."""
    until = now + lifetimes.leaf + CLOCK_SKEW
    return msgspec.structs.replace(
        bundle, old=unique((*bundle.old, ca)), retire_at=max(until, bundle.retire_at or until)
    )


def renewal_time(certificate: Certificate, now: datetime) -> datetime:
    """When this certificate has used the share of its lifetime after which it is renewed."""
    made = certificate.not_before + CLOCK_SKEW
    return max(now, made + (certificate.not_after - made) * RENEW_AT)


def renewal_reason(leaf: KeyPair | None, current: KeyPair, hosts: list[str], now: datetime) -> str:
    """Why our leaf must be issued anew, in words; empty where it is good."""
    if leaf is None:
        return "there is no leaf yet"
    certificate = leaf.certificate
    if not certificate.is_signed_by(current.certificate):
        return "it is of another CA"
    if not certificate.is_valid(now):
        return "it is not valid now"
    if elapsed_fraction(certificate, now) >= RENEW_AT:
        return f"it has used {elapsed_fraction(certificate, now):.0%} of its life"
    if set(hosts) - set(certificate.hosts):
        return "it lacks a name"
    return ""


def elapsed_fraction(certificate: Certificate, now: datetime) -> float:
    """The share of its lifetime that a certificate has used, which begins when it was made: after
    the skew.
    """
    made = certificate.not_before + CLOCK_SKEW
    return (now - made) / max(certificate.not_after - made, timedelta(microseconds=1))


def _unexpired(certificates: Certificates, now: datetime) -> Certificates:
    return unique(certificate for certificate in certificates if certificate.not_after > now)
