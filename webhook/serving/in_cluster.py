"""What a replica does beside answering: it names leftovers, follows legacy tokens, takes out what
fails closed when its namespace is deleted, and asks for pods in dry runs.
"""

from collections.abc import Callable
from functools import partial

from ..cluster.client import ApiClient
from ..cluster.credentials import Credentials
from ..cluster.legacy_tokens import LegacyTokens
from ..log import Log
from ..options import Config
from .follow import follow_legacy_tokens
from .own_namespace import own_namespace_of
from .policy_bindings import log_leftover_labels
from .process import Loop
from .self_probe import self_probe_of


def loops_in_cluster(
    client: ApiClient,
    credentials: Credentials | None,
    config: Config,
    legacy_tokens: LegacyTokens,
    log: Log,
    *,
    unready: Callable[[], list[str]],
    draining: Callable[[], bool],
) -> list[Loop]:
    """The loops that the service must run; outside of the cluster those alone that need no rights
    of ours.
    """
    loops: list[Loop] = [partial(log_leftover_labels, client, log)]
    own = own_namespace_of(client, credentials, config, log)
    if own is not None:
        loops.append(own.follow)
    probe = self_probe_of(client, credentials, config, log, unready=unready, draining=draining)
    if probe is not None:
        loops.append(probe.run)
    if config.legacy_tokens:
        loops.append(partial(follow_legacy_tokens, client, legacy_tokens, log))
    else:
        log.info("legacy token detection is off", hint="--legacy-tokens on")
    return loops
