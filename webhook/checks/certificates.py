"""Checks of the certificates: what the API server trusts, and what the replicas serve."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from .facts import NOT_LOOKED_AT, Installation, Replica, needs_proxy
from .model import Check, Finding, NotSeen, all_of, failed, is_name, passed, there, warning, worst
from .shipped import ENTRIES

GROUP = "Certificates"
SHOW = "boundtoken certs show"
LATE = timedelta(hours=1)
"""After the time at which a leaf is renewed: the replicas try again at least every half minute."""
LAST = 0.1
"""The share of the lifetime that a certificate of others has left at least: when they mean to renew
it is not known."""
OTHERS = (
    "The replicas are given theirs (--tls-cert), and whoever makes it keeps all of this: with "
    "cert-manager, look at kubectl get certificates, and at its cainjector."
)
INJECTORS = tuple(
    f"cert-manager.io/inject-{source}" for source in ("ca-from", "ca-from-secret", "apiserver-ca")
)
"""The annotations by which cert-manager's cainjector writes caBundles."""


def ca_bundles(seen: Installation) -> Finding:
    """Whether each entry has a caBundle that can verify anybody."""
    seen.entries()
    if not seen.ca_bundles:
        raise NotSeen("there is no entry of boundtoken")
    problems = [f"{one.entry}: {one.text}" for one in seen.ca_bundles if not one.is_usable]
    text = f"{len(seen.ca_bundles)} entries"
    if seen.brings_certificate:
        return _by_others(seen, all_of(problems, SHOW, text=text))
    missing = all_of(problems, SHOW, "boundtoken certs init", text=text)
    return worst(missing, *_other_writers(seen), text=text)


def _by_others(seen: Installation, finding: Finding) -> Finding:
    """The finding, with the cure that fits where the replicas keep nothing."""
    return finding._replace(cure=OTHERS) if seen.brings_certificate else finding


def _other_writers(seen: Installation) -> Iterator[Finding]:
    """The annotations that let somebody else write the caBundle that the replicas keep."""
    for resource in ENTRIES:
        for found in there(seen.configurations.get(resource, NOT_LOOKED_AT)):
            name, kind = found.metadata.name, resource.removesuffix("s")
            if not is_name(name) or not any(one.is_ours for one in found.webhooks or ()):
                continue
            for annotation in INJECTORS:
                if annotation in (found.metadata.annotations or {}):
                    yield failed(
                        f"{kind}/{name} has the annotation {annotation}: cert-manager and the "
                        "replicas overwrite each other's caBundle",
                        f"kubectl annotate {kind} {name} {annotation}-",
                        cure="Take the annotation away, or give the replicas cert-manager's "
                        "certificate (certs/README.md).",
                    )


def trust(seen: Installation) -> Finding:
    """Whether each caBundle verifies what each replica serves."""
    seen.entries()
    found = [_trust(replica, seen.own) for replica in seen.asking()]
    return _by_others(seen, worst(*found, text=f"each verifies {len(found)} replicas"))


def _trust(replica: Replica, own: str) -> Finding:
    if replica.is_forbidden:
        return Finding("unknown", needs_proxy(own))
    if replica.problem:
        return Finding("unknown", f"pod/{replica.name} could not be asked: {replica.problem}")
    if replica.distrusting:
        entries = ", ".join(replica.distrusting)
        return failed(f"pod/{replica.name} is not verified by the caBundle of {entries}", SHOW)
    return passed()


def leaves(seen: Installation) -> Finding:
    """The age of what the replicas serve."""
    found = [_leaf(replica, seen) for replica in seen.asking()]
    ends = [replica.not_after for replica in seen.asking() if replica.not_after is not None]
    return _by_others(seen, worst(*found, text=f"until {_day(min(ends))}" if ends else ""))


def _leaf(replica: Replica, seen: Installation) -> Finding:
    title, now = f"the certificate of pod/{replica.name}", seen.now
    if replica.is_forbidden:
        return Finding("unknown", needs_proxy(seen.own))
    if replica.not_after is None or replica.not_before is None:
        return Finding("unknown", f"{title} was not seen: {replica.problem}")
    if now >= replica.not_after:
        return failed(f"{title} expired at {_day(replica.not_after)}", SHOW)
    if now < replica.not_before:
        return failed(f"{title} is not valid before {_day(replica.not_before)}", SHOW)
    if text := _late(replica, seen, title):
        return warning(text, SHOW)
    return passed()


def _late(replica: Replica, seen: Installation, title: str) -> str:
    """That it should have been renewed, in words; empty where it need not be yet."""
    start, end = replica.not_before, replica.not_after
    if seen.brings_certificate and start and end:
        return f"{title} ends at {_day(end)}" if end - seen.now < (end - start) * LAST else ""
    if replica.renewal is not None and seen.now > replica.renewal + LATE:
        return f"{title} was to be renewed at {_day(replica.renewal)}"
    return ""


def authorities(seen: Installation) -> Finding:
    """The age of the authorities in the caBundles."""
    seen.entries()
    ends = [one.not_after for one in seen.ca_bundles if one.not_after is not None]
    if not ends:
        raise NotSeen("no caBundle has a certificate")
    return _by_others(seen, _age(min(ends), seen))


def _age(first: datetime, seen: Installation) -> Finding:
    if first <= seen.now:
        return failed(f"the last one of a caBundle expired at {_day(first)}", SHOW)
    if first - seen.now < timedelta(days=14):
        text = f"the last one of a caBundle expires at {_day(first)}"
        now = () if seen.brings_certificate else ("boundtoken certs rotate --wait",)
        return warning(text, SHOW, *now)
    return passed(f"until {_day(first)}")


def _day(time: datetime) -> str:
    return f"{time.isoformat(timespec='minutes').removesuffix('+00:00')}Z"


def checks() -> Iterator[Check[Installation]]:
    kept = "The replicas maintain it: look at their log, and at the Secret boundtoken-ca."
    yield Check(
        "ca-bundle",
        GROUP,
        "every webhook has a caBundle",
        kept,
        ca_bundles,
    )
    yield Check(
        "ca-bundle-trust",
        GROUP,
        "every caBundle verifies what the replicas serve",
        kept + " If others maintain the certificates, make sure that both come from one authority.",
        trust,
    )
    yield Check(
        "certificate-age",
        GROUP,
        "the replicas' certificates are valid",
        "A replica renews its own after two thirds of the lifetime: look at its log.",
        leaves,
    )
    yield Check(
        "ca-age",
        GROUP,
        "the certificate authorities are valid",
        "The replicas replace it in time: look at their log; boundtoken certs rotate starts now.",
        authorities,
    )
