"""`boundtoken certs show`: the CAs, the caBundles, the certificate of each replica, and what will
happen next and when.
"""

import argparse
import asyncio
import json
import sys
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ..errors import ApiError
from ..pki import lifecycle, replicas
from ..pki.ca_secret import CertificateAuthorities
from ..pki.lifecycle import Lifetimes
from ..pki.pem import Certificate, Certificates
from ..pki.replicas import Replica
from ..pki.store import KINDS, SECRET, CaBundles, Store
from .certs import ClusterState, Deployed, read_deployed, read_state, with_store

Report = dict[str, Any]
LEFT_OVER = (
    "is of no use to replicas that are given a certificate, and has the key of a CA: delete it when "
    "all of them are"
)
STATUS = {
    True: "caBundle matches",
    False: "caBundle is out of date",
    None: "caBundle has {} certificates",
}
"""Of a configuration, by whether its caBundles are in sync."""


def show(parsed: argparse.Namespace) -> int:
    """Print the report. Exit 1 if something is wrong, 3 if only the replicas cannot be
    queried.
    """
    return asyncio.run(with_store(parsed, partial(_show, parsed=parsed), writes=False))


async def _show(store: Store, parsed: argparse.Namespace) -> int:
    state = await read_state(store)
    now = store.client.now()
    deployed = await read_deployed(store)
    pods: list[Replica] | None = None
    try:
        pods = await replicas.fetch(store.client, store.namespace)
    except ApiError as problem:
        print(f"boundtoken: the replicas cannot be queried: {problem}", file=sys.stderr)
    report = _report(state, pods, deployed=deployed, now=now)
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report, now, store.namespace)
    if not report["ok"]:
        return 1
    return 0 if pods is not None else 3


def _report(
    state: ClusterState, pods: list[Replica] | None, *, deployed: Deployed, now: datetime
) -> Report:
    """The report as JSON; `pods` is None if the replicas cannot be queried. Where the replicas are
    given a certificate, it has no CAs and no next step: others keep them.
    """
    is_ours = not deployed.brings_certificate
    authorities = state.authorities if is_ours else None
    configurations = [
        _configuration(configuration, authorities, is_ours=is_ours)
        for configuration in state.configurations
    ]
    leaves = [
        _replica(replica, state.configurations, now, is_ours=is_ours) for replica in pods or ()
    ]
    all_trusted = (
        bool(state.configurations)
        and (pods is None or bool(leaves))
        and all(leaf["trusted"] for leaf in leaves)
    )
    kept_by_replicas = (
        authorities is not None
        and authorities.current.certificate.is_valid(now)
        and all(configuration["inSync"] for configuration in configurations)
    )
    return {
        "ok": all_trusted and (kept_by_replicas or not is_ours),
        "keptBy": "replicas" if is_ours else "others",
        "secret": f"secret/{SECRET}",
        "problem": _problem(state, is_ours=is_ours),
        "authorities": _authorities(authorities) if authorities is not None else [],
        "configurations": configurations,
        "replicas": leaves if pods is not None else None,
        "next": _next_step(state, now, deployed.lifetimes) if is_ours else None,
    }


def _problem(state: ClusterState, *, is_ours: bool) -> str:
    if not is_ours:
        return LEFT_OVER if state.secret.version else ""
    if not state.secret.version:
        return "not found: no replica has created it yet"
    return state.problem


def _configuration(
    configuration: CaBundles, authorities: CertificateAuthorities | None, *, is_ours: bool
) -> Report:
    """`inSync`: whether every caBundle has exactly these CAs; None where others write it."""
    pem = authorities.ca_bundle() if authorities is not None else None
    return {
        "name": f"{KINDS[configuration.resource].lower()}/{configuration.name}",
        "webhooks": list(configuration.entries),
        "inSync": pem is not None
        and all(ca_bundle.pem == pem for ca_bundle in configuration.entries.values())
        if is_ours
        else None,
        "authorities": len(configuration.certificates()),
    }


def _replica(
    replica: Replica, configurations: list[CaBundles], now: datetime, *, is_ours: bool
) -> Report:
    """What one replica serves. `trusted`: whether it is valid, and every caBundle verifies it. When
    others renew it is not known.
    """
    report: Report = {
        "name": replica.name,
        "ready": replica.ready,
        "trusted": False,
        "problem": replica.problem,
    }
    if not replica.chain:
        return report
    leaf = replica.chain[0]
    report["trusted"] = leaf.is_valid(now) and all(
        verifies(ca_bundle.certificates, replica.chain)
        for configuration in configurations
        for ca_bundle in configuration.entries.values()
    )
    renewal = lifecycle.renewal_time(leaf, now).isoformat() if is_ours else None
    return report | _dates(leaf) | {"renewAt": renewal}


def verifies(authorities: Certificates, chain: Certificates) -> bool:
    """Whether one of these authorities has signed the leaf or what follows it."""
    return any(certificate.is_signed_by(ca) for ca in authorities for certificate in chain)


def _authorities(authorities: CertificateAuthorities) -> list[Report]:
    rows = [("signs", authorities.current.certificate)]
    rows += [("next", authorities.next.certificate)] if authorities.next is not None else []
    rows += [("old", certificate) for certificate in authorities.old]
    return [{"role": role} | _dates(certificate) for role, certificate in rows]


def _dates(certificate: Certificate) -> Report:
    return {
        "fingerprint": certificate.fingerprint[:16],
        "notBefore": certificate.not_before.isoformat(),
        "notAfter": certificate.not_after.isoformat(),
    }


def _next_step(state: ClusterState, now: datetime, lifetimes: Lifetimes) -> Report:
    """The next step of the CAs, why, and when."""
    authorities = state.authorities
    published = authorities is not None and all(
        configuration.trusts(authorities.trusted()) for configuration in state.configurations
    )
    step, reason = lifecycle.next_step(authorities, now, lifetimes, published=published)
    when = now
    # Nothing is due now, so the report says what is due next.
    if step == "keep" and authorities is not None:
        step, reason, when = (
            "prepare",
            "the CA will have used two thirds of its lifetime",
            lifecycle.renewal_time(authorities.current.certificate, now),
        )
        if authorities.next is not None:
            step, reason, when = (
                "promote",
                "as soon as every configuration trusts the next CA",
                now,
            )
        elif authorities.retire_at is not None and authorities.retire_at < when:
            step, reason, when = (
                "retire",
                "every leaf of the old CA will have expired",
                authorities.retire_at,
            )
    return {"step": step, "reason": reason, "at": when.isoformat()}


def _print(report: Report, now: datetime, namespace: str) -> None:
    is_ours = report["keptBy"] == "replicas"
    if not is_ours:
        print("the certificates are kept by others: the replicas are given theirs (--tls-cert)")
    if is_ours or report["problem"]:
        print(" ".join(filter(None, (report["secret"], report["problem"]))))
    for ca in report["authorities"]:
        print(f"  CA   {ca['fingerprint']}  {ca['role']:<5}  {_until(ca, now)}")
    for configuration in report["configurations"]:
        status = STATUS[configuration["inSync"]].format(configuration["authorities"])
        webhooks = ", ".join(configuration["webhooks"])
        status = f"{status}  ({webhooks})" if webhooks else "calls no Service of this namespace"
        print(f"{configuration['name']}  {status}")
    if not report["configurations"]:
        print(
            "no webhook configuration found: apply the installation again, your overlay or helm upgrade"
        )
    if report["replicas"] == []:
        print(
            f"no replica is running: kubectl get deployments,pods -n {namespace} -l app.kubernetes.io/name=boundtoken"
        )
    _print_replicas(report, now)
    if not is_ours:
        return
    if not report["authorities"] and not report["replicas"]:
        print(f"boundtoken does not run in namespace {namespace}: install it, or give --namespace")
        return
    print(
        f"next: {report['next']['step']} at {report['next']['at'][:16]}Z  ({report['next']['reason']})"
    )


def _print_replicas(report: Report, now: datetime) -> None:
    for replica in report["replicas"] or ():
        print(
            f"pod/{replica['name']}"
            + ("" if replica["ready"] else "  not ready")
            + (f"  {replica['problem']}" * bool(replica["problem"]))
        )
        if not replica["problem"]:
            status = "trusted" if replica["trusted"] else "NOT trusted by the caBundles"
            renewal = f", renewed at {replica['renewAt'][:16]}Z" if replica["renewAt"] else ""
            print(f"  leaf {replica['fingerprint']}  {status}  {_until(replica, now)}{renewal}")


def _until(dates: Report, now: datetime) -> str:
    remaining = datetime.fromisoformat(dates["notAfter"]) - now
    return f"until {dates['notAfter'][:16]}Z  ({remaining / timedelta(days=1):.0f} days)"
