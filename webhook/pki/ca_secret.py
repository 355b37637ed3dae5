"""The CAs of a cluster as one value, and as the data of a Secret: the one that signs, the next one,
and those that are still trusted.

ca.crt, ca.key       signs every leaf
next.crt, next.key   will sign, once every caller trusts it
old.crt, retire-at   signed before; trusted until every leaf that it signed has expired
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

COMMON_NAME = "boundtoken"
"""Of every CA that boundtoken makes: a CA of another name is somebody else's."""
MAX_FIELD_CHARS = MAX_PEM_BYTES * 4 // 3
"""Of one field of the Secret, in base64."""


class CertificateAuthorities(msgspec.Struct, frozen=True):
    """The CAs. `old` are certificates without keys; `retire_at` is when they may be removed."""

    current: KeyPair
    next: KeyPair | None = None
    old: Certificates = ()
    retire_at: datetime | None = None

    def trusted(self) -> Certificates:
        """The certificates that callers must trust, each once."""
        return unique((*self.current.chain, *(self.next.chain if self.next else ()), *self.old))

    def ca_bundle(self) -> bytes:
        """The certificates that callers must trust, as the PEM of a caBundle."""
        return joined(self.trusted())


def made_by_us(certificates: Iterable[Certificate]) -> Certificates:
    """The certificates whose subject is the common name of our CAs."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, COMMON_NAME)])
    return tuple(
        certificate for certificate in certificates if certificate.x509_certificate.subject == name
    )


def to_data(authorities: CertificateAuthorities) -> dict[str, str]:
    """The `data` of the Secret."""
    data = {"ca.crt": joined(authorities.current.chain), "ca.key": authorities.current.key}
    if authorities.next is not None:
        data |= {"next.crt": joined(authorities.next.chain), "next.key": authorities.next.key}
    if authorities.old and authorities.retire_at is not None:
        retire_at = authorities.retire_at.isoformat().encode()
        data |= {"old.crt": joined(authorities.old), "retire-at": retire_at}
    return {name: base64.b64encode(content).decode() for name, content in data.items()}


def from_data(data: Mapping[str, str]) -> CertificateAuthorities:
    """The CAs in the `data` of the Secret. A `next` or `old` that cannot be read is left out.

    Raises: BadCertificate, if the CA that signs cannot be used; the text says why, and holds
    nothing of the key
    """
    if not data.get("ca.crt"):
        raise BadCertificate("there is no CA yet")
    current = _read_ca(data, "ca")
    next_ca: KeyPair | None = None
    old: Certificates = ()
    retire_at: datetime | None = None
    # The next CA has signed nothing yet, so the rotation can begin again with another one.
    with contextlib.suppress(BadCertificate):
        next_ca = _read_ca(data, "next")
    # Old CAs without a time would be trusted for ever. A replica whose leaf is signed by one that
    # is left out here puts it back (rotation.Rotation).
    with contextlib.suppress(BadCertificate), readable("retire-at must be a time"):
        retire_at = datetime.fromisoformat(_field(data, "retire-at").decode()).astimezone(UTC)
        old = unique(read_certificates(_field(data, "old.crt")))
    return CertificateAuthorities(current, next_ca, old, retire_at if old else None)


def _field(data: Mapping[str, str], name: str) -> bytes:
    text = data.get(name, "")
    if len(text) > MAX_FIELD_CHARS:
        raise BadCertificate(
            f"{name} must have at most {MAX_FIELD_CHARS} characters of base64; it has {len(text)}"
        )
    with readable(f"{name} must be base64"):
        return base64.b64decode(text, validate=True)


def _read_ca(data: Mapping[str, str], name: str) -> KeyPair:
    """Raises: BadCertificate, if this is not a CA that boundtoken made, with its key."""
    pair = read_key_pair(_field(data, f"{name}.crt"), _field(data, f"{name}.key"))
    read_private_key(pair)
    certificate = pair.certificate
    subject = certificate.x509_certificate.subject
    common_names = [
        attribute.value for attribute in subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    if common_names != [COMMON_NAME]:
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
