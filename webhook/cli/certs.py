"""`boundtoken certs init`: a CA and a leaf, into a cluster (Secret and caBundle) or into files.

The CA's key is thrown away: whoever wants a new leaf makes both anew. Running it again keeps what is good, so that an
interrupted run is mended by the next.
"""

import argparse
import asyncio
import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature

from .. import __version__
from ..cluster.client import APPLY_PATCH, ApiClient
from ..cluster.credentials import FromKubeconfig
from ..core import names
from ..errors import BadCertificate, BadInput, NotFound
from ..pki import authority
from ..pki.authority import KeyPair

SECRET = names.APP + "-tls"
FIELD_MANAGER = names.APP + "-certs"
FILES = ("ca.crt", "tls.crt", "tls.key")
MAX_DAYS = 3650


class Bundle(msgspec.Struct, frozen=True):
    """A CA's certificate and a leaf with its key."""

    ca: bytes
    leaf: KeyPair


def init(parsed: argparse.Namespace) -> int:
    """Make what is missing, and put it where it belongs."""
    if not 1 <= parsed.days <= MAX_DAYS:
        raise BadInput(f"--days={parsed.days}: must be from 1 to {MAX_DAYS}")
    namespace = parsed.namespace or names.NAMESPACE
    hosts = authority.service_hosts(names.APP, namespace) + (parsed.host or [])
    now = datetime.now(UTC)
    if parsed.out is not None:
        _into_files(parsed, [*hosts, "localhost", "127.0.0.1"], now)
        return 0
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    asyncio.run(_into_cluster(credentials, namespace, hosts, parsed, now))
    return 0


def good(bundle: Bundle, hosts: list[str], now: datetime) -> bool:
    """Whether the leaf is signed by the CA, carries all hosts, and has a third of its life before it."""
    try:
        leaf, _ = authority.read(bundle.leaf)
        ca = authority.read_certificate(bundle.ca)
        leaf.verify_directly_issued_by(ca)
    except (BadCertificate, ValueError, TypeError, InvalidSignature):
        return False
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    enough = leaf.not_valid_after_utc - now > life / 3
    return enough and leaf.not_valid_before_utc <= now and set(hosts) <= set(authority.hosts_of(leaf))


def _make(hosts: list[str], days: int, now: datetime) -> Bundle:
    life = timedelta(days=days)
    root = authority.make_authority("boundtoken", now, life)
    return Bundle(root.certificate, authority.issue(root, hosts, now, life))


def _into_files(parsed: argparse.Namespace, hosts: list[str], now: datetime) -> None:
    folder: Path = parsed.out
    paths = [folder / name for name in FILES]
    try:
        held = [path.read_bytes() if path.exists() else b"" for path in paths]
        keep = good(Bundle(held[0], KeyPair(held[1], held[2])), hosts, now) and not parsed.renew
        if not keep and not parsed.dry_run:
            made = _make(hosts, parsed.days, now)
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in zip(paths, (made.ca, made.leaf.certificate, made.leaf.key), strict=True):
                _write(path, content)
    except OSError as problem:
        raise BadInput(f"{problem.filename}: {problem.strerror}") from problem
    for path in paths:
        print(f"{path} {_did(keep=keep, new=True, dry_run=parsed.dry_run)}")


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and the key for its owner only."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    if path.suffix == ".crt":
        beside.chmod(0o644)
    beside.replace(path)


async def _into_cluster(
    credentials: FromKubeconfig, namespace: str, hosts: list[str], parsed: argparse.Namespace, now: datetime
) -> None:
    query = {"dryRun": "All"} if parsed.dry_run else {}
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        held, version = await _held(client, namespace)
        keep = held is not None and good(held, hosts, now) and not parsed.renew
        bundle = held if held is not None and keep else _make(hosts, parsed.days, now)
        if not keep:
            await _write_secret(client, namespace, bundle, version, query)
        print(f"secret/{SECRET} {_did(keep=keep, new=not version, dry_run=parsed.dry_run)}")
        published = await _publish(client, namespace, bundle.ca, query)
        print(
            f"mutatingwebhookconfiguration/{names.APP} caBundle set on {', '.join(published)}" + " (dry run)" * parsed.dry_run
        )


async def _held(client: ApiClient, namespace: str) -> tuple[Bundle | None, str]:
    """What the Secret holds, None where it is of no use; and its resource version, empty where there is none."""
    try:
        secret = msgspec.json.decode(await client.get(f"/api/v1/namespaces/{namespace}/secrets/{SECRET}"))
    except NotFound:
        return None, ""
    try:
        ca, certificate, key = (base64.b64decode((secret.get("data") or {}).get(name, "")) for name in FILES)
    except ValueError:
        return None, secret["metadata"]["resourceVersion"]
    return Bundle(ca, KeyPair(certificate, key)), secret["metadata"]["resourceVersion"]


async def _write_secret(client: ApiClient, namespace: str, bundle: Bundle, version: str, query: dict[str, str]) -> None:
    contents = zip(FILES, (bundle.ca, bundle.leaf.certificate, bundle.leaf.key), strict=True)
    metadata: dict[str, Any] = {"name": SECRET, "namespace": namespace, "labels": {"app.kubernetes.io/name": names.APP}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata,
        "data": {name: base64.b64encode(content).decode() for name, content in contents},
    }
    path = f"/api/v1/namespaces/{namespace}/secrets"
    try:
        if version:
            metadata["resourceVersion"] = version
            await client.send("PUT", f"{path}/{SECRET}", secret, query=query)
        else:
            await client.send("POST", path, secret, query=query)
    except NotFound as problem:
        raise BadInput(
            f"namespace {namespace} is not there: install the manifests first, kubectl apply -k manifests"
        ) from problem


async def _publish(client: ApiClient, namespace: str, ca: bytes, query: dict[str, str]) -> list[str]:
    """Apply the caBundle, and no other field, to every entry that calls our Service; gives their names."""
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{names.APP}"
    try:
        configuration = msgspec.json.decode(await client.get(path))
    except NotFound as problem:
        text = f"mutatingwebhookconfiguration {names.APP} is not there: install the manifests first, kubectl apply -k manifests"
        raise BadInput(text) from problem
    ours = list(_entries(configuration, namespace))
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": names.APP},
        "webhooks": [{"name": name, "clientConfig": {"caBundle": base64.b64encode(ca).decode()}} for name in ours],
    }
    forced = {"fieldManager": FIELD_MANAGER, "force": "true", **query}
    await client.send("PATCH", path, body, kind=APPLY_PATCH, query=forced)
    return ours


def _entries(configuration: dict[str, Any], namespace: str) -> Iterator[str]:
    for entry in configuration.get("webhooks") or ():
        service = entry["clientConfig"].get("service") or {}
        if (service.get("name"), service.get("namespace")) == (names.APP, namespace):
            yield entry["name"]


def _did(*, keep: bool, new: bool, dry_run: bool) -> str:
    return ("kept" if keep else "created" if new else "replaced") + " (dry run)" * dry_run
