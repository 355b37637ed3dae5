"""Checks of the certificates: what the API server trusts, and what the replicas serve."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from .facts import Installation, Replica, needs_proxy
from .model import Check, Finding, NotSeen, all_of, failed, passed, warning, worst

GROUP = "Certificates"
SHOW = "boundtoken certs show"
LATE = timedelta(hours=1)
"""After the time at which a leaf is renewed: the replicas try again at least every half minute."""


def ca_bundles(seen: Installation) -> Finding:
    """Whether each entry has a caBundle that can verify anybody."""
    seen.entries()
    if not seen.ca_bundles:
        raise NotSeen("there is no entry of boundtoken")
    problems = [f"{one.entry}: {one.text}" for one in seen.ca_bundles if not one.is_usable]
    return all_of(problems, SHOW, "boundtoken certs init", text=f"{len(seen.ca_bundles)} entries")


def trust(seen: Installation) -> Finding:
    """Whether each caBundle verifies what each replica serves."""
    seen.entries()
    found = [_trust(replica, seen.own) for replica in seen.asking()]
    return worst(*found, text=f"each verifies {len(found)} replicas")


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
    return worst(*found, text=f"until {_day(min(ends))}" if ends else "")


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
    if replica.renewal is not None and now > replica.renewal + LATE:
        return warning(f"{title} was to be renewed at {_day(replica.renewal)}", SHOW)
    return passed()


def authorities(seen: Installation) -> Finding:
    """The age of the authorities in the caBundles."""
    seen.entries()
    ends = [one.not_after for one in seen.ca_bundles if one.not_after is not None]
    if not ends:
        raise NotSeen("no caBundle has a certificate")
    if (first := min(ends)) <= seen.now:
        return failed(f"the last one of a caBundle expired at {_day(first)}", SHOW)
    if first - seen.now < timedelta(days=14):
        text = f"the last one of a caBundle expires at {_day(first)}"
        return warning(text, SHOW, "boundtoken certs rotate --wait")
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
