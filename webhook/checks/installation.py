"""The checks of an installation, in the order in which they depend on each other."""

from . import (
    certificates,
    deployment,
    namespaces,
    policies,
    probes,
    replicas,
    rights,
    self_probes,
    server,
    service,
    webhooks,
)
from .facts import Installation
from .model import NOT_INSTALLED, Check, Finding, NotSeen

FIRST = frozenset({"api-server", "api-version", "clock", "deployment"})
"""The checks that tell something also where boundtoken is not installed."""


def checks(
    *, with_probes: bool = True, with_token: bool = False
) -> tuple[Check[Installation], ...]:
    """All of them; those that send requests in a dry run, and one that requests a token, only where
    they are to be.
    """
    found = (
        *server.checks(),
        *deployment.checks(),
        *service.checks(),
        *webhooks.checks(),
        *certificates.checks(),
        *policies.checks(),
        *rights.checks(),
        *replicas.checks(),
        *self_probes.checks(),
        *namespaces.checks(),
        *(probes.checks(with_token=with_token) if with_probes else ()),
    )
    return tuple(check if check.id in FIRST else _where_installed(check) for check in found)


def _where_installed(check: Check[Installation]) -> Check[Installation]:
    """The check, which is unknown where nothing of boundtoken is there: one of FIRST says so."""

    def judge(seen: Installation) -> Finding:
        if seen.is_absent:
            raise NotSeen(NOT_INSTALLED)
        return check.judge(seen)

    return check._replace(judge=judge)
