"""The configuration's part of what the API server enforces, as annotations of the policy bindings;
and what differs there.

The policies read these (`policies.manifests`). A digest over all of them tells apart what somebody
has changed by hand from what another replica has written, whose configuration is older or newer
than ours.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from ...core import names
from ...core.policy import ClusterPolicy

State = Literal["in-sync", "of-another", "changed"]
"""What the annotations are: ours, those of another configuration whole, or no configuration's."""


def annotations(cluster: ClusterPolicy) -> dict[str, str]:
    """What the bindings must say; what is missing in it must not be there."""
    locks, exempt = cluster.locks, cluster.exemptions
    lock, floor_maximum = locks.max_expiration_seconds, cluster.enforce_floor_max_expiration_seconds
    wanted = {
        names.ENFORCE_FLOOR: cluster.enforce_floor,
        names.ENFORCE_FLOOR_MAX_EXPIRATION_SECONDS: None
        if floor_maximum is None
        else str(floor_maximum),
        names.MAX_EXPIRATION_SECONDS: None
        if lock == names.MAX_EXPIRATION_SECONDS_LIMIT
        else str(lock),
        names.ALLOWED_AUDIENCES: None
        if locks.allowed_audiences is None
        else _listed(locks.allowed_audiences),
        names.API_AUDIENCES: _listed(cluster.api_audiences),
        names.EXCLUDED_NAMESPACES: _listed(cluster.excluded | {cluster.own_namespace}),
        names.EXEMPT_NAMESPACES: _listed(exempt.namespaces),
        names.EXEMPT_USERNAMES: _listed(exempt.usernames),
        names.EXEMPT_SERVICE_ACCOUNTS: _listed(exempt.service_accounts),
        names.EXEMPT_RUNTIME_CLASSES: _listed(exempt.runtime_classes),
        names.TOKEN_REQUESTS: cluster.token_requests,
        names.TOKEN_REQUESTS_MAX_EXPIRATION_SECONDS: str(
            cluster.token_requests_max_expiration_seconds
        ),
        names.LEGACY_SECRETS: cluster.legacy_secrets,
    }
    there = {name: text for name, text in wanted.items() if text is not None}
    return {**there, names.CONFIG_DIGEST: digest(there)}


def state(there: Mapping[str, str], wanted: Mapping[str, str]) -> State:
    """What a binding's annotations of our domain are."""
    if there == wanted:
        return "in-sync"
    rest = {name: text for name, text in there.items() if name != names.CONFIG_DIGEST}
    return "of-another" if there.get(names.CONFIG_DIGEST) == digest(rest) else "changed"


def changes(there: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """What makes them ours, as a merge patch of annotations; None takes one away."""
    return {**dict.fromkeys(name for name in there if name not in wanted), **wanted}


def _listed(items: Iterable[str]) -> str:
    return " ".join(sorted(items))


def digest(there: Mapping[str, str]) -> str:
    """16 hex digits that are the same for the same annotations, the digest itself left out."""
    return hashlib.sha256(msgspec.json.encode(sorted(there.items()))).hexdigest()[:16]
