"""`boundtoken certs init | rotate`: authorities in a cluster, and certificates in files for work on
one machine.

In a cluster the replicas look after everything; these commands begin it, or make the first CA by
hand. In files the CA's key is thrown away: whoever wants a new leaf makes both anew.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from .. import __version__, options
from ..cluster.client import ApiClient, decode
from ..cluster.credentials import FromKubeconfig
from ..core import names
from ..errors import ApiError, BadCertificate, BadInput, Conflict, NotFound
from ..pki import authority, lifecycle, replicas
from ..pki import bundle as bundles
from ..pki.bundle import Bundle
from ..pki.lifecycle import Lifetimes
from ..pki.pem import Certificate, KeyPair, read_certificates, read_key_pair, read_private_key
from ..pki.store import KINDS, SECRET, CaBundles, CaSecret, Store

FILES = ("ca.crt", "tls.crt", "tls.key")
DAYS, MAX_DAYS = 365, 3650
ATTEMPTS = 5
FOLLOWED = "every replica serves a leaf of the new CA"


class _Variable(msgspec.Struct):
    name: str
    value: str = ""


class _Container(msgspec.Struct):
    name: str
    args: list[str] = []
    env: list[_Variable] = []


class _PodSpec(msgspec.Struct):
    containers: list[_Container]


class _Template(msgspec.Struct):
    spec: _PodSpec


class _DeploymentSpec(msgspec.Struct):
    template: _Template


class _Deployment(msgspec.Struct):
    spec: _DeploymentSpec


_DEPLOYMENT = msgspec.json.Decoder(_Deployment)


class Files(msgspec.Struct, frozen=True):
    """A CA's certificate and a leaf with its key."""

    ca: Certificate
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
    if parsed.renew or parsed.host or parsed.days != DAYS:
        raise BadInput(
            "--renew, --host and --days go with --out; in a cluster boundtoken certs rotate makes a new CA"
        )

    async def work(store: Store) -> int:
        await _into_cluster(store, parsed, now)
        return 0

    return asyncio.run(with_store(parsed, work))


def is_reusable(files: Files, hosts: list[str], now: datetime) -> bool:
    """Whether the CA has signed the leaf, it names all hosts, and a third of its lifetime is
    left.
    """
    leaf = files.leaf.certificate
    return (
        leaf.is_signed_by(files.ca)
        and leaf.not_before <= now
        and leaf.not_after - now > (leaf.not_after - leaf.not_before) / 3
        and set(hosts) <= set(leaf.hosts)
    )


def _make(hosts: list[str], days: int, now: datetime) -> Files:
    lifetime = timedelta(days=days)
    ca = authority.make_authority("boundtoken", now, lifetime)
    return Files(ca.certificate, authority.issue(ca, hosts, now, lifetime))


def _into_files(parsed: argparse.Namespace, hosts: list[str], now: datetime) -> None:
    folder: Path = parsed.out
    paths = [folder / name for name in FILES]
    try:
        files = read_files(folder)
        keep = files is not None and is_reusable(files, hosts, now) and not parsed.renew
        if not keep and not parsed.dry_run:
            files = _make(hosts, parsed.days, now)
            folder.mkdir(parents=True, exist_ok=True)
            contents = (files.ca.pem, files.leaf.certificate.pem, files.leaf.key)
            for path, content in zip(paths, contents, strict=True):
                _write_file(path, content)
    except OSError as problem:
        raise BadInput(f"{problem.filename}: {problem.strerror}") from problem
    for path in paths:
        print(f"{path} {_did(keep=keep, new=True, dry_run=parsed.dry_run)}")


def read_files(folder: Path) -> Files | None:
    """What is in this folder; None if a file is missing or cannot be read as what it should be."""
    ca, certificate, key = (folder / name for name in FILES)
    try:
        leaf = read_key_pair(certificate.read_bytes(), key.read_bytes())
        read_private_key(leaf)
        return Files(read_certificates(ca.read_bytes())[0], leaf)
    except (BadCertificate, FileNotFoundError, NotADirectoryError):
        return None


def _write_file(path: Path, content: bytes) -> None:
    """Whole or not at all, and the key for its owner only."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    if path.suffix == ".crt":
        beside.chmod(0o644)
    beside.replace(path)


async def _into_cluster(store: Store, parsed: argparse.Namespace, now: datetime) -> None:
    """What the first replica would do: nothing that is good is replaced."""
    trust, held, bundle = await look(store)
    lives = await read_lifetimes(store)
    keep = bundle is not None and bundle.current.certificate.is_valid(now)
    if bundle is None or not keep:
        seen = [certificate for each in trust for certificate in each.certificates()]
        bundle = lifecycle.apply_step("create", bundle, now, lives, bundles.ours(seen))
        await _write(store, bundle, held, dry_run=parsed.dry_run)
    print(f"secret/{SECRET} {_did(keep=keep, new=not held.version, dry_run=parsed.dry_run)}")
    for each in trust:
        await store.apply_ca_bundle(each, bundle.ca_bundle(), dry_run=parsed.dry_run)
        entries = ", ".join(each.entries)
        print(
            f"{KINDS[each.resource].lower()}/{each.name} caBundle set on {entries}"
            + " (dry run)" * parsed.dry_run
        )


def rotate(parsed: argparse.Namespace) -> int:
    """Begin the rotation to a new CA now; the replicas carry it through."""
    return asyncio.run(with_store(parsed, partial(_rotate, parsed=parsed)))


async def _rotate(store: Store, parsed: argparse.Namespace) -> int:
    lives = await read_lifetimes(store)
    for _ in range(ATTEMPTS):
        _, held, bundle = await look(store)
        if bundle is None:
            raise BadInput(
                f"secret/{SECRET}: there is no CA to rotate; boundtoken certs init makes one"
            )
        if bundle.next is None:
            wanted = lifecycle.apply_step("prepare", bundle, datetime.now(UTC), lives)
            try:
                await _write(store, wanted, held, dry_run=parsed.dry_run)
            except Conflict:
                continue
        else:
            wanted = bundle
        assert wanted.next is not None  # noqa: S101
        print(
            f"secret/{SECRET} {'holds' if bundle.next else 'got'} a next CA"
            + " (dry run)" * parsed.dry_run
        )
        return (
            await _wait(store, wanted.next.certificate, parsed.timeout)
            if parsed.wait and not parsed.dry_run
            else 0
        )
    raise ApiError(f"secret/{SECRET} is written without pause by others; try again")


async def _wait(store: Store, coming: Certificate, seconds: float) -> int:
    """Until the new CA signs, every configuration trusts it, and every replica that is ready serves
    a leaf of it.
    """
    deadline = time.monotonic() + seconds
    told = ""
    while time.monotonic() < deadline:
        state = await _progress(store, coming)
        if state != told:
            print(state, flush=True)
            told = state
        if state == FOLLOWED:
            return 0
        await asyncio.sleep(0.3)
    raise ApiError(
        f"not done after {seconds:.0f} seconds, {told or 'nothing was seen'}; look with: boundtoken certs show"
    )


async def _progress(store: Store, coming: Certificate) -> str:
    trust, _, bundle = await look(store)
    if not trust or not all(each.trusts((coming,)) for each in trust):
        return "publishing the new CA"
    if bundle is None or bundle.current.certificate != coming:
        return "every configuration trusts the new CA"
    serving = [each for each in await replicas.ask(store.client, store.namespace) if each.ready]
    late = [each for each in serving if not each.is_signed_by(coming)]
    if not serving:
        return "the new CA signs, and no replica is ready"
    if late:
        why = f": {late[0].problem}" if late[0].problem else ""
        return f"the new CA signs, waiting for {len(late)} of {len(serving)} replicas, first {late[0].name}{why}"
    return FOLLOWED


async def with_store(parsed: argparse.Namespace, work: Callable[[Store], Awaitable[int]]) -> int:
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        return await work(Store(client, parsed.namespace or names.NAMESPACE, (names.APP,)))


async def read_lifetimes(store: Store) -> Lifetimes:
    """How long a CA and a leaf live that the replicas make: what their Deployment tells them, else
    the defaults.

    Raises: ApiError, where it cannot be read; BadInput, where it says what no replica would take
    """
    path = f"/apis/apps/v1/namespaces/{store.namespace}/deployments/{names.APP}"
    try:
        spec = decode(_DEPLOYMENT, await store.client.get(path)).spec.template.spec
    except NotFound:
        return Lifetimes()
    found = [each for each in spec.containers if each.name == names.APP]
    flags = options.given(found[0].args) if found else {}
    environ = {each.name: each.value for each in found[0].env} if found else {}
    try:
        told = options.resolve(
            {name: flags.get(name) for name in ("ca_duration", "leaf_duration")}, environ
        )
    except BadInput as problem:
        raise BadInput(
            *(f"deployment/{names.APP}: {fault}" for fault in problem.faults)
        ) from problem
    return Lifetimes(told.ca_duration, told.leaf_duration)


async def look(store: Store) -> tuple[list[CaBundles], CaSecret, Bundle | None]:
    trust, held = await store.read_ca_bundles(), await store.read_secret()
    try:
        return trust, held, bundles.from_data(held.data)
    except BadCertificate:
        return trust, held, None


async def _write(store: Store, bundle: Bundle, held: CaSecret, *, dry_run: bool) -> None:
    try:
        await store.write(bundle, held.version, dry_run=dry_run)
    except NotFound as problem:
        text = f"namespace {store.namespace} is not there: install the manifests first, kubectl apply -k manifests"
        raise BadInput(text) from problem


def _did(*, keep: bool, new: bool, dry_run: bool) -> str:
    return ("kept" if keep else "created" if new else "replaced") + " (dry run)" * dry_run
