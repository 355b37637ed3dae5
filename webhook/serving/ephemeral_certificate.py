"""The certificate of a standalone process: an ephemeral CA and one leaf, kept in memory only."""

from datetime import timedelta
from pathlib import Path

from ..errors import BadInput
from ..pki import authority
from .certificates import ServedCertificate
from .process import Loop

HOSTS = ("localhost", "127.0.0.1", "::1")
LIFETIME = timedelta(days=30)


class EphemeralCertificate:
    """A leaf for localhost and `host`, in use at once; the CA's certificate goes to `ca_out`.

    Raises: BadInput, where `ca_out` cannot be written
    """

    is_trusted = True  # by whoever was given the CA

    def __init__(self, host: str, ca_out: Path | None, served: ServedCertificate) -> None:
        now = served.now()
        root = authority.make_authority("boundtoken standalone", now, LIFETIME)
        hosts = [*dict.fromkeys([*HOSTS, host])]
        served.use(authority.issue(root, hosts, now, LIFETIME))
        if ca_out is not None:
            try:
                ca_out.write_bytes(root.certificate.pem)
            except OSError as problem:
                raise BadInput(f"--ca-out {ca_out}: {problem.strerror}") from problem

    def loops(self) -> list[Loop]:
        """None are needed: the process does not live for as long as its certificate."""
        return []
