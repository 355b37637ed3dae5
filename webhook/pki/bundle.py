"""The authorities of a cluster as one value: which signs, which comes next, which are still trusted; to a Secret and back.

ca.crt, ca.key       signs every leaf
next.crt, next.key   will sign, once every caller trusts it
old.crt, retire-at   signed once; trusted until no leaf of theirs can be alive
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from cryptography import x509

from ..errors import BadCertificate
from . import authority
from .authority import KeyPair

NAME = "boundtoken"
"""The common name of every CA that we make: a CA of another name is somebody else's."""


class Bundle(msgspec.Struct, frozen=True):
    """The authorities. `old` is PEM certificates without keys; `retire_at` is when they may go."""

    current: KeyPair
    next: KeyPair | None = None
    old: bytes = b""
    retire_at: datetime | None = None

    def trusted(self) -> bytes:
        """What callers must trust, in PEM, each certificate once."""
        return joined(self.current.certificate, self.next.certificate if self.next else b"", self.old)


def certificates(pem: bytes) -> list[x509.Certificate]:
    """All certificates in PEM; none where there are none or where they cannot be read."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def joined(*pems: bytes) -> bytes:
    """All certificates of these PEM texts in their order, each once."""
    found = {authority.pem(each): None for pem in pems for each in certificates(pem)}
    return b"".join(found)


def holds(pem: bytes, wanted: bytes) -> bool:
    """Whether every certificate of `wanted` is in `pem`."""
    there = set(certificates(pem))
    return bool(pem) and all(each in there for each in certificates(wanted))


def ours(pem: bytes) -> bytes:
    """Those of these certificates that carry our name."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    return b"".join(authority.pem(each) for each in certificates(pem) if each.subject == name)


def to_data(bundle: Bundle) -> dict[str, str]:
    """The `data` of a Secret."""
    data = {"ca.crt": bundle.current.certificate, "ca.key": bundle.current.key}
    if bundle.next is not None:
        data |= {"next.crt": bundle.next.certificate, "next.key": bundle.next.key}
    if bundle.old and bundle.retire_at is not None:
        data |= {"old.crt": bundle.old, "retire-at": bundle.retire_at.isoformat().encode()}
    return {name: base64.b64encode(content).decode() for name, content in data.items()}


def from_data(data: Mapping[str, str]) -> Bundle:
    """The bundle in the `data` of a Secret. A `next` or `old` that cannot be read is left out: it has signed nothing.

    Raises: BadCertificate, where the CA that signs cannot be used; the text says why, and holds nothing of the key
    """
    try:
        held = {name: base64.b64decode(content, validate=True) for name, content in data.items()}
    except (binascii.Error, ValueError) as problem:
        raise BadCertificate("the Secret must hold base64") from problem
    if not held.get("ca.crt"):
        raise BadCertificate("there is no CA yet")
    current = KeyPair(held["ca.crt"], held.get("ca.key", b""))
    _check(current)
    following: KeyPair | None = KeyPair(held.get("next.crt", b""), held.get("next.key", b""))
    try:
        _check(following)
    except BadCertificate:
        following = None
    try:
        retire_at = datetime.fromisoformat(held.get("retire-at", b"").decode()).astimezone(UTC)
    except ValueError:
        retire_at = None
    old = joined(held.get("old.crt", b"")) if retire_at is not None else b""
    return Bundle(current, following, old, retire_at if old else None)


def _check(pair: KeyPair | None) -> None:
    """Raises: BadCertificate, where this is no CA of ours with its key."""
    assert pair is not None  # noqa: S101
    certificate, _ = authority.read(pair)
    common = [each.value for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if common != [NAME] or certificate.issuer != certificate.subject:
        raise BadCertificate(f"the CA must be one of ours, and its name is {str(common)[:60]}")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise BadCertificate("the CA must be a CA, and its certificate says nothing of the kind") from None
    if not constraints.ca:
        raise BadCertificate("the CA must be a CA, and its certificate denies it")
