"""The rules: which step is due for the CAs, when our leaf is renewed, and why. They are pure; time
is an argument.

A rotation of the CA has three steps. Each may be repeated, interrupted, or done by any replica:

    prepare   a new CA is made beside the one that signs; both go into the caBundle
    promote   every caller was seen to trust the new CA: it signs from now on, and the other one
              becomes an old one
    retire    every leaf that the old CA signed has expired: it leaves the caBundle
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from . import authority
from .ca_secret import COMMON_NAME, CertificateAuthorities
from .pem import CLOCK_SKEW, Certificate, Certificates, KeyPair, unique

Step = Literal["create", "prepare", "promote", "retire", "keep"]
RENEW_AT = 2 / 3
"""Share of a lifetime; the last third is left for retries."""


class Lifetimes(msgspec.Struct, frozen=True):
    """How long certificates are valid. A CA's lifetime must be at least three times a leaf's."""

    ca: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=7)


def next_step(  # noqa: PLR0911  (one line for each rule)
    authorities: CertificateAuthorities | None,
    now: datetime,
    lifetimes: Lifetimes,
    *,
    published: bool,
) -> tuple[Step, str]:
    """The step that is due for the CAs, and why.

    `published`: whether every caller has been seen to trust all of them, long enough ago to rely on
    it.
    """
    if authorities is None:
        return "create", "there is no CA that can sign"
    current = authorities.current.certificate
    if now >= current.not_after:
        return "create", f"the CA expired at {current.not_after.isoformat()}"
    if now < current.not_before:
        return "create", f"the CA is not valid before {current.not_before.isoformat()}"
    if authorities.next is not None:
        return _rotation_step(authorities.next.certificate, now, published=published)
    if authorities.retire_at is not None and now >= authorities.retire_at:
        return "retire", "every leaf of the old CA has expired"
    if elapsed_fraction(current, now) >= RENEW_AT:
        return "prepare", f"the CA has used {elapsed_fraction(current, now):.0%} of its lifetime"
    if current.not_after - now < 2 * lifetimes.leaf:
        return "prepare", "the CA expires too soon for new leaves"
    return "keep", "the CA is not due for renewal"


def _rotation_step(next_ca: Certificate, now: datetime, *, published: bool) -> tuple[Step, str]:
    if not next_ca.is_valid(now) or elapsed_fraction(next_ca, now) >= RENEW_AT:
        return "prepare", "the next CA is too old to be used"
    if published:
        return "promote", "every caller trusts the next CA"
    return "keep", "not every caller trusts the next CA yet"


def apply_step(
    step: Step,
    authorities: CertificateAuthorities | None,
    now: datetime,
    lifetimes: Lifetimes,
    seen: Certificates = (),
) -> CertificateAuthorities:
    """The CAs after a step. `seen` are the CAs in the caBundles: a new beginning keeps them trusted
    as old ones, because leaves that they signed are in use.
    """
    until = now + lifetimes.leaf + CLOCK_SKEW
    if step == "create":
        before = authorities.trusted() if authorities is not None else ()
        old = _unexpired((*before, *seen), now)
        return CertificateAuthorities(_new_ca(now, lifetimes), None, old, until if old else None)
    assert authorities is not None  # noqa: S101  (only a create begins with nothing)
    if step == "prepare":
        return msgspec.structs.replace(authorities, next=_new_ca(now, lifetimes))
    if step == "promote":
        assert authorities.next is not None  # noqa: S101
        old = _unexpired((*authorities.current.chain, *authorities.old), now)
        return CertificateAuthorities(authorities.next, None, old, until if old else None)
    if step == "retire":
        return msgspec.structs.replace(authorities, old=(), retire_at=None)
    return authorities


def _new_ca(now: datetime, lifetimes: Lifetimes) -> KeyPair:
    return authority.make_authority(COMMON_NAME, now, lifetimes.ca)


def with_trusted(
    authorities: CertificateAuthorities, ca: Certificate, now: datetime, lifetimes: Lifetimes
) -> CertificateAuthorities:
    """The CAs with this one as an old one, for as long as a leaf that it signed may be valid."""
    until = now + lifetimes.leaf + CLOCK_SKEW
    return msgspec.structs.replace(
        authorities,
        old=unique((*authorities.old, ca)),
        retire_at=max(until, authorities.retire_at or until),
    )


def renewal_time(certificate: Certificate, now: datetime) -> datetime:
    """When this certificate has used the share of its lifetime after which it is renewed."""
    made_at = certificate.not_before + CLOCK_SKEW
    return max(now, made_at + (certificate.not_after - made_at) * RENEW_AT)


def renewal_reason(leaf: KeyPair | None, current: KeyPair, hosts: list[str], now: datetime) -> str:
    """Why our leaf must be renewed, in words; empty if it need not."""
    if leaf is None:
        return "there is no leaf yet"
    certificate = leaf.certificate
    if not certificate.is_signed_by(current.certificate):
        return "it is signed by another CA"
    if not certificate.is_valid(now):
        return "it is not valid now"
    if elapsed_fraction(certificate, now) >= RENEW_AT:
        return f"it has used {elapsed_fraction(certificate, now):.0%} of its lifetime"
    if set(hosts) - set(certificate.hosts):
        return "it lacks a host name"
    return ""


def elapsed_fraction(certificate: Certificate, now: datetime) -> float:
    """The share of its lifetime that a certificate has used. The lifetime begins when it was made,
    which is later than notBefore by the clock skew.
    """
    made_at = certificate.not_before + CLOCK_SKEW
    return (now - made_at) / max(certificate.not_after - made_at, timedelta(microseconds=1))


def _unexpired(certificates: Certificates, now: datetime) -> Certificates:
    return unique(certificate for certificate in certificates if certificate.not_after > now)
