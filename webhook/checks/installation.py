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
from .model import Check


def checks(
    *, with_probes: bool = True, with_token: bool = False
) -> tuple[Check[Installation], ...]:
    """All of them; those that send requests in a dry run, and one that requests a token, only where
    they are to be.
    """
    return (
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
