"""The steps of `boundtoken certs` take the lifetimes that the Deployment gives to the replicas."""

import argparse
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webhook.cli import certs, certs_show
from webhook.cluster.client import ApiClient
from webhook.core import names
from webhook.errors import BadInput, NotFound
from webhook.log import Log
from webhook.options import resolve
from webhook.pki import authority, ca_secret
from webhook.pki.ca_secret import CertificateAuthorities
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.pem import Certificate
from webhook.pki.store import CaBundle, CaBundles, CaSecret, Store
from webhook.serving.managed_certificates import ManagedCertificates

CA, LEAF = timedelta(days=10), timedelta(days=2)
ARGUMENTS = ["serve", "--ca-duration=10d", "--leaf-duration=2d"]
PARSED = argparse.Namespace(dry_run=False, wait=False, output="json")


class Client:
    """An API client that knows the Deployment, and no pods."""

    def __init__(self, *more: str) -> None:
        self._arguments = [*ARGUMENTS, *more]

    async def get(self, _path: str, **_options: object) -> bytes:
        container = {"name": names.APP, "args": self._arguments}
        return json.dumps(
            {"spec": {"template": {"spec": {"containers": [container]}}}, "items": []}
        ).encode()

    def now(self) -> datetime:
        return datetime.now(UTC)


class Cluster(Store):
    """A cluster with this Deployment, a webhook configuration and the Secret that was written."""

    def __init__(self, *more: str) -> None:
        client: Any = Client(*more)
        super().__init__(client, names.NAMESPACE, (names.APP,))
        self.data: dict[str, str] = {}

    async def read_secret(self) -> CaSecret:
        return CaSecret(self.data, "1" if self.data else "")

    async def write(
        self, authorities: CertificateAuthorities, version: str, *, dry_run: bool = False
    ) -> None:
        assert not dry_run
        assert version == ("1" if self.data else "")
        self.data = ca_secret.to_data(authorities)

    async def read_ca_bundles(self) -> list[CaBundles]:
        return [
            CaBundles("mutatingwebhookconfigurations", names.APP, "1", {"pods": CaBundle(b"", ())})
        ]

    async def apply_ca_bundle(
        self, configuration: CaBundles, pem: bytes, *, dry_run: bool = False
    ) -> None: ...


async def test_the_ca_that_init_creates(capsys: Any) -> None:
    cluster = Cluster()
    await certs._into_cluster(cluster, PARSED, datetime.now(UTC))
    (ca,) = ca_secret.from_data(cluster.data).trusted()
    assert ca.not_after - ca.not_before < CA + timedelta(hours=1)
    assert capsys.readouterr().out.startswith(
        f"secret/{names.APP}-ca in namespace {names.NAMESPACE} created"
    )


async def test_the_next_ca_of_a_rotation_and_the_forecast_of_show(capsys: Any) -> None:
    cluster = Cluster()
    await certs._into_cluster(cluster, PARSED, datetime.now(UTC))
    await certs_show._show(cluster, PARSED)
    report = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))
    due = datetime.fromisoformat(report["next"]["at"]) - datetime.now(UTC)
    assert report["next"]["step"] == "prepare"
    assert timedelta(days=6) < due < timedelta(days=7)  # two thirds of 10 days
    assert await certs._rotate(cluster, PARSED) == 0
    upcoming = ca_secret.from_data(cluster.data).next
    assert upcoming is not None
    lifetime = upcoming.certificate.not_after - upcoming.certificate.not_before
    assert lifetime < CA + timedelta(hours=1)


def test_the_lifetimes_of_a_replica() -> None:
    config = resolve({"ca_duration": "10d", "leaf_duration": "2d"}, {})
    client: ApiClient = Client()  # type: ignore[assignment]
    managed = ManagedCertificates(client, config, lambda _: None, Log("info", lambda _: None))
    assert managed._rotation.lifetimes == Lifetimes(ca=CA, leaf=LEAF)


async def test_a_certificate_of_others_lets_no_command_write_ours(capsys: Any) -> None:
    cluster = Cluster("--tls-cert=/run/tls.crt", "--tls-key=/run/tls.key")
    told = f"kubectl get certificates -n {names.NAMESPACE}"
    with pytest.raises(BadInput, match=told):
        await certs._into_cluster(cluster, PARSED, datetime.now(UTC))
    with pytest.raises(BadInput, match=told):
        await certs._rotate(cluster, PARSED)
    assert cluster.data == {}
    for data, problem in (({}, ""), ({"ca.crt": "x"}, certs_show.LEFT_OVER)):
        cluster.data = data
        await certs_show._show(cluster, PARSED)
        report = json.loads(capsys.readouterr().out)
        assert (report["keptBy"], report["next"], report["problem"]) == ("others", None, problem)
        assert [row["inSync"] for row in report["configurations"]] == [None]


class Without(Cluster):
    """The same without a Deployment, where an entry trusts this CA."""

    def __init__(self, ca: Certificate) -> None:
        super().__init__()
        self.client: Any = Nothing()
        self._ca = ca

    async def read_ca_bundles(self) -> list[CaBundles]:
        entries = {"pods": CaBundle(self._ca.pem, (self._ca,)), "workloads": CaBundle(b"", ())}
        return [CaBundles("mutatingwebhookconfigurations", names.APP, "1", entries)]


class Nothing(Client):
    async def get(self, _path: str, **_options: object) -> bytes:
        raise NotFound("there is none")


@pytest.mark.parametrize("name", ["pki", ca_secret.COMMON_NAME])
async def test_init_without_a_deployment_puts_no_ca_of_ours_over_that_of_others(name: str) -> None:
    """Its name is no sign: the component cert-manager calls its CA as ours are called."""
    ca = authority.make_authority(name, datetime.now(UTC), CA).certificate
    cluster = Without(ca)
    for dry_run in (True, False):
        parsed = argparse.Namespace(dry_run=dry_run)
        with pytest.raises(BadInput, match="Apply the installation again first") as problem:
            await certs._into_cluster(cluster, parsed, datetime.now(UTC))
        assert "the caBundle of mutatingwebhookconfiguration/boundtoken" in str(problem.value)
    assert cluster.data == {}


async def test_init_without_a_deployment_keeps_the_ca_of_the_secret(capsys: Any) -> None:
    ca = authority.make_authority(ca_secret.COMMON_NAME, datetime.now(UTC), CA)
    cluster = Without(ca.certificate)
    cluster.data = ca_secret.to_data(CertificateAuthorities(ca))
    await certs._into_cluster(cluster, PARSED, datetime.now(UTC))
    assert f"in namespace {names.NAMESPACE} kept\n" in capsys.readouterr().out


async def test_init_before_the_first_deployment_makes_a_ca(capsys: Any) -> None:
    cluster = Cluster()
    client: Any = Nothing()
    cluster.client = client
    await certs._into_cluster(cluster, PARSED, datetime.now(UTC))
    assert f"in namespace {names.NAMESPACE} created\n" in capsys.readouterr().out
