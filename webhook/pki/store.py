"""Reads and writes what a cluster stores: the Secret with the CAs, and the caBundles of the webhook
configurations.

Of a configuration we write exactly `webhooks[name].clientConfig.caBundle`, by server-side apply
with a field manager of our own, so that there is no conflict with `kubectl apply`, Argo CD and
Helm, which never set it. Then we give the fields up: nobody's server-side apply can take out an
entry of which we own a field. What is left of it, a name and a caBundle, is invalid, so that the
rollback to a release without that entry would be refused.
"""

import base64
from collections.abc import Collection, Iterator
from typing import Annotated, Any

import msgspec

from ..cluster.client import APPLY_PATCH, JSON_PATCH, ApiClient, decode
from ..core import names
from ..errors import ApiError, BadCertificate, Conflict, NotFound
from . import ca_secret
from .ca_secret import CertificateAuthorities
from .pem import Certificate, Certificates, read_certificates, unique

SECRET = names.APP + "-ca"
FIELD_MANAGER = names.APP + "-certs"
KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}
GROUP = "/apis/admissionregistration.k8s.io/v1"


class CaSecret(msgspec.Struct, frozen=True):
    """The Secret's data, and its resource version, which is empty if there is no Secret."""

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
    owned_at: int | None = None
    """Our place in `metadata.managedFields`; None where we own nothing."""

    @property
    def title(self) -> str:
        """The configuration as kubectl names it: `validatingwebhookconfiguration/boundtoken`."""
        return f"{KINDS[self.resource].lower()}/{self.name}"

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


class _Manager(msgspec.Struct):
    manager: str = ""


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: Annotated[str, msgspec.Meta(min_length=1)]
    """Never empty: an empty one would let us overwrite what we have not seen."""
    managed_fields: list[_Manager] | None = None


class _Secret(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str | None] | None = None


class Service(msgspec.Struct):
    """What an entry calls."""

    name: str = ""
    namespace: str = ""


class _ClientConfig(msgspec.Struct, rename="camel"):
    service: Service | None = None
    ca_bundle: str | None = None


class _Entry(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig


class _Configuration(msgspec.Struct):
    metadata: _Metadata
    webhooks: list[_Entry] | None = None


UNPROCESSABLE = 422
"""What the API server answers where the test of a JSON Patch fails."""
_SECRET = msgspec.json.Decoder(_Secret)
_CONFIGURATION = msgspec.json.Decoder(_Configuration)


class Store:
    """The Secret and the webhook configurations of one installation. A configuration of each kind
    may have one of `configuration_names`.
    """

    def __init__(
        self, client: ApiClient, namespace: str, configuration_names: tuple[str, ...]
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.configuration_names = configuration_names
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

    async def write(
        self, authorities: CertificateAuthorities, version: str, *, dry_run: bool = False
    ) -> None:
        """Write the Secret if it still has this version, or create it if the version is empty.
        Labels and data of others are lost.

        Raises: Conflict, if somebody wrote in between; ApiError
        """
        metadata = {
            "name": SECRET,
            "namespace": self.namespace,
            "labels": {"app.kubernetes.io/name": names.APP},
        }
        secret: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "data": ca_secret.to_data(authorities),
            "metadata": metadata,
        }
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        if version:
            metadata["resourceVersion"] = version
            await self.client.send("PUT", f"{self.secrets}/{SECRET}", secret, query=query)
        else:
            await self.client.send("POST", self.secrets, secret, query=query)

    async def read_ca_bundles(self) -> list[CaBundles]:
        """The caBundles of every configuration of ours that exists. Raises: ApiError."""
        found = []
        for resource in KINDS:
            for name in self.configuration_names:
                try:
                    configuration = decode(
                        _CONFIGURATION, await self.client.get(f"{GROUP}/{resource}/{name}")
                    )
                except NotFound:
                    continue
                found.append(
                    CaBundles(
                        resource,
                        name,
                        configuration.metadata.resource_version,
                        dict(self._entries(configuration)),
                        _owned_at(configuration.metadata),
                    )
                )
        return found

    async def apply_ca_bundle(
        self, configuration: CaBundles, pem: bytes, *, dry_run: bool = False
    ) -> None:
        """Set the caBundle of every entry to this PEM, and change nothing else.

        Raises: Conflict, if the configuration was changed since it was read; ApiError
        """
        ca_bundle = base64.b64encode(pem).decode()
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": KINDS[configuration.resource],
            "metadata": {"name": configuration.name, "resourceVersion": configuration.version},
            "webhooks": [
                {"name": name, "clientConfig": {"caBundle": ca_bundle}}
                for name in configuration.entries
            ],
        }
        query = {
            "fieldManager": FIELD_MANAGER,
            "force": "true",
            **({"dryRun": "All"} if dry_run else {}),
        }
        await self.client.send(
            "PATCH",
            f"{GROUP}/{configuration.resource}/{configuration.name}",
            body,
            content_type=APPLY_PATCH,
            query=query,
        )

    async def give_up(self, configuration: CaBundles) -> None:
        """Own no field of a configuration any more. The caBundles stay as they are.

        Raises: Conflict, if the configuration was changed since it was read; ApiError
        """
        place = f"/metadata/managedFields/{configuration.owned_at}"
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": configuration.version},
            {"op": "test", "path": f"{place}/manager", "value": FIELD_MANAGER},
            {"op": "remove", "path": place},
        ]
        path = f"{GROUP}/{configuration.resource}/{configuration.name}"
        try:
            await self.client.send("PATCH", path, patch, content_type=JSON_PATCH)
        except ApiError as problem:
            if problem.status != UNPROCESSABLE:
                raise
            raise Conflict(str(problem), problem.status) from problem

    def _entries(self, configuration: _Configuration) -> Iterator[tuple[str, CaBundle]]:
        for entry in configuration.webhooks or ():
            if entry.client_config.service == Service(names.APP, self.namespace):
                try:
                    pem = base64.b64decode(entry.client_config.ca_bundle or "")
                except ValueError:
                    pem = b""
                yield entry.name, CaBundle.read(pem)


def _owned_at(metadata: _Metadata) -> int | None:
    managers = [one.manager for one in metadata.managed_fields or ()]
    return managers.index(FIELD_MANAGER) if FIELD_MANAGER in managers else None
