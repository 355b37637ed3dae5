"""Checks of the way from the API server to the replicas."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import msgspec

from ..core import names
from ..core.text import quote
from .deployment import labels_of, reachable
from .facts import Installation
from .model import (
    AGAIN,
    APPLY,
    Check,
    Finding,
    NotSeen,
    all_of,
    failed,
    listed,
    passed,
    there,
    warning,
)
from .objects import Deployment, IngressRule
from .shipped import LABELS, PORT

GROUP = "Service"
SELECTOR = "Give it the selector of the manifests again."
"""The cure of another one: an apply does not remove what somebody else added."""
PORT_NAME = "tls"
"""Of the container's port (manifests/40-deployment.yaml)."""
EXAMPLES: dict[int, tuple[Any, ...]] = {
    4: tuple(map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))),
    6: (IPv6Network("2001:db8::/32"),),
}
"""Addresses of documentation, which nobody has (RFC 5737, RFC 3849)."""
ADDRESSES = (
    "Put the addresses from which your API servers call webhooks in place of those of the component "
    "control-plane-only (networkPolicy.controlPlane of the chart): nobody has them, so that no review arrives."
)


def service(seen: Installation) -> Finding:
    title, apply = f"service/{names.APP}", APPLY
    if seen.service is None:
        return failed(f"there is no {title} in namespace {seen.own}", apply)
    spec = there(seen.service).spec
    ports = [port for port in spec.ports or () if port.port == PORT]
    if not ports:
        return failed(f"{title} has no port {PORT}, which the API server calls", apply)
    if ports[0].target_port not in (PORT, PORT_NAME):
        target = quote(str(ports[0].target_port))
        return failed(f"{title} leads to port {target}, and the replicas answer at {PORT}", apply)
    labels = labels_of(seen)
    if not spec.selector:
        text = f"{title} has no selector, so nobody keeps its endpoints"
        return failed(text, *_selecting(seen), cure=SELECTOR)
    if not spec.selector.items() <= labels.items():
        text = ",".join(f"{key}={value}" for key, value in spec.selector.items())
        text = f"{title} selects {text}, which the replicas have not"
        return failed(text, *_selecting(seen), cure=SELECTOR)
    return passed(f"{title}, port {PORT}")


def _selecting(seen: Installation) -> tuple[str, ...]:
    """The command that gives the Service its selector again: an apply takes out no label that
    somebody else added. That of an overlay may be another where the replicas have other labels.
    """
    if not LABELS.items() <= labels_of(seen).items():
        return (APPLY,)
    operation = {"op": "add", "path": "/spec/selector", "value": LABELS}
    patch = msgspec.json.encode([operation]).decode()
    return (f"kubectl patch service/{names.APP} -n {seen.own} --type=json -p '{patch}'",)


def endpoints(seen: Installation) -> Finding:
    """Whether the Service has an endpoint for each ready replica."""
    there(seen.service, f"service/{names.APP}")
    ready = sum(one.ready for one in there(seen.slices))
    pods = sum(replica.is_ready for replica in there(seen.replicas))
    command = f"kubectl get endpointslices -n {seen.own} -l kubernetes.io/service-name={names.APP}"
    if not ready and (cause := _cause(seen)):
        raise NotSeen(cause)
    if not ready:
        why = "no replica is ready" if not pods else f"although {pods} replicas are ready"
        return failed(f"the Service has no ready endpoint, {why}", command)
    if ready < pods:
        return warning(f"{ready} ready endpoints for {pods} ready replicas", command)
    return passed(f"{ready} ready")


def _cause(seen: Installation) -> str:
    """Why there can be no ready endpoint, where another check has told it already."""
    if service(seen).status == "failed":
        return "there can be none while the check of the Service fails"
    deployment = seen.deployment
    is_none_ready = isinstance(deployment, Deployment) and deployment.status.ready_replicas == 0
    return "there can be none while no replica is ready" if is_none_ready else ""


def network_policies(seen: Installation) -> Finding:
    """Whether the NetworkPolicies of the namespace let the TLS port be reached."""
    selecting = [one for one in there(seen.network_policies) if one.selects(labels_of(seen))]
    # Policies add up: one that allows it is enough.
    rules = [rule for one in selecting for rule in one.allowing(PORT, PORT_NAME)]
    if examples := _examples(rules):
        text = f"port {PORT} may be reached from {listed(examples, ', ')}"
        return warning(f"{text}: addresses for documentation (RFC 5737, RFC 3849)", cure=ADDRESSES)
    if rules or not selecting:
        return passed(f"port {PORT} may be reached")
    titles = [f"networkpolicy/{one.metadata.name} does not allow port {PORT}" for one in selecting]
    return all_of(titles, APPLY)


def _examples(rules: Iterable[IngressRule]) -> list[str]:
    """The ranges of the rules that are addresses of documentation."""
    blocks = [peer.ip_block for rule in rules for peer in rule.peers or ()]
    ranges = [block.cidr for block in blocks if block is not None]
    return list(dict.fromkeys(filter(_is_example, ranges)))


def _is_example(cidr: str) -> bool:
    try:
        given = ip_network(cidr, strict=False)
    except ValueError:
        return False
    # Of the two versions of addresses neither is comparable with the other.
    return any(given.subnet_of(one) for one in EXAMPLES[given.version])


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "service",
        GROUP,
        "the Service leads to the replicas",
        AGAIN,
        service,
    )
    yield Check(
        "endpoints",
        GROUP,
        "the Service has ready endpoints",
        "A replica that is ready gets an endpoint within seconds: look at the controllers.",
        endpoints,
    )
    yield Check(
        "reachable",
        GROUP,
        "the API server reaches each replica",
        f"Let the control plane reach port {PORT} of the pods: NetworkPolicies, firewalls, routes.",
        reachable,
    )
    yield Check(
        "network-policies",
        GROUP,
        "no NetworkPolicy closes the TLS port",
        f"Let one of them allow TCP port {PORT}, as the one that is installed with boundtoken does.",
        network_policies,
    )
