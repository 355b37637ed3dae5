"""`boundtoken certs show`: what is where, what each replica serves, and what will happen next and
when.
"""

import argparse
import asyncio
import json
import sys
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ..errors import ApiError, BadCertificate
from ..pki import bundle as bundles
from ..pki import lifecycle, replicas
from ..pki.bundle import Bundle
from ..pki.lifecycle import Lifetimes
from ..pki.pem import Certificate, Certificates
from ..pki.replicas import Replica
from ..pki.store import KINDS, SECRET, CaBundles, CaSecret, Store
from .certs import look, read_lifetimes, with_store

Report = dict[str, Any]


def show(parsed: argparse.Namespace) -> int:
    """Print it. Exit 1 where something is not as it must be, 3 where the replicas could not be
    asked and all else is.
    """
    return asyncio.run(with_store(parsed, partial(_show, parsed=parsed)))


async def _show(store: Store, parsed: argparse.Namespace) -> int:
    trust, held, bundle = await look(store)
    now = store.client.now()
    lifetimes = await read_lifetimes(store)
    serving: list[Replica] | None = None
    try:
        serving = await replicas.ask(store.client, store.namespace)
    except ApiError as problem:
        print(f"boundtoken: the replicas could not be asked: {problem}", file=sys.stderr)
    report = _report(trust, held, bundle, serving, lifetimes=lifetimes, now=now)
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report, now, store.namespace)
    if not report["ok"]:
        return 1
    return 0 if serving is not None else 3


def _report(
    trust: list[CaBundles],
    held: CaSecret,
    bundle: Bundle | None,
    serving: list[Replica] | None,
    *,
    lifetimes: Lifetimes,
    now: datetime,
) -> Report:
    """What is where; `serving` None where nobody knows which replicas there are."""
    configurations = [_configuration(each, bundle) for each in trust]
    leaves = [_replica(each, trust, now) for each in serving or ()]
    runs = serving is None or bool(leaves)
    followed = bool(trust) and runs and all(leaf["trusted"] for leaf in leaves)
    by_us = (
        bundle is not None
        and bundle.current.certificate.is_valid(now)
        and all(each["inSync"] for each in configurations)
    )
    by_others = not held.version and bool(leaves)
    return {
        "ok": followed and (by_us or by_others),
        "secret": f"secret/{SECRET}",
        "problem": _problem(held),
        "authorities": _authorities(bundle) if bundle is not None else [],
        "configurations": configurations,
        "replicas": leaves if serving is not None else None,
        "next": _coming(trust, bundle, now, lifetimes),
    }


def _problem(held: CaSecret) -> str:
    if not held.version:
        return "is not there: no replica has made it yet, or others look after the certificates (--tls-cert)"
    try:
        bundles.from_data(held.data)
    except BadCertificate as problem:
        return str(problem)
    return ""


def _configuration(trust: CaBundles, bundle: Bundle | None) -> Report:
    return {
        "name": f"{KINDS[trust.resource].lower()}/{trust.name}",
        "webhooks": list(trust.entries),
        "inSync": bundle is not None
        and all(ca_bundle.pem == bundle.ca_bundle() for ca_bundle in trust.entries.values()),
        "authorities": len(trust.certificates()),
    }


def _replica(replica: Replica, trust: list[CaBundles], now: datetime) -> Report:
    """What one replica serves; trusted: whether what is published in every configuration verifies
    it now.
    """
    row: Report = {
        "name": replica.name,
        "ready": replica.ready,
        "trusted": False,
        "problem": replica.problem,
    }
    if not replica.chain:
        return row
    leaf = replica.chain[0]
    row["trusted"] = leaf.is_valid(now) and all(
        _verifies(ca_bundle.certificates, replica.chain)
        for each in trust
        for ca_bundle in each.entries.values()
    )
    return row | _dates(leaf) | {"renewAt": lifecycle.renewal_time(leaf, now).isoformat()}


def _verifies(authorities: Certificates, chain: Certificates) -> bool:
    return any(link.is_signed_by(ca) for ca in authorities for link in chain)


def _authorities(bundle: Bundle) -> list[Report]:
    rows = [("signs", bundle.current.certificate)]
    rows += [("next", bundle.next.certificate)] if bundle.next is not None else []
    rows += [("old", certificate) for certificate in bundle.old]
    return [{"role": role} | _dates(certificate) for role, certificate in rows]


def _dates(certificate: Certificate) -> Report:
    return {
        "fingerprint": certificate.fingerprint[:16],
        "notBefore": certificate.not_before.isoformat(),
        "notAfter": certificate.not_after.isoformat(),
    }


def _coming(
    trust: list[CaBundles], bundle: Bundle | None, now: datetime, lifetimes: Lifetimes
) -> Report:
    """The next step about the authorities, why, and when."""
    settled = bundle is not None and all(each.trusts(bundle.trusted()) for each in trust)
    step, reason = lifecycle.next_step(bundle, now, lifetimes, published=settled)
    when = now
    if step == "keep" and bundle is not None:
        step, reason, when = (
            "prepare",
            "the CA will have used two thirds of its life",
            lifecycle.renewal_time(bundle.current.certificate, now),
        )
        if bundle.next is not None:
            step, reason, when = (
                "promote",
                "as soon as every configuration is seen to trust the next CA",
                now,
            )
        elif bundle.retire_at is not None and bundle.retire_at < when:
            step, reason, when = (
                "retire",
                "no leaf of the old CA can be alive then",
                bundle.retire_at,
            )
    return {"step": step, "reason": reason, "at": when.isoformat()}


def _print(report: Report, now: datetime, namespace: str) -> None:
    print(" ".join(filter(None, (report["secret"], report["problem"]))))
    for each in report["authorities"]:
        print(f"  CA   {each['fingerprint']}  {each['role']:<5}  {_until(each, now)}")
    for each in report["configurations"]:
        said = "caBundle matches" if each["inSync"] else "caBundle is out of date"
        print(
            f"{each['name']}  {said}  ({', '.join(each['webhooks']) or 'no webhook of this namespace'})"
        )
    if not report["configurations"]:
        print("no webhook configuration is there: kubectl apply -k manifests")
    if report["replicas"] == []:
        print(
            f"no replica is running: kubectl get deployments,pods -n {namespace} -l app.kubernetes.io/name=boundtoken"
        )
    for each in report["replicas"] or ():
        print(
            f"pod/{each['name']}"
            + ("" if each["ready"] else "  not ready")
            + (f"  {each['problem']}" * bool(each["problem"]))
        )
        if not each["problem"]:
            said = "trusted" if each["trusted"] else "NOT trusted by what is published"
            print(
                f"  leaf {each['fingerprint']}  {said}  {_until(each, now)}, renewed at {each['renewAt'][:16]}Z"
            )
    print(
        f"next: {report['next']['step']} at {report['next']['at'][:16]}Z  ({report['next']['reason']})"
    )


def _until(each: Report, now: datetime) -> str:
    left = datetime.fromisoformat(each["notAfter"]) - now
    return f"until {each['notAfter'][:16]}Z  ({left / timedelta(days=1):.0f} days)"
