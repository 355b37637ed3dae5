"""`boundtoken certs init | rotate`: CAs in a cluster, and certificates in files for development.

In a cluster the replicas keep the certificates; these commands create the first CA, or begin a
rotation. In files the CA's key is not kept: a new leaf needs a new CA.
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
from ..pki import authority, ca_secret, lifecycle, replicas
from ..pki.ca_secret import CertificateAuthorities
from ..pki.lifecycle import Lifetimes
from ..pki.pem import Certificate, KeyPair, read_certificates, read_key_pair, read_private_key
from ..pki.store import KINDS, SECRET, CaBundles, CaSecret, Store
from .cluster import own_namespace

FILES = ("ca.crt", "tls.crt", "tls.key")
DAYS, MAX_DAYS = 365, 3650
ATTEMPTS = 5
_OF_CERTIFICATES = ("ca_duration", "leaf_duration", "tls_cert", "tls_key")
DONE = "every replica serves a leaf of the new CA"


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


class ClusterState(msgspec.Struct, frozen=True):
    """What the cluster stores. `authorities` is None if the Secret holds no usable CA, and then
    `problem` says why.
    """

    configurations: list[CaBundles]
    secret: CaSecret
    authorities: CertificateAuthorities | None
    problem: str = ""


class Deployed(msgspec.Struct, frozen=True):
    """What the Deployment says of certificates: the lifetimes of those that the replicas make, and
    whether they are given one instead, which others renew and publish; `is_seen` is whether it is
    there.
    """

    lifetimes: Lifetimes = Lifetimes()
    brings_certificate: bool = False
    is_seen: bool = True


class Files(msgspec.Struct, frozen=True):
    """A CA's certificate and a leaf with its key."""

    ca: Certificate
    leaf: KeyPair


def init(parsed: argparse.Namespace) -> int:
    """Create what is missing, in files or in the cluster."""
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
            "--renew, --host and --days go with --out; in a cluster boundtoken certs rotate creates a new CA"
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
    ca = authority.make_authority(ca_secret.COMMON_NAME, now, lifetime)
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
        print(f"{path} {_action(keep=keep, new=True, dry_run=parsed.dry_run)}")


def read_files(folder: Path) -> Files | None:
    """The files in this folder, or None if one is missing or does not hold what it should."""
    ca, certificate, key = (folder / name for name in FILES)
    try:
        leaf = read_key_pair(certificate.read_bytes(), key.read_bytes())
        read_private_key(leaf)
        return Files(read_certificates(ca.read_bytes())[0], leaf)
    except (BadCertificate, FileNotFoundError, NotADirectoryError):
        return None


def _write_file(path: Path, content: bytes) -> None:
    """Write the whole file or nothing; only its owner can read a key."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    if path.suffix == ".crt":
        new.chmod(0o644)
    new.replace(path)


async def _into_cluster(store: Store, parsed: argparse.Namespace, now: datetime) -> None:
    """Do what the first replica would do: a CA that is valid is not replaced."""
    state = await read_state(store)
    deployed = await _deployed_with_own(store)
    if not deployed.is_seen:
        _refuse_others(state, store)
    authorities = state.authorities
    keep = authorities is not None and authorities.current.certificate.is_valid(now)
    if authorities is None or not keep:
        in_use = ca_secret.made_by_us(
            certificate
            for configuration in state.configurations
            for certificate in configuration.certificates()
        )
        authorities = lifecycle.apply_step("create", authorities, now, deployed.lifetimes, in_use)
        await _write(store, authorities, state.secret, dry_run=parsed.dry_run)
    action = _action(keep=keep, new=not state.secret.version, dry_run=parsed.dry_run)
    print(f"secret/{SECRET} in namespace {store.namespace} {action}")
    for configuration in state.configurations:
        await store.apply_ca_bundle(configuration, authorities.ca_bundle(), dry_run=parsed.dry_run)
        entries = ", ".join(configuration.entries)
        print(
            f"{KINDS[configuration.resource].lower()}/{configuration.name} caBundle set on {entries}"
            + " (dry run)" * parsed.dry_run
        )


def rotate(parsed: argparse.Namespace) -> int:
    """Begin a CA rotation now; the replicas carry it through."""
    return asyncio.run(with_store(parsed, partial(_rotate, parsed=parsed)))


async def _rotate(store: Store, parsed: argparse.Namespace) -> int:
    lifetimes = (await _deployed_with_own(store)).lifetimes
    for _ in range(ATTEMPTS):
        state = await read_state(store)
        authorities = state.authorities
        if authorities is None:
            raise BadInput(
                f"secret/{SECRET} in namespace {store.namespace}: there is no CA to rotate; "
                "boundtoken certs init creates one"
            )
        verb = "holds"
        if authorities.next is None:
            verb = "got"
            authorities = lifecycle.apply_step("prepare", authorities, datetime.now(UTC), lifetimes)
            try:
                await _write(store, authorities, state.secret, dry_run=parsed.dry_run)
            except Conflict:
                continue
        assert authorities.next is not None  # noqa: S101
        done = f"secret/{SECRET} in namespace {store.namespace} {verb} a next CA"
        print(done + " (dry run)" * parsed.dry_run)
        if not parsed.wait or parsed.dry_run:
            return 0
        return await _wait(store, authorities.next.certificate, float(parsed.timeout))
    raise ApiError(
        f"secret/{SECRET} was changed by others at each of {ATTEMPTS} attempts; try again"
    )


async def _wait(store: Store, new_ca: Certificate, seconds: float) -> int:
    """Wait until the new CA signs, every configuration trusts it, and every replica that is ready
    serves a leaf of it.
    """
    deadline = time.monotonic() + seconds
    printed = ""
    while time.monotonic() < deadline:
        progress = await _progress(store, new_ca)
        if progress != printed:
            print(progress, flush=True)
            printed = progress
        if progress == DONE:
            return 0
        await asyncio.sleep(0.3)
    raise ApiError(
        f"not done after {seconds:.0f} seconds, {printed or 'no progress was seen'}; see: boundtoken certs show"
    )


async def _progress(store: Store, new_ca: Certificate) -> str:
    """How far the rotation to this CA is, in words."""
    state = await read_state(store)
    if not state.configurations or not all(
        configuration.trusts((new_ca,)) for configuration in state.configurations
    ):
        return "publishing the new CA"
    if state.authorities is None or state.authorities.current.certificate != new_ca:
        return "every configuration trusts the new CA"
    pods = await replicas.fetch(store.client, store.namespace)
    ready = [replica for replica in pods if replica.ready]
    late = [replica for replica in ready if not replica.is_signed_by(new_ca)]
    if not ready:
        return "the new CA signs, and no replica is ready"
    if late:
        why = f": {late[0].problem}" if late[0].problem else ""
        return f"the new CA signs, waiting for {len(late)} of {len(ready)} replicas, first {late[0].name}{why}"
    return DONE


async def with_store(
    parsed: argparse.Namespace, work: Callable[[Store], Awaitable[int]], *, writes: bool = True
) -> int:
    """What `work` gives for the store in the namespace that the command line names, else where
    boundtoken is installed, else, if it `writes`, in the usual one.
    """
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        default = names.NAMESPACE if writes else ""
        namespace = await own_namespace.find(client, parsed.namespace, default=default)
        return await work(Store(client, namespace, (names.APP,)))


def _refuse_others(state: ClusterState, store: Store) -> None:
    """Where no Deployment tells who keeps the certificates. A name is no sign: the CA of the
    component cert-manager has that of ours.

    Raises: BadInput, if a caBundle has a CA that our Secret does not hold
    """
    ours = set(state.authorities.trusted() if state.authorities is not None else ())
    titles = [one.title for one in state.configurations if set(one.certificates()) - ours]
    if titles:
        raise BadInput(
            f"deployment/{names.APP} is not in namespace {store.namespace}, and only that tells who keeps the "
            f"certificates: the caBundle of {' and '.join(titles)} has a CA that is not in secret/{SECRET}. Apply "
            "the installation again first, by kubectl apply -k OVERLAY or helm upgrade; if it is elsewhere, name "
            "its namespace with --namespace"
        )


async def _deployed_with_own(store: Store) -> Deployed:
    """What the Deployment says, where the replicas make their certificates.

    Raises: BadInput, if they make nothing, so that a CA of ours in the caBundles would only take
    out the one that is needed; what `read_deployed` raises
    """
    deployed = await read_deployed(store)
    if deployed.brings_certificate:
        raise BadInput(
            f"deployment/{names.APP}: the replicas are given their certificate (--tls-cert). Whoever "
            "makes it renews it and writes the caBundle; with cert-manager: kubectl get certificates "
            f"-n {store.namespace}"
        )
    return deployed


async def read_deployed(store: Store) -> Deployed:
    """What the flags and variables of the replicas' Deployment say, else the defaults.

    Raises: ApiError, if it cannot be read; BadInput, if a replica would refuse its values
    """
    path = f"/apis/apps/v1/namespaces/{store.namespace}/deployments/{names.APP}"
    try:
        spec = decode(_DEPLOYMENT, await store.client.get(path)).spec.template.spec
    except NotFound:
        return Deployed(is_seen=False)
    containers = [container for container in spec.containers if container.name == names.APP]
    flags = options.given(containers[0].args) if containers else {}
    environ = (
        {variable.name: variable.value for variable in containers[0].env} if containers else {}
    )
    try:
        config = options.resolve({name: flags.get(name) for name in _OF_CERTIFICATES}, environ)
    except BadInput as problem:
        raise BadInput(
            *(f"deployment/{names.APP}: {fault}" for fault in problem.faults)
        ) from problem
    lifetimes = Lifetimes(config.ca_duration, config.leaf_duration)
    return Deployed(lifetimes, config.tls_cert is not None)


async def read_state(store: Store) -> ClusterState:
    """What the cluster stores now. Raises: ApiError."""
    configurations, secret = await store.read_ca_bundles(), await store.read_secret()
    try:
        return ClusterState(configurations, secret, ca_secret.from_data(secret.data))
    except BadCertificate as problem:
        return ClusterState(configurations, secret, None, str(problem))


async def _write(
    store: Store, authorities: CertificateAuthorities, secret: CaSecret, *, dry_run: bool
) -> None:
    try:
        await store.write(authorities, secret.version, dry_run=dry_run)
    except NotFound as problem:
        text = f"namespace {store.namespace} not found: install boundtoken first, or name its namespace with --namespace"
        raise BadInput(text) from problem


def _action(*, keep: bool, new: bool, dry_run: bool) -> str:
    return ("kept" if keep else "created" if new else "replaced") + " (dry run)" * dry_run
