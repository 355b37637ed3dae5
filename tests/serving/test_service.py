"""A process over its life: what it waits for, what it reads again, how it drains."""

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.api import a_namespace_object, an_event, api_server
from tests.support.certificates import a_leaf, an_authority, write_pair, write_texts
from tests.support.processes import running_process
from tests.support.service import (
    NAMESPACE,
    REVIEW,
    certificate_of,
    files_flags,
    injects,
    running,
    served,
)
from tests.support.waiting import eventually
from webhook import options
from webhook.errors import BadInput
from webhook.log import Log
from webhook.pki.pem import KeyPair
from webhook.serving.service import Service
from webhook.serving.tls import LiveCertificate

CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


async def test_readiness_waits_for_certificate_and_namespaces_and_says_so(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        api.refusals = [500]
        async with running(tmp_path, ready=False, **files_flags(tmp_path, api.server)) as service:
            assert await service.get("/readyz") == (
                503,
                "not ready: no certificate is loaded; the namespaces are not listed\n",
            )
            assert await service.metric("boundtoken_ready") == 0
            write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
            await eventually(lambda: not service.service.unready_reasons())
            assert await service.get("/readyz") == (200, "ok\n")
            assert await service.metric("boundtoken_ready") == 1


async def test_readiness_waits_for_legacy_tokens_where_they_are_looked_for_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    async with api_server() as (api, _):  # which has no list of Secrets to give
        write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
        flags = {**files_flags(tmp_path, api.server), "legacy_tokens": "on"}
        async with running(tmp_path, ready=False, **flags) as service:
            await eventually(
                lambda: (
                    service.service.namespaces.synced
                    and bool(service.log_lines("legacy token watch interrupted"))
                )
            )
            assert await service.get("/readyz") == (
                503,
                "not ready: the legacy token Secrets are not listed\n",
            )
            assert (
                "manifests/optional/legacy-tokens"
                in service.log_lines("legacy token watch interrupted")[0]["hint"]
            )


async def test_the_namespace_cache_follows_the_cluster(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
        api.namespaces = [a_namespace_object("shop")]
        changed = asyncio.Event()
        api.watches = [
            [
                changed.wait,
                an_event("MODIFIED", a_namespace_object("shop", 201, inject="enabled")),
                api.never,
            ]
        ]
        async with running(tmp_path, **files_flags(tmp_path, api.server)) as service:
            assert not await injects(service)
            changed.set()
            async with asyncio.timeout(5):
                while not await injects(service):
                    await asyncio.sleep(0.01)
            assert await service.metric("boundtoken_namespaces ") == 1
            assert (
                time.time()
                - await service.metric("boundtoken_namespace_last_event_timestamp_seconds ")
                < 5
            )
            assert await service.metric('boundtoken_namespace_relists_total{reason="start"}') >= 1


async def test_namespace_files_are_read_again_and_a_bad_one_is_refused_whole(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        assert await injects(service)
        file = tmp_path / "namespaces" / "shop.yaml"
        file.write_text(
            NAMESPACE.replace("inject: enabled", "inject: disabled").replace(
                "automount: disabled", "automount: enabled"
            )
        )
        await eventually(lambda: service.log_lines("namespaces read again"))
        assert not await injects(service)
        file.write_text(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {boundtoken.dev/inject: true}}"
        )
        await eventually(lambda: service.log_lines("namespaces rejected"))
        (line,) = service.log_lines("namespaces rejected")
        assert line["faults"] == [
            f'{file}: Namespace "shop": metadata.annotations must map strings to strings (quote numbers and true)'
        ]
        assert not await injects(service)


async def test_without_a_configuration_the_audiences_of_our_own_token_hold(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    payload = base64.urlsafe_b64encode(b'{"aud": ["https://api"]}').decode().rstrip("=")
    (account / "token").write_text(f"e30.{payload}.c2ln")
    flags = {
        "tls_cert": "a",
        "tls_key": "b",
        "listen": "127.0.0.1:0",
        "plain_listen": "127.0.0.1:0",
        "drain_seconds": "0",
    }
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    service = Service(options.resolve(flags, {}), environ, Log("error", lambda _: None), account)
    assert service.namespaces.cluster.api_audiences == ("https://api",)
    service.stop()
    await service.run()


async def test_the_configuration_is_read_again_and_a_bad_one_is_refused_whole(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION)
    async with running(tmp_path, config=str(file)) as service:
        assert await service.metric("boundtoken_config_last_reload_successful") == 1
        file.write_text(CONFIGURATION + "namespaces: {excluded: [shop]}\n")
        await eventually(lambda: len(service.log_lines("configuration applied")) == 2)
        assert not await injects(service)
        file.write_text(CONFIGURATION + "defaults: {inject: on, expirationSeconds: 3607}\n")
        await eventually(lambda: service.log_lines("configuration rejected"))
        (line,) = service.log_lines("configuration rejected")
        assert [fault.split(": ")[1] for fault in line["faults"]] == [
            "defaults.inject",
            "defaults.expirationSeconds",
        ]
        assert await service.metric("boundtoken_config_last_reload_successful") == 0
        assert not await injects(service)
        hash_ = service.log_lines("configuration applied")[-1]["hash"]
        assert await service.metric(f'boundtoken_config_info{{hash="{hash_}"}}') == 1


async def test_a_bad_configuration_at_start_is_told_with_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("apiVersion: v1\nkind: Configuration\ndefualts: {}\n")
    with pytest.raises(BadInput) as caught:
        async with running(tmp_path, config=str(file)):
            pass
    assert caught.value.faults == (
        f'{file}: apiVersion: must be boundtoken.dev/v1alpha1, and is "v1"',
        f"{file}: defualts: unknown field; did you mean defaults?",
    )


async def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        with pytest.raises(BadInput, match="--listen 127.0.0.1.*choose another address"):
            async with running(tmp_path, listen=f"127.0.0.1:{service.port}"):
                pass


async def test_a_service_that_fails_at_its_start_is_not_waited_for_and_not_used(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as service:
        begun, used = time.monotonic(), False
        with pytest.raises(BadInput, match="choose another address"):
            async with running(tmp_path, listen=f"127.0.0.1:{service.port}"):
                used = True
        assert not used
        assert time.monotonic() - begun < 10


async def test_a_certificate_is_swapped_under_open_connections(tmp_path: Path) -> None:
    root = an_authority(tmp_path)
    first, second = a_leaf(root), a_leaf(root)
    write_pair(tmp_path, first)
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        assert await served(service) == first.certificate.x509_certificate.serial_number
        async with aiohttp.ClientSession() as session:
            await service.post(REVIEW, session=session)
            write_pair(tmp_path, second)
            await eventually(lambda: len(service.log_lines("certificate in use")) == 2)
            assert (await service.post(REVIEW, session=session))[0] == 200
        assert await served(service) == second.certificate.x509_certificate.serial_number
        end = second.certificate.not_after.timestamp()
        assert (
            await service.metric('boundtoken_certificate_not_after_timestamp_seconds{kind="leaf"}')
            == end
        )
        assert (
            await service.metric('boundtoken_certificate_not_before_timestamp_seconds{kind="leaf"}')
            == second.certificate.not_before.timestamp()
        )


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda good, other: (good.certificate.pem, other.key), id="a key of another"),
        pytest.param(
            lambda good, _: (good.certificate.pem[:100], good.key), id="half a certificate"
        ),
        pytest.param(lambda good, _: (good.certificate.pem, b""), id="an empty key"),
        pytest.param(lambda _, __: (b"garbage", b"garbage"), id="garbage"),
    ],
)
async def test_a_broken_pair_leaves_the_old_one_serving(tmp_path: Path, broken: object) -> None:
    root = an_authority(tmp_path)
    good, other = a_leaf(root), a_leaf(root)
    write_pair(tmp_path, good)
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        refused = await service.metric(
            'boundtoken_certificate_rotations_total{kind="leaf",result="refused"}'
        )
        write_texts(tmp_path, *broken(good, other))  # type: ignore[operator]
        await eventually(
            lambda: service.log_lines("certificate rejected, keeping the previous one")
        )
        assert await served(service) == good.certificate.x509_certificate.serial_number
        assert (await service.post(REVIEW))[0] == 200
        assert (
            await service.metric(
                'boundtoken_certificate_rotations_total{kind="leaf",result="refused"}'
            )
            == refused + 1
        )
        assert "PRIVATE" not in json.dumps(service.lines)


async def test_a_chain_as_cert_manager_writes_it_is_served_and_swapped(tmp_path: Path) -> None:
    root = an_authority(tmp_path)
    first, second = (
        KeyPair(leaf.certificate, leaf.key, (root.certificate,))
        for leaf in (a_leaf(root), a_leaf(root))
    )
    write_pair(tmp_path, first)
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        assert await served(service) == first.certificate.x509_certificate.serial_number
        write_pair(tmp_path, second)
        await eventually(lambda: len(service.log_lines("certificate in use")) == 2)
        assert await served(service) == second.certificate.x509_certificate.serial_number


async def test_what_is_served_is_shown_and_a_key_in_the_same_file_is_not(tmp_path: Path) -> None:
    leaf = a_leaf(an_authority(tmp_path))
    write_texts(tmp_path, leaf.key + leaf.certificate.pem, leaf.key)
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(service.url + "/certificate", ssl=service.trust()) as answer:
            assert (answer.status, await answer.read()) == (200, leaf.certificate.pem)
        assert (await service.post(b"", path="/certificate"))[0] == 405


async def test_an_expired_certificate_is_still_served_and_an_error_is_logged(
    tmp_path: Path,
) -> None:
    root = an_authority(tmp_path)
    write_pair(tmp_path, a_leaf(root, life=timedelta(seconds=-60)))
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
            await service.connect()
        await eventually(lambda: service.log_lines("certificate is about to expire"))
        assert (
            await service.metric(
                'boundtoken_certificate_rotations_total{kind="leaf",result="overdue"}'
            )
            >= 1
        )


def test_no_older_tls_is_offered() -> None:
    assert LiveCertificate().context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_are_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with running(tmp_path) as service:
        trust = service.trust()
        trust.minimum_version = trust.maximum_version = version
        _, writer = await asyncio.open_connection("localhost", service.port, ssl=trust)
        tls = writer.get_extra_info("ssl_object")
        assert tls.version() == version.name.replace("TLSv1_", "TLSv1.")
        assert isinstance(certificate_of(tls).public_key(), ec.EllipticCurvePublicKey)
        writer.close()


def test_openssl_verifies_the_ephemeral_certificate(tmp_path: Path) -> None:
    with running_process(tmp_path) as server:
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{server.port}",
            "-servername",
            "localhost",
            "-verify_return_error",
        ]
        command += ["-CAfile", str(tmp_path / "ca.crt"), "-verify_hostname", "localhost"]
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert "Verify return code: 0 (ok)" in result.stdout
        assert server.process.poll() is None


async def test_a_drain_fails_no_request_on_old_or_new_connections(tmp_path: Path) -> None:
    with running_process(tmp_path, "--drain-seconds", "2") as server:
        trust = server.trust()
        url, body, kind = (
            f"{server.url}/mutate",
            json.dumps(REVIEW),
            {"Content-Type": "application/json"},
        )
        closed = 0
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=body, headers=kind, ssl=trust) as answer:
                assert answer.headers.get("Connection") != "close"
            server.process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            while time.monotonic() - begun < 1.8:
                async with session.post(url, data=body, headers=kind, ssl=trust) as answer:
                    assert answer.status == 200
                    closed += answer.headers.get("Connection") == "close"
                await asyncio.sleep(0.02)
            async with session.get(f"http://127.0.0.1:{server.plain}/readyz") as answer:
                assert (answer.status, await answer.text()) == (503, "not ready: draining\n")
        assert closed > 20
        assert server.process.wait(60) == 0


async def test_a_log_that_nobody_reads_any_more_stops_no_review(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with running_process(tmp_path, output=writer) as server:
        os.close(writer)
        os.close(reader)
        trust = server.trust()
        kind = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                url = f"{server.url}/mutate"
                async with session.post(
                    url, data=json.dumps(REVIEW), headers=kind, ssl=trust
                ) as answer:
                    assert answer.status == 200


def test_a_signal_is_heard_while_modules_are_still_imported(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "webhook",
        "serve",
        "--standalone",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        next(line for line in started.stderr if "uvloop" in line)
        started.send_signal(signal.SIGTERM)
        started.stderr.read()
        assert started.wait(8) == 128 + signal.SIGTERM


def test_a_second_signal_ends_the_drain_at_once(tmp_path: Path) -> None:
    with running_process(tmp_path, "--drain-seconds", "60") as server:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(8) == 0
