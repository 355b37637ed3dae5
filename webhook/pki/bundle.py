"""The authorities of a cluster as one value: which signs, which comes next, which are still
trusted; to a Secret and back.

ca.crt, ca.key       signs every leaf
next.crt, next.key   will sign, once every caller trusts it
old.crt, retire-at   signed once; trusted until no leaf of theirs can be alive
"""

import base64
import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from cryptography import x509

from ..errors import BadCertificate
from .pem import (
    MAX_PEM_BYTES,
    Certificate,
    Certificates,
    KeyPair,
    joined,
    read_certificates,
    read_key_pair,
    read_private_key,
    readable,
    unique,
)

NAME = "boundtoken"
"""The common name of every CA that we make: a CA of another name is somebody else's."""

MAX_FIELD_CHARS = MAX_PEM_BYTES * 4 // 3
"""Of one field of the Secret, in base64."""


class Bundle(msgspec.Struct, frozen=True):
    """The authorities. `old` are certificates without keys; `retire_at` is when they may go."""

    current: KeyPair
    next: KeyPair | None = None
    old: Certificates = ()
    retire_at: datetime | None = None

    def trusted(self) -> Certificates:
        """What callers must trust, each certificate once."""
        return unique((*self.current.chain, *(self.next.chain if self.next else ()), *self.old))

    def ca_bundle(self) -> bytes:
        """What callers must trust, as the PEM of a caBundle."""
        return joined(self.trusted())


def ours(certificates: Iterable[Certificate]) -> Certificates:
    """Those of these certificates that carry our name."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    return tuple(
        certificate for certificate in certificates if certificate.x509_certificate.subject == name
    )


def to_data(bundle: Bundle) -> dict[str, str]:
    """The `data` of a Secret."""
    data = {"ca.crt": joined(bundle.current.chain), "ca.key": bundle.current.key}
    if bundle.next is not None:
        data |= {"next.crt": joined(bundle.next.chain), "next.key": bundle.next.key}
    if bundle.old and bundle.retire_at is not None:
        data |= {"old.crt": joined(bundle.old), "retire-at": bundle.retire_at.isoformat().encode()}
    return {name: base64.b64encode(content).decode() for name, content in data.items()}


def from_data(data: Mapping[str, str]) -> Bundle:
    """The bundle in the `data` of a Secret. A `next` or `old` that cannot be read is left out: it
    has signed nothing.

    Raises: BadCertificate, where the CA that signs cannot be used; the text says why, and holds
    nothing of the key
    """
    if not data.get("ca.crt"):
        raise BadCertificate("there is no CA yet")
    current = _pair(data, "ca")
    following: KeyPair | None = None
    old: Certificates = ()
    retire_at: datetime | None = None
    with contextlib.suppress(BadCertificate):
        following = _pair(data, "next")
    with contextlib.suppress(BadCertificate), readable("retire-at must be a time"):
        retire_at = datetime.fromisoformat(_field(data, "retire-at").decode()).astimezone(UTC)
        old = unique(read_certificates(_field(data, "old.crt")))
    return Bundle(current, following, old, retire_at if old else None)


def _field(data: Mapping[str, str], name: str) -> bytes:
    text = data.get(name, "")
    if len(text) > MAX_FIELD_CHARS:
        raise BadCertificate(
            f"{name} must have at most {MAX_FIELD_CHARS} characters of base64; it has {len(text)}"
        )
    with readable(f"{name} must be base64"):
        return base64.b64decode(text, validate=True)


def _pair(data: Mapping[str, str], name: str) -> KeyPair:
    """Raises: BadCertificate, where this is no CA of ours with its key."""
    pair = read_key_pair(_field(data, f"{name}.crt"), _field(data, f"{name}.key"))
    read_private_key(pair)
    certificate = pair.certificate
    subject = certificate.x509_certificate.subject
    common_names = [
        attribute.value for attribute in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    if common_names != [NAME]:
        raise BadCertificate(
            f"the CA must be one of ours, and its name is {str(common_names)[:60]}"
        )
    if not certificate.is_ca:
        raise BadCertificate("the CA must be a CA, and its certificate says nothing of the kind")
    if not certificate.is_signed_by(certificate):
        raise BadCertificate(
            "the CA must be signed by itself, and its certificate was changed since"
        )
    return pair
