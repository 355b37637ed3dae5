"""Certificates of a test, in the files that a service reads them from."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.controlplane.volumes import show
from webhook.pki import authority
from webhook.pki.pem import KeyPair, joined


def write_pair(folder: Path, pair: KeyPair) -> None:
    """Certificates and key in the folder `tls`, swapped as the kubelet swaps a Secret."""
    write_texts(folder, joined(pair.chain), pair.key)


def write_texts(folder: Path, certificates: bytes, key: bytes) -> None:
    """The same of what may not be a pair at all."""
    (folder / "tls").mkdir(exist_ok=True)
    show(folder / "tls", {"tls.crt": certificates, "tls.key": key})


def an_authority(folder: Path) -> KeyPair:
    """A CA whose certificate stands in `ca.crt`."""
    root = authority.make_authority("test", datetime.now(UTC), timedelta(days=1))
    (folder / "ca.crt").write_bytes(root.certificate.pem)
    return root


def a_leaf(root: KeyPair, *, life: timedelta = timedelta(hours=1)) -> KeyPair:
    return authority.issue(root, ["localhost", "127.0.0.1"], datetime.now(UTC), life)
