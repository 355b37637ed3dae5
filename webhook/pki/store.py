"""Where authorities and trust stand in a cluster: one Secret, and the caBundle of the webhook
configurations; no rule here.

Of a configuration we own exactly `webhooks[name].clientConfig.caBundle`, by server-side apply under
a name of our own, so that neither `kubectl apply` nor Argo CD nor Helm, which never set it, has
anything to fight about.
"""

import base64
from collections.abc import Collection, Iterator
from typing import Annotated, Any

import msgspec

from ..cluster.client import APPLY_PATCH, ApiClient, decode
from ..core import names
from ..errors import BadCertificate, NotFound
from . import bundle as bundles
from .bundle import Bundle
from .pem import Certificate, Certificates, read_certificates, unique

SECRET = names.APP + "-ca"
FIELD_MANAGER = names.APP + "-certs"
KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}
GROUP = "/apis/admissionregistration.k8s.io/v1"


class CaSecret(msgspec.Struct, frozen=True):
    """What the Secret says: its data, and its resource version, empty where there is none."""

    data: dict[str, str]
    version: str = ""


class CaBundle(msgspec.Struct, frozen=True):
    """The PEM of one caBundle, and the certificates in it; none if one of them cannot be read."""

    pem: bytes
    certificates: Certificates

    @classmethod
    def read(cls, pem: bytes) -> "CaBundle":
        try:
            return cls(pem, read_certificates(pem))
        except BadCertificate:
            return cls(pem, ())


class CaBundles(msgspec.Struct, frozen=True):
    """What one webhook configuration trusts: the caBundle of each entry that calls our Service."""

    resource: str
    name: str
    version: str
    entries: dict[str, CaBundle]

    def certificates(self) -> Certificates:
        """The certificates in all entries, each once."""
        return unique(
            certificate
            for ca_bundle in self.entries.values()
            for certificate in ca_bundle.certificates
        )

    def trusts(self, certificates: Collection[Certificate]) -> bool:
        """Whether every entry trusts every one of these certificates."""
        return all(
            set(certificates) <= set(ca_bundle.certificates) for ca_bundle in self.entries.values()
        )


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: Annotated[str, msgspec.Meta(min_length=1)]
    """Never empty: an empty one would let us write over what we have not seen."""


class _Secret(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str | None] | None = None


class _Service(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _ClientConfig(msgspec.Struct, rename="camel"):
    service: _Service | None = None
    ca_bundle: str | None = None


class _Entry(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig


class _Configuration(msgspec.Struct):
    metadata: _Metadata
    webhooks: list[_Entry] | None = None


_SECRET = msgspec.json.Decoder(_Secret)
_CONFIGURATION = msgspec.json.Decoder(_Configuration)


class Store:
    """The Secret and the configurations of one installation; `configurations` are names, of either
    kind.
    """

    def __init__(self, client: ApiClient, namespace: str, configurations: tuple[str, ...]) -> None:
        self.client = client
        self.namespace = namespace
        self.configurations = configurations
        self.secrets = f"/api/v1/namespaces/{namespace}/secrets"

    async def read_secret(self) -> CaSecret:
        """Raises: ApiError."""
        try:
            secret = decode(_SECRET, await self.client.get(f"{self.secrets}/{SECRET}"))
        except NotFound:
            return CaSecret({})
        return CaSecret(
            {name: text or "" for name, text in (secret.data or {}).items()},
            secret.metadata.resource_version,
        )

    async def write(self, bundle: Bundle, version: str, *, dry_run: bool = False) -> None:
        """Write the bundle where the Secret still has this version; a person's labels and other
        data do not survive.

        Raises: Conflict, where somebody wrote in between; ApiError
        """
        metadata = {
            "name": SECRET,
            "namespace": self.namespace,
            "labels": {"app.kubernetes.io/name": names.APP},
        }
        secret: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "data": bundles.to_data(bundle),
            "metadata": metadata,
        }
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        if version:
            metadata["resourceVersion"] = version
            await self.client.send("PUT", f"{self.secrets}/{SECRET}", secret, query=query)
        else:
            await self.client.send("POST", self.secrets, secret, query=query)

    async def read_ca_bundles(self) -> list[CaBundles]:
        """Every configuration of ours that is there. Raises: ApiError."""
        found = []
        for resource in KINDS:
            for name in self.configurations:
                try:
                    held = decode(
                        _CONFIGURATION, await self.client.get(f"{GROUP}/{resource}/{name}")
                    )
                except NotFound:
                    continue
                found.append(
                    CaBundles(
                        resource, name, held.metadata.resource_version, dict(self._entries(held))
                    )
                )
        return found

    async def apply_ca_bundle(self, trust: CaBundles, pem: bytes, *, dry_run: bool = False) -> None:
        """Make every entry trust exactly this, and touch nothing else.

        Raises: Conflict, where the configuration is not the one that was looked at any more;
        ApiError
        """
        ca_bundle = base64.b64encode(pem).decode()
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": KINDS[trust.resource],
            "metadata": {"name": trust.name, "resourceVersion": trust.version},
            "webhooks": [
                {"name": name, "clientConfig": {"caBundle": ca_bundle}} for name in trust.entries
            ],
        }
        query = {
            "fieldManager": FIELD_MANAGER,
            "force": "true",
            **({"dryRun": "All"} if dry_run else {}),
        }
        await self.client.send(
            "PATCH",
            f"{GROUP}/{trust.resource}/{trust.name}",
            body,
            content_type=APPLY_PATCH,
            query=query,
        )

    def _entries(self, configuration: _Configuration) -> Iterator[tuple[str, CaBundle]]:
        for entry in configuration.webhooks or ():
            if entry.client_config.service == _Service(names.APP, self.namespace):
                try:
                    pem = base64.b64decode(entry.client_config.ca_bundle or "")
                except ValueError:
                    pem = b""
                yield entry.name, CaBundle.read(pem)
