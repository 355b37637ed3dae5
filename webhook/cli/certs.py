"""`boundtoken certs init | show | rotate`: authorities in a cluster, and certificates in files for work on one machine.

In a cluster the replicas look after everything; these commands show it, begin it, or make the first CA by hand. In files
the CA's key is thrown away: whoever wants a new leaf makes both anew.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from .. import __version__
from ..cluster.client import ApiClient
from ..cluster.credentials import FromKubeconfig
from ..core import names
from ..errors import ApiError, BadCertificate, BadInput, Conflict, NotFound
from ..pki import authority, lifecycle
from ..pki import bundle as bundles
from ..pki.authority import KeyPair
from ..pki.bundle import Bundle
from ..pki.lifecycle import Lives
from ..pki.store import KINDS, SECRET, Held, Store, Trust

FILES = ("ca.crt", "tls.crt", "tls.key")
DAYS, MAX_DAYS = 365, 3650
LIVES = Lives()
ATTEMPTS = 5


class Files(msgspec.Struct, frozen=True):
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
    if parsed.renew or parsed.host or parsed.days != DAYS:
        raise BadInput("--renew, --host and --days go with --out; in a cluster boundtoken certs rotate makes a new CA")

    async def work(store: Store) -> int:
        await _into_cluster(store, parsed, now)
        return 0

    return asyncio.run(_with_store(parsed, work))


def good(bundle: Files, hosts: list[str], now: datetime) -> bool:
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


def _make(hosts: list[str], days: int, now: datetime) -> Files:
    life = timedelta(days=days)
    root = authority.make_authority("boundtoken", now, life)
    return Files(root.certificate, authority.issue(root, hosts, now, life))


def _into_files(parsed: argparse.Namespace, hosts: list[str], now: datetime) -> None:
    folder: Path = parsed.out
    paths = [folder / name for name in FILES]
    try:
        held = [path.read_bytes() if path.exists() else b"" for path in paths]
        keep = good(Files(held[0], KeyPair(held[1], held[2])), hosts, now) and not parsed.renew
        if not keep and not parsed.dry_run:
            made = _make(hosts, parsed.days, now)
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in zip(paths, (made.ca, made.leaf.certificate, made.leaf.key), strict=True):
                _write_file(path, content)
    except OSError as problem:
        raise BadInput(f"{problem.filename}: {problem.strerror}") from problem
    for path in paths:
        print(f"{path} {_did(keep=keep, new=True, dry_run=parsed.dry_run)}")


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
    trust, held, bundle = await _look(store)
    keep = bundle is not None and lifecycle.is_valid(bundle.current, now)
    if bundle is None or not keep:
        seen = bundles.joined(*(pem for each in trust for pem in each.entries.values()))
        bundle = lifecycle.take("create", bundle, now, LIVES, bundles.ours(seen))
        await _write(store, bundle, held, dry_run=parsed.dry_run)
    print(f"secret/{SECRET} {_did(keep=keep, new=not held.version, dry_run=parsed.dry_run)}")
    for each in trust:
        await store.publish(each, bundle.trusted(), dry_run=parsed.dry_run)
        entries = ", ".join(each.entries)
        print(f"{KINDS[each.resource].lower()}/{each.name} caBundle set on {entries}" + " (dry run)" * parsed.dry_run)


def show(parsed: argparse.Namespace) -> int:
    """What is where, and what will happen next. Exit 1 where something is not as it must be."""
    return asyncio.run(_with_store(parsed, partial(_show, parsed=parsed, now=datetime.now(UTC))))


async def _show(store: Store, parsed: argparse.Namespace, now: datetime) -> int:
    trust, held, bundle = await _look(store)
    report = _report(trust, held, bundle, now)
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report, now)
    return 0 if report["ok"] else 1


def _report(trust: list[Trust], held: Held, bundle: Bundle | None, now: datetime) -> dict[str, Any]:
    problem = ""
    try:
        bundles.from_data(held.data)
    except BadCertificate as trouble:
        problem = str(trouble)
    trusted = bundle.trusted() if bundle is not None else b""
    settled = bool(trusted) and all(each.holds(trusted) for each in trust)
    step, reason = lifecycle.next_step(bundle, now, LIVES, published=settled)
    configurations = [
        {
            "name": f"{KINDS[each.resource].lower()}/{each.name}",
            "webhooks": list(each.entries),
            "inSync": bool(trusted) and all(pem == trusted for pem in each.entries.values()),
            "authorities": len({one for pem in each.entries.values() for one in bundles.certificates(pem)}),
        }
        for each in trust
    ]
    authorities = []
    if bundle is not None:
        authorities.append(_authority("signs", bundle.current.certificate))
        authorities += [_authority("next", bundle.next.certificate)] if bundle.next is not None else []
        authorities += [_authority("old", authority.pem(each)) for each in bundles.certificates(bundle.old)]
    when = now
    if step == "keep" and bundle is not None:
        step, reason, when = "prepare", "the CA will have used two thirds of its life", lifecycle.due(bundle.current, now)
        if bundle.next is not None:
            step, reason, when = "promote", "as soon as every configuration is seen to trust the next CA", now
        elif bundle.retire_at is not None and bundle.retire_at < when:
            step, reason, when = "retire", "no leaf of the old CA can be alive then", bundle.retire_at
    coming = {"step": step, "reason": reason, "at": when.isoformat()}
    return {
        "ok": step != "create" and bool(trust) and all(each["inSync"] for each in configurations),
        "secret": f"secret/{SECRET}",
        "problem": problem,
        "authorities": authorities,
        "configurations": configurations,
        "next": coming,
    }


def _authority(role: str, pem: bytes) -> dict[str, Any]:
    held = authority.read_certificate(pem)
    return {
        "role": role,
        "fingerprint": held.fingerprint(hashes.SHA256()).hex()[:16],
        "notBefore": held.not_valid_before_utc.isoformat(),
        "notAfter": held.not_valid_after_utc.isoformat(),
    }


def _print(report: dict[str, Any], now: datetime) -> None:
    print(report["secret"] + (f"  {report['problem']}" if report["problem"] else ""))
    for each in report["authorities"]:
        days = (datetime.fromisoformat(each["notAfter"]) - now) / timedelta(days=1)
        print(f"  CA {each['fingerprint']}  {each['role']:<5}  until {each['notAfter'][:16]}Z  ({days:.0f} days)")
    for each in report["configurations"]:
        said = "trusts exactly these" if each["inSync"] else "does NOT trust exactly these; replicas repair it"
        print(f"{each['name']}  {said}  ({', '.join(each['webhooks'])})")
    if not report["configurations"]:
        print("no webhook configuration is there: kubectl apply -k manifests")
    print(f"next: {report['next']['step']} at {report['next']['at'][:16]}Z  ({report['next']['reason']})")


def rotate(parsed: argparse.Namespace) -> int:
    """Begin a hand-over to a new CA now; the replicas carry it through."""
    return asyncio.run(_with_store(parsed, partial(_rotate, parsed=parsed)))


async def _rotate(store: Store, parsed: argparse.Namespace) -> int:
    for _ in range(ATTEMPTS):
        _, held, bundle = await _look(store)
        if bundle is None:
            raise BadInput(f"secret/{SECRET}: there is no CA to hand over from; boundtoken certs init makes one")
        if bundle.next is None:
            wanted = lifecycle.take("prepare", bundle, datetime.now(UTC), LIVES)
            try:
                await _write(store, wanted, held, dry_run=parsed.dry_run)
            except Conflict:
                continue
        else:
            wanted = bundle
        assert wanted.next is not None  # noqa: S101
        print(f"secret/{SECRET} {'holds' if bundle.next else 'got'} a next CA" + " (dry run)" * parsed.dry_run)
        return await _wait(store, wanted.next.certificate, parsed.timeout) if parsed.wait and not parsed.dry_run else 0
    raise ApiError(f"secret/{SECRET} is written without pause by others; try again")


async def _wait(store: Store, coming: bytes, seconds: float) -> int:
    """Until the new CA signs and every configuration trusts it."""
    deadline = time.monotonic() + seconds
    told = ""
    while time.monotonic() < deadline:
        trust, _, bundle = await _look(store)
        signs = bundle is not None and bundle.current.certificate == coming
        trusted = bool(trust) and all(each.holds(coming) for each in trust)
        state = "the new CA signs" if signs else "every configuration trusts the new CA" if trusted else "publishing the new CA"
        if state != told:
            print(state, flush=True)
            told = state
        if signs and trusted:
            return 0
        await asyncio.sleep(0.3)
    raise ApiError(f"not done after {seconds:.0f} seconds: are replicas running? boundtoken certs show")


async def _with_store(parsed: argparse.Namespace, work: Callable[[Store], Awaitable[int]]) -> int:
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        return await work(Store(client, parsed.namespace or names.NAMESPACE, (names.APP,)))


async def _look(store: Store) -> tuple[list[Trust], Held, Bundle | None]:
    trust, held = await store.trust(), await store.held()
    try:
        return trust, held, bundles.from_data(held.data)
    except BadCertificate:
        return trust, held, None


async def _write(store: Store, bundle: Bundle, held: Held, *, dry_run: bool) -> None:
    try:
        await store.write(bundle, held.version, dry_run=dry_run)
    except NotFound as problem:
        text = f"namespace {store.namespace} is not there: install the manifests first, kubectl apply -k manifests"
        raise BadInput(text) from problem


def _did(*, keep: bool, new: bool, dry_run: bool) -> str:
    return ("kept" if keep else "created" if new else "replaced") + " (dry run)" * dry_run
