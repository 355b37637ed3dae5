"""Which certificate a process serves: one for itself, one of files, or one by a shared CA."""

from ..cluster.client import ApiClient
from ..log import Log
from ..options import Config
from .certificate_files import CertificateFiles
from .certificates import CertificateSource, ServedCertificate
from .ephemeral_certificate import EphemeralCertificate
from .managed_certificates import ManagedCertificates


def certificate_source(
    client: ApiClient | None, config: Config, served: ServedCertificate, log: Log
) -> CertificateSource:
    """The source that hands its certificates to `served`; without a client one for this process.

    Raises: BadInput, where a given file cannot be used
    """
    if client is None:
        return EphemeralCertificate(config.listen.host, config.ca_out, served)
    if config.tls_cert is not None and config.tls_key is not None:
        return CertificateFiles(config.tls_cert, config.tls_key, served, log)
    return ManagedCertificates(client, config, served.use, log)
