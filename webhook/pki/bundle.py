"""The authorities of a cluster as one value: which signs, which comes next, which are still
trusted; to a Secret and back.

ca.crt, ca.key       signs every leaf
next.crt, next.key   will sign, once every caller trusts it
old.crt, retire-at   signed once; trusted until no leaf of theirs can be alive
"""

import base64
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from cryptography import x509

from ..errors import BadCertificate
from . import authority
from .authority import KeyPair

NAME = "boundtoken"
"""The common name of every CA that we make: a CA of another name is somebody else's."""


MAX_FIELD_CHARS = authority.MAX_PEM_BYTES * 4 // 3
"""Of one field of the Secret, in base64."""


class Bundle(msgspec.Struct, frozen=True):
    """The authorities. `old` is PEM certificates without keys; `retire_at` is when they may go."""

    current: KeyPair
    next: KeyPair | None = None
    old: bytes = b""
    retire_at: datetime | None = None

    def trusted(self) -> bytes:
        """What callers must trust, in PEM, each certificate once."""
        return joined(
            self.current.certificate, self.next.certificate if self.next else b"", self.old
        )


def certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates in PEM; none where there are none or where one of them cannot be read."""
    try:
        return authority.read_certificates(pem)
    except BadCertificate:
        return ()


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
    """The bundle in the `data` of a Secret. A `next` or `old` that cannot be read is left out: it
    has signed nothing.

    Raises: BadCertificate, where the CA that signs cannot be used; the text says why, and holds
    nothing of the key
    """
    if not data.get("ca.crt"):
        raise BadCertificate("there is no CA yet")
    current = _pair(data, "ca")
    following, old, retire_at = None, b"", None
    with contextlib.suppress(BadCertificate):
        following = _pair(data, "next")
    with contextlib.suppress(BadCertificate), authority.readable("retire-at must be a time"):
        retire_at = datetime.fromisoformat(_field(data, "retire-at").decode()).astimezone(UTC)
        old = joined(_field(data, "old.crt"))
    return Bundle(current, following, old, retire_at if old else None)


def _field(data: Mapping[str, str], name: str) -> bytes:
    text = data.get(name, "")
    if len(text) > MAX_FIELD_CHARS:
        raise BadCertificate(
            f"{name} must have at most {MAX_FIELD_CHARS} characters of base64; it has {len(text)}"
        )
    with authority.readable(f"{name} must be base64"):
        return base64.b64decode(text, validate=True)


def _pair(data: Mapping[str, str], name: str) -> KeyPair:
    """Raises: BadCertificate, where this is no CA of ours with its key."""
    pair = KeyPair(_field(data, f"{name}.crt"), _field(data, f"{name}.key"))
    certificate, _ = authority.read(pair)
    common = [
        each.value for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    if common != [NAME]:
        raise BadCertificate(f"the CA must be one of ours, and its name is {str(common)[:60]}")
    if not authority.is_authority(certificate):
        raise BadCertificate("the CA must be a CA, and its certificate says nothing of the kind")
    if not authority.signed_by(pair.certificate, pair.certificate):
        raise BadCertificate(
            "the CA must be signed by itself, and its certificate was changed since"
        )
    return pair
