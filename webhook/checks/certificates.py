"""Checks of the certificates: what the API server trusts, and what the replicas serve."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from ..core.text import quote
from .facts import NOT_LOOKED_AT, Installation, Replica, needs_proxy
from .model import (
    Check,
    Finding,
    NotSeen,
    all_of,
    failed,
    is_name,
    listed,
    passed,
    there,
    warning,
    worst,
)
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
UNKNOWN = "Bring the Deployment back first: only that tells whether the replicas keep all of this, or others."
ELSEWHERE = (
    "An overlay's `namespace:` does not reach the annotation and the dnsNames of the component cert-manager: copy it "
    "and certificate-from-secret into the overlay, as its kustomization.yaml says, write the namespace into both, and apply again."
)
"""The cure of an annotation that cert-manager follows to where no Certificate is."""
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
    if seen.deployed().brings_certificate:
        return _by_others(seen, all_of(problems, SHOW, text=text), *_elsewhere(seen))
    missing = all_of(problems, SHOW, "boundtoken certs init", text=text)
    return worst(missing, *_other_writers(seen), text=text)


def _by_others(seen: Installation, finding: Finding, *causes: str) -> Finding:
    """The finding, with the cure that fits where the replicas keep nothing, or may keep nothing;
    and with the causes, where it is one for which these others look elsewhere.
    """
    if seen.brings_certificate is None:
        return finding._replace(cure=UNKNOWN)
    if not seen.brings_certificate:
        return finding
    if finding.status != "failed" or not causes:
        return finding._replace(cure=OTHERS)
    command = f"kubectl get certificates -n {seen.own}"
    return failed(listed([*causes, finding.text]), SHOW, command, cure=ELSEWHERE)


def _elsewhere(seen: Installation) -> Iterator[str]:
    """The annotations by which cert-manager publishes the CA of a Certificate that is not ours."""
    for title, _, annotations in _annotated(seen):
        namespace, separator, _ = annotations.get(INJECTORS[0], "").partition("/")
        if separator and namespace != seen.own:
            yield (
                f"{title} has the annotation {INJECTORS[0]} for a Certificate in namespace "
                f"{quote(namespace)}, and boundtoken is in {seen.own}"
            )


def _other_writers(seen: Installation) -> Iterator[Finding]:
    """The annotations that let somebody else write the caBundle that the replicas keep."""
    for title, command, annotations in _annotated(seen):
        for annotation in INJECTORS:
            if annotation in annotations:
                yield failed(
                    f"{title} has the annotation {annotation}: cert-manager and the replicas "
                    "overwrite each other's caBundle",
                    f"{command} {annotation}-",
                    cure="Take the annotation away, or give the replicas cert-manager's "
                    "certificate (certs/README.md).",
                )


def _annotated(seen: Installation) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The title of each configuration of ours, how its annotations are changed, and these."""
    for resource in ENTRIES:
        for found in there(seen.configurations.get(resource, NOT_LOOKED_AT)):
            name, kind = found.metadata.name, resource.removesuffix("s")
            if is_name(name) and any(one.is_ours for one in found.webhooks or ()):
                annotations = found.metadata.annotations or {}
                yield f"{kind}/{name}", f"kubectl annotate {kind} {name}", annotations


def trust(seen: Installation) -> Finding:
    """Whether each caBundle verifies what each replica serves."""
    seen.entries()
    found = [_trust(replica, seen.own) for replica in seen.asking()]
    finding = worst(*found, text=f"each verifies {len(found)} replicas")
    return _by_others(seen, finding, *_elsewhere(seen))


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
    if seen.brings_certificate is not False and start and end:
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
        is_ours = seen.brings_certificate is False
        now = ("boundtoken certs rotate --wait",) if is_ours else ()
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
