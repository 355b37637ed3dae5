"""A stand-in for cert-manager, on the real API server: its CRDs, so that Issuers and Certificates
can be made; its controller, which writes the Secret of a Certificate; and its cainjector, which
writes the caBundle of a webhook configuration that names a Certificate.

What is replaced: nothing is renewed, an Issuer has a CA in a Secret or is there for a CA only, and
it looks every fifth of a second where cert-manager watches.
"""

import base64
import contextlib
import threading
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Self

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import Json
from tests.support.waiting import wait_for
from webhook.pki import authority
from webhook.pki.pem import KeyPair, joined, read_key_pair
from webhook.pki.store import GROUP, KINDS

API = "/apis/cert-manager.io/v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
INJECT = "cert-manager.io/inject-ca-from"
EVERY_SECONDS = 0.2


class CertManager:
    """It runs while the block does; its CRDs stay."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.problem: BaseException | None = None
        self.injections = 0
        """How many times it has written a caBundle."""

    def __enter__(self) -> Self:
        for kind in ("Issuer", "Certificate"):
            with contextlib.suppress(StatusError):
                self.plane.call("POST", CRDS, _definition(kind))
        wait_for(lambda: self._listed("issuers") is not None)
        wait_for(lambda: self._listed("certificates") is not None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listed(self, resource: str) -> list[Json] | None:
        try:
            return list(self.plane.call("GET", f"{API}/{resource}")["items"])
        except StatusError:
            return None

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                for certificate in self._listed("certificates") or ():
                    self._issue(certificate)
                for resource in KINDS:
                    self._inject(f"{GROUP}/{resource}/boundtoken")
            except (OSError, HTTPException, StatusError, KeyError) as problem:
                self.problem = problem

    def _issue(self, certificate: Json) -> None:
        """The Secret of a Certificate, where there is none yet."""
        spec, namespace = certificate["spec"], certificate["metadata"]["namespace"]
        if self._secret(namespace, spec["secretName"]):
            return
        now, life = datetime.now(UTC), timedelta(hours=int(spec["duration"].removesuffix("h")))
        if spec.get("isCA"):
            pair = authority.make_authority(spec["commonName"], now, life)
            root = pair
        else:
            found = self._authority(namespace, spec["issuerRef"]["name"])
            if found is None:
                return
            root = found
            pair = authority.issue(root, spec["dnsNames"], now, life)
        data = {"tls.crt": joined(pair.chain), "tls.key": pair.key, "ca.crt": joined(root.chain)}
        encoded = {name: base64.b64encode(content).decode() for name, content in data.items()}
        secret = {
            "metadata": {"name": spec["secretName"]},
            "type": "kubernetes.io/tls",
            "data": encoded,
        }
        self.plane.call("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)

    def _authority(self, namespace: str, issuer: str) -> KeyPair | None:
        """The CA of an Issuer, where its Secret is there."""
        path = f"{API}/namespaces/{namespace}/issuers/{issuer}"
        data = self._secret(namespace, self.plane.call("GET", path)["spec"]["ca"]["secretName"])
        return read_key_pair(data["tls.crt"], data["tls.key"]) if data else None

    def _secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """What it holds; nothing where it is not there."""
        try:
            found = self.plane.call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except StatusError:
            return {}
        return {key: base64.b64decode(text) for key, text in found["data"].items()}

    def _inject(self, path: str) -> None:
        """As cainjector does: by an update of the whole object, and in every entry."""
        configuration = self.plane.call("GET", path)
        namespace, _, name = (
            (configuration["metadata"].get("annotations") or {}).get(INJECT, "").partition("/")
        )
        if not name:
            return
        certificate = self.plane.call("GET", f"{API}/namespaces/{namespace}/certificates/{name}")
        data = self._secret(namespace, certificate["spec"]["secretName"])
        if not data:
            return
        trusted = base64.b64encode(data["ca.crt"]).decode()
        clients = [entry["clientConfig"] for entry in configuration["webhooks"]]
        if all(client.get("caBundle") == trusted for client in clients):
            return
        for client in clients:
            client["caBundle"] = trusted
        self.plane.call("PUT", f"{path}?fieldManager=cert-manager-cainjector", configuration)
        self.injections += 1


def _definition(kind: str) -> Json:
    """A CRD that takes any spec."""
    plural = f"{kind.lower()}s"
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free}}},
    }
    return {
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }
