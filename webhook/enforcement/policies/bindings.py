"""The settings of the configuration that the API server enforces, as annotations of the policy
bindings.

The policies read these annotations (`policies.manifests`). A digest over all of them shows whether
they were edited by hand, or written by another replica with an older or newer configuration. The
binding for pods has the whole configuration besides, with which a replica starts if its own has
faults.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from ...core import names
from ...core.policy import ClusterPolicy

State = Literal["in-sync", "of-another", "changed"]
"""The state of the annotations: those of our configuration, those of another configuration, or
edited."""


def annotations(cluster: ClusterPolicy, configuration: str = "") -> dict[str, str]:
    """Return the annotations of our domain that a binding must have. No others may exist.

    `configuration` is the text of the file, which the binding for pods keeps.
    """
    locks, exempt = cluster.locks, cluster.exemptions
    lock, floor_maximum = locks.max_expiration_seconds, cluster.enforce_floor_max_expiration_seconds
    texts = {
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
        names.CONFIGURATION: configuration or None,
    }
    settings = {name: text for name, text in texts.items() if text is not None}
    return {**settings, names.CONFIG_DIGEST: digest(settings)}


def state(present: Mapping[str, str], desired: Mapping[str, str]) -> State:
    """Return the state of a binding's annotations of our domain."""
    if present == desired:
        return "in-sync"
    rest = {name: text for name, text in present.items() if name != names.CONFIG_DIGEST}
    return "of-another" if present.get(names.CONFIG_DIGEST) == digest(rest) else "changed"


def last_good(present: Mapping[str, str]) -> str:
    """Return the text of the configuration that a replica has written; empty if there is none, or
    if the annotations were edited since.
    """
    rest = {name: text for name, text in present.items() if name != names.CONFIG_DIGEST}
    is_written = present.get(names.CONFIG_DIGEST) == digest(rest)
    return present.get(names.CONFIGURATION, "") if is_written else ""


def changes(present: Mapping[str, str], desired: Mapping[str, str]) -> dict[str, str | None]:
    """Return the merge patch that makes the annotations ours. None removes an annotation."""
    return {**dict.fromkeys(name for name in present if name not in desired), **desired}


def _listed(items: Iterable[str]) -> str:
    return " ".join(sorted(items))


def digest(settings: Mapping[str, str]) -> str:
    """Return 16 hex digits that are the same for the same annotations without the digest."""
    return hashlib.sha256(msgspec.json.encode(sorted(settings.items()))).hexdigest()[:16]
